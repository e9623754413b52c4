//! `sft`: a policy learns the next items of real histories by gradient.
//!
//! The loss is the policy's own (for `decoder`: the next SID from every prefix of a history). Validation is the
//! same loss on the item before the last. `run.rs` walks the epochs.

use candle_core::Tensor;
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::checkpoint::fingerprint;
use super::run::{Figures, Options, Run, Teach};
use super::{Course, Kind, Report, Start, Until, batches};
use crate::device::{AUTO, choose, source};
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::Params;
use crate::options;
use crate::policy::{History, Learn, Policy, Targets, Training};
use crate::progress::{Checkpoint, Progress};

/// The record of this objective.
pub(super) const KIND: Kind = Kind {
    name: "sft",
    summary: "likelihood of the next item by gradient, with validation and early stopping",
    start: Start::Fresh,
    rewarded: false,
    ranked: false,
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    train: run,
};

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
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
    /// Whether weights are drawn anew, or those that the policy has are trained on; then it moves to the published
    /// generation as it is (see `align_to` of REBUILD).
    start: Start,
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
            start: Start::Fresh,
            device: AUTO.to_owned(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        choose(&self.device)?;
        self.options().check()
    }

    fn options(&self) -> Options {
        Options {
            epochs: self.epochs,
            batch: self.batch,
            updates: 1,
            lr: self.lr,
            weight_decay: self.weight_decay,
            warmup: self.warmup,
            cosine: self.cosine,
            clip: self.clip,
            patience: self.patience,
            seed: self.seed,
        }
    }
}

fn run(
    policy: &mut Policy,
    course: &Course<'_>,
    config: &Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let Some(learner) = policy.learner() else {
        return Err(Error::input(
            "wrong-objective",
            "`sft` is for policies that learn by gradient",
        )
        .help("train a policy that counts with `fit`"));
    };
    let learned = course.learned(config.until, 1)?;
    let validated = course.validated(config.until, config.validation_users, config.seed);
    learner.count(course.catalogue, &learned, progress)?;
    let bytes = serde_json::to_vec(&config)?.into_iter().chain(bytes_of(&learned));
    let bytes = bytes.chain(learner.basis().into_bytes());
    let made_of = fingerprint(bytes.collect::<Vec<u8>>());
    let options = config.options();
    let mut lessons = Lessons {
        policy: learner,
        catalogue: course.catalogue,
        learned,
        validated: &validated,
        batch: config.batch,
        seed: config.seed,
    };
    let report = Run::new(&mut lessons, options, made_of).go(progress, checkpoint)?;
    learner.settle(course.catalogue, &validated, progress)?;
    Ok(report)
}

/// What is learned and what is validated on.
struct Lessons<'a> {
    policy: &'a dyn Learn,
    catalogue: &'a Catalogue,
    learned: Vec<History<'a>>,
    /// Histories whose last item is the validation target; empty unless these are held out.
    validated: &'a [History<'a>],
    batch: usize,
    seed: u64,
}

/// Histories as bytes, each behind its length.
pub(super) fn bytes_of(histories: &[History<'_>]) -> impl Iterator<Item = u8> {
    let numbers =
        histories.iter().flat_map(|h| [h.len() as u32].into_iter().chain(h.iter().copied()));
    numbers.flat_map(u32::to_le_bytes)
}

impl Teach for Lessons<'_> {
    fn params(&self) -> &Params {
        self.policy.params()
    }

    fn samples(&self) -> usize {
        self.learned.len()
    }

    fn prepare(&mut self, _batch: &[u32], _step: u64, _progress: &Progress) -> Result<Figures> {
        Ok(Figures::new())
    }

    fn loss(&mut self, batch: &[u32], step: u64) -> Result<(Tensor, Figures)> {
        let histories: Vec<History<'_>> =
            batch.iter().map(|&at| self.learned[at as usize]).collect();
        let mut random = source(self.seed, batches::dropout_stream(step));
        let mut training = Training { random: &mut random, train: true, targets: Targets::All };
        let loss = self.policy.loss(self.catalogue, &histories, &mut training)?;
        Ok((loss, Figures::new()))
    }

    fn validate(&mut self, progress: &Progress) -> Result<Option<f64>> {
        let mut sum = 0.0;
        for batch in self.validated.chunks(self.batch) {
            progress.check()?;
            let mut random = source(self.seed, 0); // not drawn from: nothing is dropped
            let mut training =
                Training { random: &mut random, train: false, targets: Targets::Last };
            let loss = self.policy.loss(self.catalogue, batch, &mut training)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * batch.len() as f64;
        }
        let count = self.validated.len();
        Ok((count > 0).then(|| sum / count as f64))
    }
}
