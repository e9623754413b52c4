//! `grpo`: a generating policy learns from rewards for what it generates itself (DeepInterestGR eqs. 15 and 16).
//!
//! For each history a group of completions is rolled out along the trie, by the decoder that also answers. With the
//! rewards R_j of a group:
//!
//! ```text
//! A_j = (R_j − mean) / (std + 1e-6)                            population deviation
//! L   = − mean over codes of [ min(ρ A, clip(ρ, 1 − ε, 1 + ε) A) − β k3 ]
//! ρ   = p / p_old,   k3 = p_ref / p − log(p_ref / p) − 1
//! ```
//!
//! p_ref are the weights that training began with, p_old those of the rollout; with one update for each rollout
//! ρ is 1 and nothing is clipped. `ratio` says whether ρ is of each code, as MiniOneRec has it, or of the whole SID, as
//! the paper writes it. Log-probabilities are over all codes of a level, not only those in the trie. ε is not
//! published; 0.2 is the customary one. Each epoch draws one item of every history as its target.

use candle_core::{D, Tensor};
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::beams::{log_probs, lost, targets};
use super::checkpoint::fingerprint;
use super::run::{Figures, Options, Run, Teach};
use super::sft::bytes_of;
use super::{Course, Judge, Kind, Report, Start, Until, batches};
use crate::decode::{Draw, Rollout, Stage, rollouts};
use crate::device::{AUTO, choose, source};
use crate::error::{Error, Result};
use crate::index::Trie;
use crate::nn::Params;
use crate::options;
use crate::policy::{Completion, Generate, History, Policy, Score, counted};
use crate::progress::{Checkpoint, Progress};
use crate::reward::{Found, Group, Need};

/// The record of this objective.
pub(super) const KIND: Kind = Kind {
    name: "grpo",
    summary: "rewards for generated SIDs, relative to their group, with KL to the start (GRPO)",
    start: Start::Trained,
    rewarded: true,
    ranked: true,
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    train: run,
};

/// Keeps the deviation of a group of equal rewards from being nothing.
const EPSILON: f64 = 1e-6;

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Passes over all histories, at most.
    epochs: usize,
    /// Histories in one step.
    batch: usize,
    /// Completions of each history.
    group: usize,
    /// How they are found.
    rollout: How,
    /// Of `rollout = 'sample'`: above 1 for more variety.
    temperature: f64,
    /// Steps of the optimizer for each rollout.
    updates: usize,
    /// How far a ratio may go from 1 before it is clipped.
    epsilon: f64,
    /// The weight of the divergence from the weights that training began with (β).
    kl: f64,
    /// What the ratio is of.
    ratio: Ratio,
    /// The weights of the rewards in the order of their names; their own where none are given.
    weights: Option<Vec<f64>>,
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

/// How completions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// The likeliest, by constrained beam search.
    Beam,
    /// Drawn along the trie.
    Sample,
}

/// What the ratio of probabilities is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ratio {
    /// Each code.
    Code,
    /// The whole SID.
    Sid,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            epochs: 2,
            batch: 64,
            group: 16,
            rollout: How::Beam,
            temperature: 1.0,
            updates: 1,
            epsilon: 0.2,
            kl: 1e-3,
            ratio: Ratio::Code,
            weights: None,
            lr: 1e-4,
            weight_decay: 0.0,
            warmup: 20,
            cosine: true,
            clip: 0.3,
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
        if !(2..=1024).contains(&self.group) {
            return wrong("group", "2 to 1024");
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return wrong("temperature", "above 0");
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            return wrong("epsilon", "above 0 and below 1");
        }
        if !(self.kl.is_finite() && self.kl >= 0.0) {
            return wrong("kl", "0 or more");
        }
        Ok(())
    }

    fn options(&self) -> Options {
        Options {
            epochs: self.epochs,
            batch: self.batch,
            updates: self.updates,
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
        return Err(Error::input("wrong-objective", "`grpo` is for policies that generate SIDs")
            .help("train a scoring policy with `fit`"));
    };
    let (Some(trie), Some(judge)) = (course.trie, &course.reward) else {
        return Err(Error::internal("`grpo` needs a trie and rewards"));
    };
    // A target is drawn from the items that have another before them.
    let learned = course.learned(config.until, 2)?;
    let validated = course.validated(config.until, config.validation_users, config.seed);
    let held_out = validated.clone();
    let bytes = serde_json::to_vec(&config)?.into_iter().chain(bytes_of(&learned));
    let bytes = bytes.chain(generator.basis().into_bytes());
    let made_of = fingerprint(bytes.collect::<Vec<u8>>());
    let options = config.options();
    let reference = generator.copy()?;
    let behaviour = if judge.sum.needs(Need::Behaviour) {
        Some(counted(course.catalogue, &learned, progress)?)
    } else {
        None
    };
    let mut lessons = Lessons {
        behaviour,
        policy: generator,
        reference: reference.as_ref(),
        course,
        trie,
        judge,
        config: &config,
        learned,
        validated,
        rolled: None,
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
    judge: &'a Judge<'a>,
    /// What behaviour says, where a reward needs it.
    behaviour: Option<Box<dyn Score>>,
    config: &'a Config,
    learned: Vec<History<'a>>,
    validated: Vec<History<'a>>,
    rolled: Option<Rolled<'a>>,
}

/// The rollouts of a batch. Completions stand group by group.
struct Rolled<'a> {
    histories: Vec<History<'a>>,
    /// The history of each completion, and its codes.
    completions: Vec<(u32, Vec<u16>)>,
    /// Completions × 1.
    advantages: Tensor,
    /// Log-probabilities as of the rollout. Completions × levels.
    old: Tensor,
    /// Those of the reference.
    reference: Tensor,
}

