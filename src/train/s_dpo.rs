//! `s_dpo`: a taught generator learns to prefer what followed over several items that did not (S-DPO, Chen et al. 2024,
//! arXiv 2406.09215).
//!
//! With Δ(y) = log p(y) − log p_ref(y) of a whole SID y, the positive y⁺ and the negatives y⁻:
//!
//! ```text
//! L = − log σ(− log Σ_d exp(β (Δ(y⁻_d) − Δ(y⁺))))
//! ```
//!
//! p_ref are the weights that training began with. Negatives are what the policy itself would answer instead, by
//! the beam that answers, or items drawn at random as the paper has them. Each epoch draws one item of every history as
//! its positive.

use candle_core::{D, Tensor};
use documented::DocumentedFieldsOpt;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::beams::{log_probs, lost, targets};
use super::checkpoint::fingerprint;
use super::run::{Figures, Options, Run, Teach};
use super::sft::bytes_of;
use super::{Course, Kind, Report, Start, Until, batches};
use crate::decode::{Draw, Stage, rollouts};
use crate::device::{AUTO, choose, source};
use crate::error::{Error, Result};
use crate::index::Trie;
use crate::nn::Params;
use crate::options;
use crate::policy::{Completion, Generate, History, Policy};
use crate::progress::{Checkpoint, Progress};

/// The record of this objective.
pub(super) const KIND: Kind = Kind {
    name: "s_dpo",
    summary: "preference of what followed over several negatives, relative to the start (S-DPO)",
    start: Start::Trained,
    rewarded: false,
    ranked: true,
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
    /// Negatives for each positive.
    negatives: usize,
    /// Where they come from.
    from: Rivals,
    /// How sharply differences are told (β).
    beta: f64,
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
    /// Epochs without a better validation before the run stops; 0 to never stop.
    patience: usize,
    /// Users whose second last item is the validation target, at most.
    validation_users: usize,
    /// The seed of everything random.
    seed: u64,
    /// Which part of each history is learned.
    until: Until,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    device: String,
}

/// Where negatives come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rivals {
    /// The likeliest SIDs of the policy.
    Beam,
    /// Any items.
    Random,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            epochs: 1,
            batch: 64,
            negatives: 3,
            from: Rivals::Beam,
            beta: 0.1,
            lr: 1e-4,
            weight_decay: 0.0,
            warmup: 20,
            cosine: true,
            clip: 1.0,
            patience: 0,
            validation_users: 2000,
            seed: 42,
            until: Until::Train,
            device: AUTO.to_owned(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        choose(&self.device)?;
        self.options().check()?;
        let wrong = |name: &str, rule: &str| {
            Err(Error::input("bad-option", format!("option `{name}` must be {rule}")))
        };
        if !(1..=1024).contains(&self.negatives) {
            return wrong("negatives", "1 to 1024");
        }
        if !(self.beta.is_finite() && self.beta > 0.0) {
            return wrong("beta", "above 0");
        }
        Ok(())
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
    let Some(generator) = policy.generator() else {
        return Err(Error::input("wrong-objective", "`s_dpo` is for policies that generate SIDs")
            .help("train a policy that counts with `fit`"));
    };
    let Some(trie) = course.trie else {
        return Err(Error::internal("`s_dpo` needs a trie"));
    };
    // A positive is drawn from the items that have another before them.
    let learned = course.learned(config.until, 2)?;
    let validated = course.validated(config.until, config.validation_users, config.seed);
    let held_out = validated.clone();
    let bytes = serde_json::to_vec(&config)?.into_iter().chain(bytes_of(&learned));
    let bytes = bytes.chain(generator.basis().into_bytes());
    let made_of = fingerprint(bytes.collect::<Vec<u8>>());
    let options = config.options();
    let reference = generator.copy()?;
    let mut lessons = Lessons {
        policy: generator,
        reference: reference.as_ref(),
        course,
        trie,
        config: &config,
        learned,
        validated,
        pairs: None,
    };
    let report = Run::new(&mut lessons, options, made_of).go(progress, checkpoint)?;
    if let Some(learner) = policy.learner() {
        learner.settle(course.catalogue, &held_out, progress)?;
    }
    Ok(report)
}

