//! A run by gradient, the same for every objective: epochs of batches, AdamW, clipping by the global norm, warm-up and
//! a cosine, validation with early stopping, checkpoints. The weights of the best epoch are kept.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;

use super::checkpoint::{Place, State, fingerprint};
use super::{Epoch, Point, Report, batches};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::nn::{AdamW, Params, Schedule, clip};
use crate::progress::{Checkpoint, Progress};

/// Points of a curve that are kept: when there are more, every other one goes.
const CURVE_MAX: usize = 512;

/// What every such run can be told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) epochs: usize,
    pub(super) batch: usize,
    /// Steps of the optimizer for each batch.
    pub(super) updates: usize,
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
    pub(super) warmup: u64,
    pub(super) cosine: bool,
    /// 0 for no limit.
    pub(super) clip: f64,
    /// 0 to never stop.
    pub(super) patience: usize,
    pub(super) seed: u64,
}

impl Options {
    /// Refuses what no run can be told.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |name: &str, rule: &str| {
            Err(Error::input("bad-option", format!("option `{name}` must be {rule}")))
        };
        if self.epochs == 0 || self.epochs > 100_000 {
            return wrong("epochs", "1 to 100000");
        }
        if self.batch == 0 {
            return wrong("batch", "at least 1");
        }
        if self.updates == 0 {
            return wrong("updates", "at least 1");
        }
        if !(self.lr.is_finite() && self.lr > 0.0) {
            return wrong("lr", "above 0");
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return wrong("weight_decay", "0 to 1");
        }
        if !(self.clip.is_finite() && self.clip >= 0.0) {
            return wrong("clip", "0 or more");
        }
        Ok(())
    }
}

/// Figures of a step by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// What an objective teaches.
pub(super) trait Teach: Send {
    /// The variables that move.
    fn params(&self) -> &Params;

    /// Samples of an epoch; a batch is indices into them.
    fn samples(&self) -> usize;

    /// What a batch needs before its first update; `step` is that of the update. Gives figures to keep.
    fn prepare(&mut self, batch: &[u32], step: u64, progress: &Progress) -> Result<Figures>;

    /// The loss of the batch, a scalar with gradient, and figures to keep.
    fn loss(&mut self, batch: &[u32], step: u64) -> Result<(Tensor, Figures)>;

    /// What validation says, the lower the better; none where nothing is held out.
    fn validate(&mut self, progress: &Progress) -> Result<Option<f64>>;
}

/// One run.
pub(super) struct Run<'a> {
    teach: &'a mut dyn Teach,
    options: Options,
    optimizer: AdamW,
    schedule: Schedule,
    place: Place,
    best: Vec<u8>,
}

impl<'a> Run<'a> {
    /// A run from its beginning. `made_of` tells it from others: options and data.
    pub(super) fn new(teach: &'a mut dyn Teach, options: Options, made_of: u64) -> Self {
        let batches = teach.samples().div_ceil(options.batch) as u64;
        let schedule = Schedule {
            peak: options.lr,
            warmup: options.warmup,
            steps: batches * (options.epochs * options.updates) as u64,
            cosine: options.cosine,
        };
        let shapes = teach.params().iter().flat_map(|param| {
            let dims = param.var.dims().iter().flat_map(|&dim| (dim as u64).to_le_bytes());
            param.name.bytes().chain(dims).collect::<Vec<u8>>()
        });
        let parts = made_of.to_le_bytes().into_iter().chain(shapes);
        let place = Place { fingerprint: fingerprint(parts), ..Place::default() };
        let optimizer = AdamW::new(teach.params(), options.weight_decay);
        Run { teach, options, optimizer, schedule, place, best: Vec::new() }
    }

    /// Goes on from the checkpoint where it is of this very run, and trains to the end. A run that is stopped saves
    /// its place first.
    pub(super) fn go(mut self, progress: &Progress, checkpoint: &dyn Checkpoint) -> Result<Report> {
        self.resume(checkpoint)?;
        let outcome = self.epochs(progress, checkpoint);
        if let Err(error) = &outcome
            && error.is_cancelled()
        {
            self.save(checkpoint)?;
        }
        outcome?;
        self.finish()
    }

    fn resume(&mut self, checkpoint: &dyn Checkpoint) -> Result<()> {
        let Some(bytes) = checkpoint.load()? else { return Ok(()) };
        let state = State::decode(&bytes)?;
        if state.place.fingerprint != self.place.fingerprint {
            return Ok(()); // options or data have changed since: a new run
        }
        self.teach.params().load(&state.weights)?;
        self.optimizer.load(&state.optimizer)?;
        self.place = state.place;
        self.best = state.best;
        Ok(())
    }

    fn save(&self, checkpoint: &dyn Checkpoint) -> Result<()> {
        let state = State {
            place: self.place.clone(),
            weights: self.teach.params().save()?,
            optimizer: self.optimizer.save(),
            best: self.best.clone(),
        };
        checkpoint.save(&state.encode()?)
    }

    /// All epochs that are left.
    fn epochs(&mut self, progress: &Progress, checkpoint: &dyn Checkpoint) -> Result<()> {
        while self.place.epochs.len() < self.options.epochs && !self.out_of_patience() {
            self.epoch(progress, checkpoint)?;
            self.save(checkpoint)?;
        }
        Ok(())
    }

