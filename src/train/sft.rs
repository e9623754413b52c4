//! `sft`: a generating policy learns the next items of real histories by gradient.
//!
//! The loss is the policy's own (for `decoder`: the next SID from every prefix of a history).
//! AdamW, clipping by the global norm, warm-up and a cosine; validation on the item before the
//! last, with early stopping; the weights of the best epoch are kept.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::checkpoint::{Place, State, fingerprint};
use super::{Epoch, Kind, Report, Until, batches};
use crate::device::{AUTO, choose, source};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::index::Catalogue;
use crate::nn::{AdamW, Params, Schedule, clip};
use crate::options;
use crate::policy::{Generate, Policy, Targets, Training};
use crate::progress::{Checkpoint, Progress};

/// The record of this objective.
pub(super) const KIND: Kind = Kind {
    name: "sft",
    summary: "likelihood of the next item by gradient, with validation and early stopping",
    config: |given| options::checked(given, Config::check),
    train: run,
};

/// What can be set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Passes over all histories, at most.
    epochs: usize,
    /// Histories in one step.
    batch: usize,
    /// The highest learning rate.
    lr: f64,
    /// Decoupled weight decay of the matrices.
    weight_decay: f64,
    /// Steps over which the learning rate rises.
    warmup: u64,
    /// Whether the learning rate falls by half a cosine after that.
    cosine: bool,
    /// The largest global norm of the gradients; 0 for no limit.
    clip: f64,
    /// Epochs without a better validation loss before the run stops; 0 to never stop.
    patience: usize,
    /// Users whose second last item is the validation target, at most.
    validation_users: usize,
    /// The seed of shuffles and dropout.
    seed: u64,
    /// Which part of each history is learned.
    until: Until,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    device: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            epochs: 20,
            batch: 64,
            lr: 2e-3,
            weight_decay: 0.05,
            warmup: 100,
            cosine: true,
            clip: 1.0,
            patience: 3,
            validation_users: 4000,
            seed: 42,
            until: Until::Train,
            device: AUTO.to_owned(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        let wrong = |name: &str, rule: &str| {
            Err(Error::input("bad-option", format!("option `{name}` must be {rule}")))
        };
        choose(&self.device)?;
        if self.epochs == 0 || self.epochs > 100_000 {
            return wrong("epochs", "1 to 100000");
        }
        if self.batch == 0 {
            return wrong("batch", "at least 1");
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

fn run(
    policy: &mut Policy,
    catalogue: &Catalogue,
    histories: &[Vec<u32>],
    config: &Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let Policy::Generate(policy) = policy else {
        return Err(Error::input("wrong-objective", "`sft` is for policies that generate SIDs")
            .help("train a scoring policy with `fit`"));
    };
    let data = Data::new(&config, histories)?;
    let mut trainer = Trainer::new(policy.as_ref(), catalogue, &config, &data)?;
    trainer.resume(checkpoint)?;
    let outcome = trainer.epochs(progress, checkpoint);
    if let Err(error) = &outcome
        && error.is_cancelled()
    {
        trainer.save(checkpoint)?;
    }
    outcome?;
    trainer.finish()
}

/// What is learned and what is validated on.
struct Data<'a> {
    learned: Vec<&'a [u32]>,
    /// Histories whose last item is the validation target; empty unless these are held out.
    validated: Vec<&'a [u32]>,
    fingerprint: u64,
}

impl<'a> Data<'a> {
    fn new(config: &Config, histories: &'a [Vec<u32>]) -> Result<Self> {
        let cut = histories.iter().map(|history| config.until.cut(history));
        let learned: Vec<&[u32]> = cut.filter(|history| !history.is_empty()).collect();
        if learned.is_empty() {
            let message = "no history is long enough to learn from";
            let help =
                "training holds out the last two items of every user; see the option `until`";
            return Err(Error::input("no-histories", message).help(help));
        }
        let mut validated = Vec::new();
        if config.until == Until::Train {
            // A target alone would be predicted from nothing, so at least one item comes before it.
            let held: Vec<&[u32]> =
                histories.iter().filter(|h| h.len() > 2).map(|h| &h[..h.len() - 1]).collect();
            let chosen = batches::sample(held.len(), config.validation_users, config.seed);
            validated = chosen.into_iter().map(|at| held[at as usize]).collect();
        }
        let config = serde_json::to_vec(config)?;
        let numbers =
            learned.iter().flat_map(|h| [h.len() as u32].into_iter().chain(h.iter().copied()));
        let fingerprint = fingerprint(config.into_iter().chain(numbers.flat_map(u32::to_le_bytes)));
        Ok(Data { learned, validated, fingerprint })
    }
}

/// One run.
struct Trainer<'a> {
    policy: &'a dyn Generate,
    catalogue: &'a Catalogue,
    config: &'a Config,
    data: &'a Data<'a>,
    optimizer: AdamW,
    schedule: Schedule,
    place: Place,
    best: Vec<u8>,
}

impl<'a> Trainer<'a> {
    fn new(
        policy: &'a dyn Generate,
        catalogue: &'a Catalogue,
        config: &'a Config,
        data: &'a Data<'a>,
    ) -> Result<Self> {
        let batches = data.learned.len().div_ceil(config.batch) as u64;
        let schedule = Schedule {
            peak: config.lr,
            warmup: config.warmup,
            steps: batches * config.epochs as u64,
            cosine: config.cosine,
        };
        let shapes = policy.params().iter().flat_map(|param| {
            let dims = param.var.dims().iter().flat_map(|&dim| (dim as u64).to_le_bytes());
            param.name.bytes().chain(dims).collect::<Vec<u8>>()
        });
        let parts = data.fingerprint.to_le_bytes().into_iter().chain(shapes);
        let place = Place { fingerprint: fingerprint(parts), ..Place::default() };
        let optimizer = AdamW::new(policy.params(), config.weight_decay);
        Ok(Trainer {
            policy,
            catalogue,
            config,
            data,
            optimizer,
            schedule,
            place,
            best: Vec::new(),
        })
    }