/// What is learned and what is validated on.
struct Lessons<'a> {
    policy: &'a dyn Generate,
    /// The weights that training began with.
    reference: &'a dyn Generate,
    course: &'a Course<'a>,
    trie: &'a Trie,
    config: &'a Config,
    learned: Vec<History<'a>>,
    validated: Vec<History<'a>>,
    pairs: Option<Pairs<'a>>,
}

/// The positives and negatives of a batch.
struct Pairs<'a> {
    histories: Vec<History<'a>>,
    /// The history of each completion and its codes; for each history the positive first, then its negatives.
    completions: Vec<(u32, Vec<u16>)>,
    /// Log-probabilities of whole SIDs as the reference has them. Histories × (1 + negatives).
    reference: Tensor,
}

impl<'a> Lessons<'a> {
    fn stage(&self) -> Stage<'a> {
        Stage { policy: self.policy, catalogue: self.course.catalogue, trie: self.trie }
    }

    /// The SIDs that are not to be preferred, for each history as many.
    fn negatives(
        &self,
        histories: &[History<'_>],
        targets: &[u32],
        random: &mut impl Rng,
        progress: &Progress,
    ) -> Result<Vec<Vec<Vec<u16>>>> {
        let (catalogue, count) = (self.course.catalogue, self.config.negatives);
        let mut all = match self.config.from {
            Rivals::Random => vec![Vec::new(); histories.len()],
            Rivals::Beam => {
                // One more, for the positive may be among them.
                let found =
                    rollouts(&self.stage(), histories, count + 1, Draw::Beam, random, progress)?;
                let codes = |group: Vec<crate::decode::Rollout>| -> Vec<Vec<u16>> {
                    group.into_iter().map(|one| one.codes).collect()
                };
                found.into_iter().map(codes).collect()
            }
        };
        for (negatives, target) in all.iter_mut().zip(targets) {
            let positive = catalogue.codes_of(*target);
            negatives.retain(|codes| codes != positive);
            negatives.truncate(count);
            // Where a beam finds too few, and where nothing is searched. In a catalogue of one SID it is its own rival,
            // which teaches nothing.
            let mut tries = 0;
            while negatives.len() < count {
                let item = random.random_range(0..catalogue.len() as u32);
                let codes = catalogue.codes_of(item);
                tries += 1;
                if codes != positive || tries > 100 * count {
                    negatives.push(codes.to_vec());
                }
            }
        }
        Ok(all)
    }

    /// Log-probabilities of whole SIDs. Histories × (1 + negatives).
    fn of_sids(
        &self,
        policy: &dyn Generate,
        histories: &[History<'_>],
        completions: &[(u32, Vec<u16>)],
    ) -> Result<Tensor> {
        let all: Vec<Completion<'_>> = completions
            .iter()
            .map(|(history, codes)| Completion { history: *history, codes })
            .collect();
        let of_codes = log_probs(policy, self.course.catalogue, histories, &all)?;
        Ok(of_codes.sum(D::Minus1)?.reshape((histories.len(), 1 + self.config.negatives))?)
    }
}

impl Teach for Lessons<'_> {
    fn params(&self) -> &Params {
        self.policy.params()
    }

    fn samples(&self) -> usize {
        self.learned.len()
    }

    fn prepare(&mut self, batch: &[u32], step: u64, progress: &Progress) -> Result<Figures> {
        let mut random = source(self.config.seed, batches::rollout_stream(step));
        let chosen = batch.iter().map(|&at| self.learned[at as usize]);
        let (histories, targets) = targets(chosen, &mut random);
        let negatives = self.negatives(&histories, &targets, &mut random, progress)?;
        let mut completions = Vec::new();
        for ((at, target), negatives) in (0..).zip(&targets).zip(negatives) {
            completions.push((at, self.course.catalogue.codes_of(*target).to_vec()));
            completions.extend(negatives.into_iter().map(|codes| (at, codes)));
        }
        let reference = self.of_sids(self.reference, &histories, &completions)?.detach();
        self.pairs = Some(Pairs { histories, completions, reference });
        Ok(Figures::new())
    }

    fn loss(&mut self, _batch: &[u32], _step: u64) -> Result<(Tensor, Figures)> {
        let Some(pairs) = &self.pairs else {
            return Err(Error::internal("a loss was asked for before there are pairs"));
        };
        let now = self.of_sids(self.policy, &pairs.histories, &pairs.completions)?;
        let (loss, preferred) = preference(&now, &pairs.reference, self.config.beta)?;
        Ok((loss, [("preferred".to_owned(), preferred)].into()))
    }

    /// One less NDCG@10, by the beam that answers.
    fn validate(&mut self, progress: &Progress) -> Result<Option<f64>> {
        lost(&self.stage(), &self.validated, (self.config.batch, 0), progress)
    }
}

