//! Training of the kinds that learn a latent space: RQ-VAE (Lee et al. 2022; Rajput et al. 2023), as MiniOneRec
//! configures it.
//!
//! The quantizer works on plain slices; its straight-through rule is exact: a level's output is its input plus what the
//! codeword differs by, held fixed, so the next residual is constant to the encoder. Gradients come from the
//! reconstruction, as if the latent vectors had been decoded, and from the commitment of the first level; deeper levels
//! move their codewords alone. Codewords are moved by running means of their members (EMA, van den Oord et al. 2017,
//! appendix A.1) or by gradient; codes that are hardly used are put on random members of the batch.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use candle_core::Tensor;

use super::data::Data;
use super::kmeans::{self, Centres, Seeding};
pub(super) use super::learning::{Keep, Settings, check_layers};
use super::net::Net;
use super::residual::Stack;
use super::{Vectors, saved};
use crate::device::source;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::nn::{AdamW, Gradients, Schedule, limit_norm};
use crate::progress::{Checkpoint, Progress};

/// Streams of the seed: shuffles, resets of dead codes.
const SHUFFLE: u64 = 1 << 60;
const RESET: u64 = 2 << 60;

/// Vectors that codebooks begin from; the published first batch is as large.
const FIRST_BATCH: usize = 20_480;

/// Vectors that go through the network at a time when nothing is learned.
const BLOCK_ROWS: usize = 2048;

/// Steps before codes may be called dead.
const RESET_AFTER: u64 = 100;

/// The share of codes that one step may reset.
const RESET_SHARE: f64 = 0.1;

/// Noise on a codeword that is put on a vector.
const RESET_NOISE: f32 = 1e-4;

/// What a batch became.
struct Quantized {
    /// The vectors that each level saw.
    residuals: Vec<Vec<f32>>,
    /// The code of each level for each vector.
    codes: Vec<Vec<u16>>,
    /// The codewords of the first level.
    first: Vec<f32>,
    /// The sums of the codewords.
    sum: Vec<f32>,
    /// The mean over levels of the mean squared error of their codewords.
    error: f64,
}

/// The running means of a level.
#[derive(Clone, Debug)]
struct Running {
    counts: Vec<f32>,
    sums: Vec<f32>,
}

/// Where a run stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    step: u64,
    epoch: usize,
    batch: usize,
    loss: f64,
    /// Collisions and loss of the weights that are kept.
    best: Option<(f64, f64)>,
}

/// One run.
struct Trainer<'a> {
    net: &'a Net,
    data: &'a Data<'a>,
    settings: &'a Settings,
    optimizer: AdamW,
    schedule: Schedule,
    running: Vec<Running>,
    place: Place,
    best: Vec<u8>,
}

/// Trains a network. `begin` gives the first codewords of each level; it is asked only where no state of this very
/// run was saved.
pub(super) fn train(
    net: &Net,
    data: &Data<'_>,
    settings: &Settings,
    (sign, checkpoint): (&[u8], &dyn Checkpoint),
    progress: &Progress,
    begin: impl FnOnce() -> Result<Vec<Vec<f32>>>,
) -> Result<()> {
    if data.vectors.len() == 0 {
        return Ok(());
    }
    let mut trainer = Trainer::new(net, data, settings);
    if !trainer.resume(&saved::load(checkpoint, sign)?.unwrap_or_default())? {
        for (level, codebook) in begin()?.iter().enumerate() {
            net.set_codebook(level, codebook)?;
            trainer.running[level].sums =
                codebook.iter().map(|x| x * trainer.running[level].counts[0]).collect();
        }
    }
    while trainer.place.epoch < settings.epochs {
        trainer.epoch(progress, (sign, checkpoint))?;
    }
    if settings.keep != Keep::Last && !trainer.best.is_empty() {
        net.params.load(&trainer.best)?;
    }
    Ok(())
}

/// Codewords by k-means on what the encoder makes of the first vectors, level by level on the residuals.
pub(super) fn clustered(
    net: &Net,
    data: &Data<'_>,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<Vec<f32>>> {
    let mut order = order(data.vectors.len(), settings.seed, 0);
    order.truncate(settings.batch.max(FIRST_BATCH));
    let latent = encode(net, data, &order, progress)?;
    let dim = net.latent_dim();
    let levels = net.codebooks.len();
    let stack = Stack::train(
        Stack::new(dim, Vec::new()),
        levels,
        &Vectors::new(&latent, dim)?,
        progress,
        |level, residuals| {
            progress.stage(format!("first codes of level {} of {levels}", level + 1), 100);
            let settings = kmeans::Settings {
                codes: settings.codes,
                iterations: 100,
                tolerance: 1e-4,
                batch: 0,
                seeding: Seeding::PlusPlus,
                seed: settings.seed.wrapping_add(level as u64),
            };
            Ok((kmeans::fit(residuals, dim, &settings, progress)?, Vec::new()))
        },
        |_| Ok(()),
    )?;
    Ok((0..levels).map(|level| stack.codebook(level).to_vec()).collect())
}