impl Rolled<'_> {
    fn completions(&self) -> Vec<Completion<'_>> {
        self.completions
            .iter()
            .map(|(history, codes)| Completion { history: *history, codes })
            .collect()
    }
}

impl<'a> Lessons<'a> {
    fn stage(&self) -> Stage<'a> {
        Stage { policy: self.policy, catalogue: self.course.catalogue, trie: self.trie }
    }

    fn log_probs(
        &self,
        policy: &dyn Generate,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
    ) -> Result<Tensor> {
        log_probs(policy, self.course.catalogue, histories, completions)
    }

    /// Rewards of the group of every history; advantages for each completion, and figures.
    fn judged(
        &self,
        histories: &[History<'_>],
        targets: &[u32],
        groups: &[Vec<Rollout>],
    ) -> Result<(Vec<f32>, Figures)> {
        let mut figures = Figures::new();
        let mut add = |name: &str, figure: f64| {
            *figures.entry(name.to_owned()).or_default() += figure / groups.len().max(1) as f64;
        };
        let mut advantages = Vec::new();
        let mut behaviour = Vec::new();
        for ((history, target), rollouts) in histories.iter().zip(targets).zip(groups) {
            if let Some(known) = &self.behaviour {
                behaviour.clear();
                behaviour.resize(self.course.catalogue.len(), 0.0);
                known.score(history, &mut behaviour)?;
            }
            let found: Vec<Found> = rollouts
                .iter()
                .map(|one| Found { codes: one.codes.clone(), items: one.items.clone() })
                .collect();
            let group = Group { target: *target, found: &found, behaviour: &behaviour };
            let (rewards, means) = self.judge.sum.give(&group, &self.judge.known);
            for (name, mean) in means {
                add(name, mean);
            }
            add("reward", rewards.iter().sum::<f64>() / rewards.len().max(1) as f64);
            let hit = found.iter().any(|one| one.items.contains(target));
            add("hit_groups", f64::from(u8::from(hit)));
            add("entropy", entropy(rollouts));
            advantages.extend(relative(&rewards));
        }
        Ok((advantages, figures))
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
        let draw = match self.config.rollout {
            How::Beam => Draw::Beam,
            How::Sample => Draw::Sample { temperature: self.config.temperature },
        };
        let groups =
            rollouts(&self.stage(), &histories, self.config.group, draw, &mut random, progress)?;
        let (advantages, figures) = self.judged(&histories, &targets, &groups)?;
        let completions: Vec<(u32, Vec<u16>)> = (0..)
            .zip(groups)
            .flat_map(|(at, group)| group.into_iter().map(move |one| (at, one.codes)))
            .collect();
        let all: Vec<Completion<'_>> = completions
            .iter()
            .map(|(history, codes)| Completion { history: *history, codes })
            .collect();
        let old = self.log_probs(self.policy, &histories, &all)?.detach();
        let reference = self.log_probs(self.reference, &histories, &all)?.detach();
        let advantages = Tensor::from_vec(advantages, (completions.len(), 1), old.device())?;
        self.rolled = Some(Rolled { histories, completions, advantages, old, reference });
        Ok(figures)
    }

    fn loss(&mut self, _batch: &[u32], _step: u64) -> Result<(Tensor, Figures)> {
        let Some(rolled) = &self.rolled else {
            return Err(Error::internal("a loss was asked for before a rollout"));
        };
        let now = self.log_probs(self.policy, &rolled.histories, &rolled.completions())?;
        let (loss, kl, clipped) = objective(&now, rolled, self.config)?;
        let figures = [("kl", kl), ("clipped", clipped)];
        Ok((loss, figures.map(|(name, figure)| (name.to_owned(), figure)).into()))
    }

    /// One less NDCG@10, by the beam that answers.
    fn validate(&mut self, progress: &Progress) -> Result<Option<f64>> {
        lost(&self.stage(), &self.validated, (self.config.batch, self.config.group), progress)
    }
}