/// The loss, and the share of negatives that have lost against their positive since the start. Both: histories × (1 +
/// negatives), the positive first.
fn preference(now: &Tensor, reference: &Tensor, beta: f64) -> Result<(Tensor, f64)> {
    let change = (now - reference)?;
    let negatives = change.dim(1)? - 1;
    let margin = (change.narrow(1, 1, negatives)?.broadcast_sub(&change.narrow(1, 0, 1)?)? * beta)?;
    let most = margin.max_keepdim(1)?.detach();
    let sum = (margin.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?.log()? + &most)?; // histories × 1
    // − log σ(−x) = log(1 + exp(x)), from the side that cannot overflow.
    let loss = (sum.relu()? + (sum.abs()?.neg()?.exp()? + 1.0)?.log()?)?.mean_all()?;
    let below = margin.detach().lt(0f32)?.to_dtype(candle_core::DType::F32)?;
    Ok((loss, f64::from(below.mean_all()?.to_scalar::<f32>()?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::{Device, Var};

    use super::*;

    /// Two histories with two negatives each, by hand, and the gradient by differences.
    #[test]
    fn the_loss_by_hand() {
        let matrix = |values: [f32; 6]| Tensor::from_slice(&values, (2, 3), &Device::Cpu).unwrap();
        let values = [-1.0, -2.0, -3.0, -4.0, -2.5, -1.0];
        let reference = matrix([-1.5, -1.5, -3.5, -2.0, -3.0, -2.0]);
        let now = Var::from_tensor(&matrix(values)).unwrap();
        let (loss, preferred) = preference(now.as_tensor(), &reference, 0.5).unwrap();
        let row = |positive: f64, negatives: [f64; 2]| {
            let sum: f64 = negatives.iter().map(|n| (0.5 * (n - positive)).exp()).sum();
            -(1.0 / (1.0 + sum)).ln()
        };
        let expected = f64::midpoint(row(0.5, [-0.5, 0.5]), row(-2.0, [0.5, 1.0]));
        assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-6);
        assert!((preferred - 0.25).abs() < 1e-6, "one of four: an equal one has not lost");
        let grads = loss.backward().unwrap();
        let grad = grads.get(now.as_tensor()).unwrap().flatten_all().unwrap();
        for (at, grad) in grad.to_vec1::<f32>().unwrap().into_iter().enumerate() {
            let moved = |step: f32| {
                let mut values = values;
                values[at] += step;
                let (loss, _) = preference(&matrix(values), &reference, 0.5).unwrap();
                loss.to_scalar::<f32>().unwrap()
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((grad - slope).abs() < 1e-3, "{at}: {grad} {slope}");
        }
    }
}