    fn params(&self) -> &'a Params {
        self.policy.params()
    }

    /// Goes on from a saved place, where there is one of this very run.
    fn resume(&mut self, checkpoint: &dyn Checkpoint) -> Result<()> {
        let Some(bytes) = checkpoint.load()? else { return Ok(()) };
        let state = State::decode(&bytes)?;
        if state.place.fingerprint != self.place.fingerprint {
            return Ok(()); // options or data have changed since: a new run
        }
        self.params().load(&state.weights)?;
        self.optimizer.load(&state.optimizer)?;
        self.place = state.place;
        self.best = state.best;
        Ok(())
    }

    fn save(&self, checkpoint: &dyn Checkpoint) -> Result<()> {
        let state = State {
            place: self.place.clone(),
            weights: self.params().save()?,
            optimizer: self.optimizer.save(),
            best: self.best.clone(),
        };
        checkpoint.save(&state.encode()?)
    }

    /// All epochs that are left.
    fn epochs(&mut self, progress: &Progress, checkpoint: &dyn Checkpoint) -> Result<()> {
        while self.place.epochs.len() < self.config.epochs && !self.out_of_patience() {
            self.epoch(progress, checkpoint)?;
            self.save(checkpoint)?;
        }
        Ok(())
    }

    fn out_of_patience(&self) -> bool {
        let (patience, done) = (self.config.patience, self.place.epochs.len());
        patience > 0 && self.place.best_epoch > 0 && done - self.place.best_epoch >= patience
    }

    /// What is left of one epoch, and its validation.
    fn epoch(&mut self, progress: &Progress, checkpoint: &dyn Checkpoint) -> Result<()> {
        let epoch = self.place.epochs.len();
        let order = batches::order(self.data.learned.len(), self.config.seed, epoch);
        let all: Vec<&[u32]> = order.chunks(self.config.batch).collect();
        progress.stage(format!("epoch {} of {}", epoch + 1, self.config.epochs), all.len() as u64);
        progress.advance(self.place.batch as u64);
        while let Some(batch) = all.get(self.place.batch) {
            progress.check()?;
            let started = Instant::now();
            let loss = self.step(batch)?;
            self.place.batch += 1;
            self.place.loss += loss;
            self.place.samples += batch.len() as u64;
            self.place.seconds += started.elapsed().as_secs_f64();
            progress.advance(1);
            progress.note("loss", self.place.loss / self.place.batch as f64);
            if checkpoint.due() {
                self.save(checkpoint)?;
            }
        }
        let started = Instant::now();
        let validation_loss = self.validate(progress)?;
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
                self.best = self.params().save()?;
            }
        }
        self.place.epochs.push(done);
        (self.place.batch, self.place.loss, self.place.seconds) = (0, 0.0, 0.0);
        Ok(())
    }

    /// One step of the optimizer. Gives the loss.
    fn step(&mut self, batch: &[u32]) -> Result<f64> {
        let histories: Vec<&[u32]> =
            batch.iter().map(|&at| self.data.learned[at as usize]).collect();
        let mut random = source(self.config.seed, batches::dropout_stream(self.place.step));
        let mut training = Training { random: &mut random, train: true, targets: Targets::All };
        let loss = self.policy.loss(self.catalogue, &histories, &mut training)?;
        let value = self.finite(f64::from(loss.to_scalar::<f32>()?), "loss")?;
        let (grads, norm) = clip(self.params(), &loss.backward()?, self.config.clip)?;
        self.finite(norm, "norm of the gradients")?;
        let rate = self.schedule.rate(self.place.step);
        self.optimizer.step(self.params(), &grads, rate)?;
        self.place.step += 1;
        Ok(value)
    }

    fn finite(&self, value: f64, what: &str) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let message = format!("the {what} is {value} at step {}", self.place.step + 1);
        Err(Error::new(ErrorKind::Input, "loss-not-finite", message)
            .help("lower `lr`, raise `warmup` or lower `clip`"))
    }

    /// The mean loss on the validation targets, where there are any.
    fn validate(&self, progress: &Progress) -> Result<Option<f64>> {
        let mut sum = 0.0;
        for batch in self.data.validated.chunks(self.config.batch) {
            progress.check()?;
            let mut random = source(self.config.seed, 0); // not drawn from: nothing is dropped
            let mut training =
                Training { random: &mut random, train: false, targets: Targets::Last };
            let loss = self.policy.loss(self.catalogue, batch, &mut training)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
        }
        let count = self.data.validated.len();
        (count > 0).then(|| self.finite(sum / count as f64, "validation loss")).transpose()
    }

    /// Puts the best weights in place and reports.
    fn finish(self) -> Result<Report> {
        if !self.best.is_empty() {
            self.params().load(&self.best)?;
        }
        let place = self.place;
        let seconds = place.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>();
        let last = place.epochs.len();
        Ok(Report {
            best_epoch: if place.best_epoch > 0 { place.best_epoch } else { last },
            stopped_early: last < self.config.epochs,
            steps: place.step,
            samples: place.samples,
            seconds,
            samples_per_second: place.samples as f64 / seconds.max(1e-9),
            epochs: place.epochs,
        })
    }
}