/// Rewards relative to their group: less the mean, by the population deviation (eq. 15).
fn relative(rewards: &[f64]) -> impl Iterator<Item = f32> {
    let count = rewards.len().max(1) as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    let variance = rewards.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / count;
    let deviation = variance.sqrt() + EPSILON;
    rewards.iter().map(move |reward| ((reward - mean) / deviation) as f32)
}

/// The entropy of a group's probabilities brought to sum 1, in nats.
fn entropy(rollouts: &[Rollout]) -> f64 {
    let most = rollouts.iter().map(|one| one.score).fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = rollouts.iter().map(|one| f64::from(one.score - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum()
}

/// The loss (eq. 16), the mean divergence and the share of clipped ratios.
fn objective(now: &Tensor, rolled: &Rolled<'_>, config: &Config) -> Result<(Tensor, f64, f64)> {
    let change = (now - &rolled.old)?; // completions × levels
    let change = match config.ratio {
        Ratio::Code => change,
        Ratio::Sid => change.sum_keepdim(D::Minus1)?, // completions × 1
    };
    let ratio = change.exp()?;
    let (low, high) = (1.0 - config.epsilon, 1.0 + config.epsilon);
    let bounded = ratio.clamp(low, high)?;
    let free = ratio.broadcast_mul(&rolled.advantages)?;
    let held = bounded.broadcast_mul(&rolled.advantages)?;
    let gain = free.minimum(&held)?.mean_all()?;
    let away = (&rolled.reference - now)?;
    let k3 = ((away.exp()? - away)? - 1.0)?.mean_all()?;
    let outside = ratio.detach().ne(&bounded.detach())?.to_dtype(candle_core::DType::F32)?;
    let clipped = f64::from(outside.mean_all()?.to_scalar::<f32>()?);
    let kl = f64::from(k3.to_scalar::<f32>()?);
    Ok((((k3 * config.kl)? - gain)?, kl, clipped))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn advantages_are_relative_to_their_group() {
        let given: Vec<f32> = relative(&[1.0, 0.0, 0.0, 0.0]).collect();
        let deviation = (0.75_f64 * 0.25).sqrt();
        assert!((f64::from(given[0]) - 0.75 / deviation).abs() < 1e-4, "{given:?}");
        assert!((given.iter().sum::<f32>()).abs() < 1e-5);
        assert!(relative(&[0.5; 4]).all(|advantage| advantage == 0.0));
    }

    /// Two completions of one level, by hand: the value, the divergence, what is clipped, and where the gradient goes.
    #[test]
    fn the_loss_by_hand() {
        let device = Device::Cpu;
        let column = |values: [f64; 2]| {
            Tensor::from_vec(values.map(|v| v as f32).to_vec(), (2, 1), &device).unwrap()
        };
        let logs = |p: [f64; 2]| p.map(f64::ln);
        let rolled = Rolled {
            histories: Vec::new(),
            completions: Vec::new(),
            advantages: column([1.0, -1.0]),
            old: column(logs([0.2, 0.5])),
            reference: column(logs([0.25, 0.4])),
        };
        let now = Var::from_tensor(&column(logs([0.3, 0.45]))).unwrap();
        let config = Config { kl: 0.1, epsilon: 0.2, ..Config::default() };
        let (loss, kl, clipped) = objective(now.as_tensor(), &rolled, &config).unwrap();
        // Ratios 1.5 (clipped to 1.2, since the advantage is positive) and 0.9.
        let gain = f64::midpoint(1.2, -0.9);
        let k3 = |r: f64| r - r.ln() - 1.0;
        let divergence = f64::midpoint(k3(0.25 / 0.3), k3(0.4 / 0.45));
        assert!((kl - divergence).abs() < 1e-6 && (clipped - 0.5).abs() < 1e-6);
        let value = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((value - (0.1 * divergence - gain)).abs() < 1e-6);
        let grads = loss.backward().unwrap();
        let grad =
            grads.get(now.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // d k3 / d log p = 1 − p_ref / p; a clipped ratio passes nothing else.
        let expected = [0.05 * (1.0 - 0.25 / 0.3), 0.05 * (1.0 - 0.4 / 0.45) + 0.45];
        for (found, expected) in grad.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{grad:?} for {expected:?}");
        }
    }
}