    fn out_of_patience(&self) -> bool {
        let (patience, done) = (self.options.patience, self.place.epochs.len());
        patience > 0 && self.place.best_epoch > 0 && done - self.place.best_epoch >= patience
    }

    /// What is left of one epoch, and its validation.
    fn epoch(&mut self, progress: &Progress, checkpoint: &dyn Checkpoint) -> Result<()> {
        let epoch = self.place.epochs.len();
        let order = batches::order(self.teach.samples(), self.options.seed, epoch);
        let all: Vec<&[u32]> = order.chunks(self.options.batch).collect();
        progress.stage(format!("epoch {} of {}", epoch + 1, self.options.epochs), all.len() as u64);
        progress.advance(self.place.batch as u64);
        while let Some(batch) = all.get(self.place.batch) {
            progress.check()?;
            let started = Instant::now();
            self.batch(batch, progress)?;
            self.place.batch += 1;
            self.place.samples += batch.len() as u64;
            self.place.seconds += started.elapsed().as_secs_f64();
            progress.advance(1);
            progress.note("loss", self.place.loss / self.place.batch as f64);
            if checkpoint.due() {
                self.save(checkpoint)?;
            }
        }
        let started = Instant::now();
        let validation_loss = self.teach.validate(progress)?;
        let validation_loss =
            validation_loss.map(|loss| self.finite(loss, "validation loss")).transpose()?;
        let done = Epoch {
            loss: self.place.loss / all.len() as f64,
            validation_loss,
            rate: self.schedule.rate(self.place.step),
            seconds: self.place.seconds + started.elapsed().as_secs_f64(),
        };
        if let Some(loss) = validation_loss {
            progress.note("val_loss", loss);
            let best = self.place.best_epoch.checked_sub(1).map(|at| &self.place.epochs[at]);
            if best.and_then(|best| best.validation_loss).is_none_or(|best| loss < best) {
                self.place.best_epoch = epoch + 1;
                self.best = self.teach.params().save()?;
            }
        }
        self.place.epochs.push(done);
        (self.place.batch, self.place.loss, self.place.seconds) = (0, 0.0, 0.0);
        Ok(())
    }

    /// The updates of one batch. Its loss is their mean.
    fn batch(&mut self, batch: &[u32], progress: &Progress) -> Result<()> {
        let mut figures = self.teach.prepare(batch, self.place.step, progress)?;
        // In the pool: from outside, each of a thousand operations would put a thread of the pool to work and this one to
        // sleep. What comes before has threads of its own, which a thread of the pool must not wait for.
        let (loss, more) = rayon::scope(|_| self.updates(batch))?;
        figures.extend(more);
        self.place.loss += loss;
        for (name, figure) in &figures {
            progress.note(name, *figure);
        }
        figures.insert("loss".to_owned(), loss);
        self.mark(figures);
        Ok(())
    }

    /// The mean loss of the updates of one batch, and the figures of the last.
    fn updates(&mut self, batch: &[u32]) -> Result<(f64, Figures)> {
        let mut figures = Figures::new();
        let mut sum = 0.0;
        for _ in 0..self.options.updates {
            let (loss, more) = self.teach.loss(batch, self.place.step)?;
            let value = self.finite(f64::from(loss.to_scalar::<f32>()?), "loss")?;
            let (grads, norm) = clip(self.teach.params(), &loss.backward()?, self.options.clip)?;
            self.finite(norm, "norm of the gradients")?;
            let rate = self.schedule.rate(self.place.step);
            self.optimizer.step(self.teach.params(), &grads, rate)?;
            self.place.step += 1;
            figures.extend(more);
            sum += value;
        }
        Ok((sum / self.options.updates as f64, figures))
    }

    /// Adds a point to the curve.
    fn mark(&mut self, figures: Figures) {
        let place = &mut self.place;
        place.stride = place.stride.max(1);
        place.batches += 1;
        if place.batches.is_multiple_of(place.stride) {
            place.curve.push(Point { step: place.step, figures });
        }
        if place.curve.len() > CURVE_MAX {
            place.stride *= 2;
            let mut at = 0;
            place.curve.retain(|_| {
                at += 1;
                at % 2 == 0
            });
        }
    }

    fn finite(&self, value: f64, what: &str) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let message = format!("the {what} is {value} at step {}", self.place.step + 1);
        Err(Error::new(ErrorKind::Input, "loss-not-finite", message)
            .help("lower `lr`, raise `warmup` or lower `clip`"))
    }

    /// Puts the best weights in place and reports.
    fn finish(self) -> Result<Report> {
        if !self.best.is_empty() {
            self.teach.params().load(&self.best)?;
        }
        let place = self.place;
        let seconds = place.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>();
        let last = place.epochs.len();
        Ok(Report {
            best_epoch: if place.best_epoch > 0 { place.best_epoch } else { last },
            stopped_early: last < self.options.epochs,
            steps: place.step,
            samples: place.samples,
            seconds,
            samples_per_second: place.samples as f64 / seconds.max(1e-9),
            epochs: place.epochs,
            curve: place.curve,
        })
    }
}