/// Codewords drawn evenly from a small cube.
pub(super) fn scattered(net: &Net, settings: &Settings) -> Vec<Vec<f32>> {
    let mut random = source(settings.seed, RESET);
    let width = 1.0 / settings.codes as f32;
    let count = settings.codes * net.latent_dim();
    let mut level = || (0..count).map(|_| random.random_range(-width..width)).collect();
    net.codebooks.iter().map(|_| level()).collect()
}

fn order(count: usize, seed: u64, epoch: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut source(seed, SHUFFLE + epoch as u64));
    order
}

/// The latent vectors of some of the vectors, row-major.
fn encode(net: &Net, data: &Data<'_>, rows: &[u32], progress: &Progress) -> Result<Vec<f32>> {
    let mut out = Vec::with_capacity(rows.len() * net.latent_dim());
    for block in rows.chunks(BLOCK_ROWS) {
        progress.check()?;
        let x = data.tensor(net, block.iter().map(|row| *row as usize))?;
        out.extend(net.forward(x)?.latent.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(out)
}

/// The network's codewords as a stack.
pub(super) fn stack(net: &Net) -> Result<Stack> {
    let codebooks = (0..net.codebooks.len()).map(|level| net.codebook(level));
    Ok(Stack::new(net.latent_dim(), codebooks.collect::<Result<_>>()?))
}

impl<'a> Trainer<'a> {
    fn new(net: &'a Net, data: &'a Data<'a>, settings: &'a Settings) -> Self {
        let batches = data.vectors.len().div_ceil(settings.batch) as u64;
        let schedule = Schedule {
            peak: settings.lr,
            warmup: batches * settings.warmup as u64,
            steps: batches * settings.epochs as u64,
            cosine: settings.cosine,
        };
        let even = settings.batch.min(data.vectors.len()) as f32 / settings.codes as f32;
        let running = Running {
            counts: vec![even; settings.codes],
            sums: vec![0.0; settings.codes * net.latent_dim()],
        };
        Trainer {
            net,
            data,
            settings,
            // As PyTorch has it.
            optimizer: AdamW::new(&net.params, settings.weight_decay).beta_2(0.999),
            schedule,
            running: vec![running; net.codebooks.len()],
            place: Place::default(),
            best: Vec::new(),
        }
    }

    /// Goes on from saved parts; whether they were of use.
    fn resume(&mut self, parts: &[Vec<u8>]) -> Result<bool> {
        let [place, weights, optimizer, running, best] = parts else { return Ok(false) };
        self.place = serde_json::from_slice(place)?;
        self.net.params.load(weights)?;
        self.optimizer.load(optimizer)?;
        let numbers = saved::to_floats(running);
        let mut rest = numbers.iter().copied();
        for running in &mut self.running {
            let slots = running.counts.iter_mut().chain(&mut running.sums);
            slots.zip(&mut rest).for_each(|(slot, x)| *slot = x);
        }
        best.clone_into(&mut self.best);
        Ok(true)
    }

    fn save(&self, (sign, checkpoint): (&[u8], &dyn Checkpoint)) -> Result<()> {
        let running: Vec<f32> =
            self.running.iter().flat_map(|r| r.counts.iter().chain(&r.sums)).copied().collect();
        let place = serde_json::to_vec(&self.place)?;
        let (weights, optimizer) = (self.net.params.save()?, self.optimizer.save());
        let running = saved::of_floats(&running);
        saved::save(checkpoint, sign, &[&place, &weights, &optimizer, &running, &self.best])
    }

    /// What is left of one epoch, and the look at collisions where it is due.
    fn epoch(&mut self, progress: &Progress, saver: (&[u8], &dyn Checkpoint)) -> Result<()> {
        let epoch = self.place.epoch;
        let order = order(self.data.vectors.len(), self.settings.seed, epoch);
        let batches: Vec<&[u32]> = order.chunks(self.settings.batch).collect();
        let stage = format!("epoch {} of {}", epoch + 1, self.settings.epochs);
        progress.stage(stage, batches.len() as u64);
        progress.advance(self.place.batch as u64);
        while let Some(batch) = batches.get(self.place.batch) {
            progress.check()?;
            self.place.loss += self.step(batch, progress)?;
            self.place.batch += 1;
            progress.advance(1);
            progress.note("loss", self.place.loss / self.place.batch as f64);
            if saver.1.due() {
                self.save(saver)?;
            }
        }
        let loss = self.place.loss / batches.len() as f64;
        let done = epoch + 1;
        if done.is_multiple_of(self.settings.evaluate) || done == self.settings.epochs {
            self.look(&order, loss, progress)?;
        }
        (self.place.epoch, self.place.batch, self.place.loss) = (done, 0, 0.0);
        Ok(())
    }

    /// Counts collisions, and keeps the weights where they are the best so far.
    fn look(&mut self, order: &[u32], loss: f64, progress: &Progress) -> Result<()> {
        let latent = encode(self.net, self.data, order, progress)?;
        let vectors = Vectors::new(&latent, self.net.latent_dim())?;
        let codes = stack(self.net)?.assign(&vectors, &Progress::silent())?;
        let mut sids: Vec<&[u16]> = codes.chunks_exact(self.net.codebooks.len()).collect();
        let all = sids.len() as f64;
        sids.sort_unstable();
        sids.dedup();
        let collisions = 1.0 - sids.len() as f64 / all;
        progress.note("collisions", collisions);
        let figure = match self.settings.keep {
            Keep::Collisions => (collisions, loss),
            Keep::Loss | Keep::Last => (loss, collisions),
        };
        if self.place.best.is_none_or(|best| figure < best) {
            self.place.best = Some(figure);
            self.best = self.net.params.save()?;
        }
        Ok(())
    }

    /// One step of the optimizer. Gives the loss.
    fn step(&mut self, batch: &[u32], progress: &Progress) -> Result<f64> {
        let x = self.data.tensor(self.net, batch.iter().map(|row| *row as usize))?;
        let pass = self.net.forward(x)?;
        let shape = pass.latent.shape().clone();
        let latent: Vec<f32> = pass.latent.flatten_all()?.to_vec1()?;
        let quantized = self.quantize(latent, progress)?;
        let on_device = |data: &[f32]| Tensor::from_slice(data, &shape, self.net.device());
        let (mse, back, decoder) = self.net.reconstruct(&pass, &on_device(&quantized.sum)?)?;
        let levels = self.net.codebooks.len() as f64;
        let pull = 2.0 * self.settings.beta / (levels * shape.elem_count() as f64);
        let commitment = ((&pass.latent - on_device(&quantized.first)?)? * pull)?;
        let encoder = self.net.backward(&pass, (back + commitment)?)?;
        let mut grads: Gradients = encoder.into_iter().chain(decoder).map(Some).collect();
        let by_gradient = self.settings.ema == 0.0;
        for level in 0..self.net.codebooks.len() {
            grads.push(if by_gradient { Some(self.gradient(level, &quantized)?) } else { None });
        }
        let weight = self.settings.beta + if by_gradient { 1.0 } else { 0.0 };
        let loss = self.finite(mse + weight * quantized.error, "loss")?;
        let (grads, norm) = limit_norm(grads, self.settings.clip)?;
        self.finite(norm, "norm of the gradients")?;
        let rate = self.schedule.rate(self.place.step);
        self.optimizer.step(&self.net.params, &grads, rate)?;
        if !by_gradient {
            for level in 0..self.net.codebooks.len() {
                self.follow(level, &quantized)?;
            }
        }
        if self.settings.dead > 0.0 && self.place.step >= RESET_AFTER && !by_gradient {
            self.reset(&quantized)?;
        }
        self.place.step += 1;
        Ok(loss)
    }

    fn finite(&self, value: f64, what: &str) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let message = format!("the {what} is {value} at step {}", self.place.step + 1);
        Err(Error::new(ErrorKind::Input, "loss-not-finite", message)
            .help("lower `lr`, raise `warmup` or lower `clip`"))
    }

    fn quantize(&self, latent: Vec<f32>, progress: &Progress) -> Result<Quantized> {
        let dim = self.net.latent_dim();
        let mut out = Quantized {
            residuals: Vec::new(),
            codes: Vec::new(),
            first: Vec::new(),
            sum: vec![0.0; latent.len()],
            error: 0.0,
        };
        let mut residual = latent;
        for level in 0..self.net.codebooks.len() {
            let codebook = self.net.codebook(level)?;
            let nearest = Centres::new(&codebook, dim).nearest(&residual, progress)?;
            let codes: Vec<u16> = nearest.iter().map(|nearest| nearest.code).collect();
            let mut left = residual.clone();
            let rows = left.par_chunks_mut(dim).zip(out.sum.par_chunks_mut(dim)).zip(&codes);
            rows.for_each(|((left, sum), code)| {
                let centre = &codebook[*code as usize * dim..];
                for ((left, sum), centre) in left.iter_mut().zip(sum).zip(centre) {
                    *left -= centre;
                    *sum += centre;
                }
            });
            let square: f64 = left.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            out.error += square / (left.len() * self.net.codebooks.len()) as f64;
            if level == 0 {
                out.first.clone_from(&out.sum);
            }
            out.codes.push(codes);
            out.residuals.push(std::mem::replace(&mut residual, left));
        }
        Ok(out)
    }

    /// The gradient of the mean over levels of mse(E_c, sg[x]) at the codewords of one.
    fn gradient(&self, level: usize, quantized: &Quantized) -> Result<Tensor> {
        let dim = self.net.latent_dim();
        let codebook = self.net.codebook(level)?;
        let residual = &quantized.residuals[level];
        let scale = 2.0 / (residual.len() * self.net.codebooks.len()) as f32;
        let mut grad = vec![0.0f32; codebook.len()];
        for (row, code) in residual.chunks_exact(dim).zip(&quantized.codes[level]) {
            let at = *code as usize * dim;
            let grad = grad[at..at + dim].iter_mut();
            for ((grad, centre), x) in grad.zip(&codebook[at..at + dim]).zip(row) {
                *grad += scale * (centre - x);
            }
        }
        let var = &self.net.codebooks[level];
        Ok(Tensor::from_vec(grad, var.shape(), var.device())?)
    }

    /// Moves the codewords of a level to the running means of what they were given.
    fn follow(&mut self, level: usize, quantized: &Quantized) -> Result<()> {
        let dim = self.net.latent_dim();
        let keep = self.settings.ema as f32;
        let running = &mut self.running[level];
        let all = running.counts.iter_mut().chain(&mut running.sums);
        all.for_each(|x| *x *= keep);
        let rows = quantized.residuals[level].chunks_exact(dim);
        for (row, code) in rows.zip(&quantized.codes[level]) {
            let code = *code as usize;
            running.counts[code] += 1.0 - keep;
            let sum = running.sums[code * dim..(code + 1) * dim].iter_mut();
            sum.zip(row).for_each(|(sum, x)| *sum += (1.0 - keep) * x);
        }
        let mut codebook = self.net.codebook(level)?;
        let running = &self.running[level];
        let rows = codebook.chunks_exact_mut(dim).zip(running.sums.chunks_exact(dim));
        for ((centre, sum), count) in rows.zip(&running.counts) {
            // What was never used stays where it is.
            if *count > 1e-6 {
                centre.iter_mut().zip(sum).for_each(|(centre, sum)| *centre = sum / count);
            }
        }
        self.net.set_codebook(level, &codebook)
    }

    /// Puts codes that are hardly used on random vectors of the batch.
    fn reset(&mut self, quantized: &Quantized) -> Result<()> {
        let dim = self.net.latent_dim();
        let codes = self.settings.codes;
        let mut random = source(self.settings.seed, RESET + self.place.step);
        for level in 0..self.net.codebooks.len() {
            let residual = &quantized.residuals[level];
            let even = (residual.len() / dim) as f32 / codes as f32;
            let least = even * self.settings.dead as f32;
            let running = &mut self.running[level];
            let mut dead: Vec<usize> =
                (0..codes).filter(|code| running.counts[*code] < least).collect();
            dead.truncate(((codes as f64 * RESET_SHARE) as usize).max(1));
            if dead.is_empty() {
                continue;
            }
            let mut codebook = self.net.codebook(level)?;
            for code in dead {
                let row = random.random_range(0..residual.len() / dim);
                let from = &residual[row * dim..(row + 1) * dim];
                let at = code * dim..(code + 1) * dim;
                place(&mut codebook[at.clone()], from, &mut random);
                running.counts[code] = even;
                let sums = running.sums[at.clone()].iter_mut();
                sums.zip(&codebook[at]).for_each(|(sum, x)| *sum = even * x);
            }
            self.net.set_codebook(level, &codebook)?;
        }
        Ok(())
    }
}

/// Puts a codeword beside a vector.
fn place(centre: &mut [f32], vector: &[f32], random: &mut impl Rng) {
    for (centre, x) in centre.iter_mut().zip(vector) {
        *centre = x + random.random_range(-RESET_NOISE..RESET_NOISE);
    }
}
