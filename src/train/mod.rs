//! Training: the objectives, and what they share.
//!
//! `sft.rs` teaches a policy the next items of real histories, `grpo.rs` a generator by rewards for what it generates
//! itself, `s_dpo.rs` by what it should prefer (`beams.rs` is common to both); `fit.rs` lets a scorer learn in closed form. `run.rs` is the loop of a run by gradient, `checkpoint.rs` its saved
//! place, `batches.rs` the order of its data.

mod batches;
mod beams;
mod checkpoint;
mod fit;
mod grpo;
mod run;
mod s_dpo;
mod sft;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::index::{Catalogue, Trie};
use crate::options::{Given, Meanings};
use crate::policy::{History, Policy};
use crate::progress::{Checkpoint, Progress};
use crate::reward;

/// Every objective that this build knows.
pub(crate) const OBJECTIVES: &[&Kind] = &[&sft::KIND, &grpo::KIND, &s_dpo::KIND, &fit::KIND];

/// One objective: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Where it begins, unless an option `start` says otherwise.
    pub(crate) start: Start,
    /// Whether it learns from rewards.
    pub(crate) rewarded: bool,
    /// Whether validation is by rank (one less NDCG@10), and not by the loss.
    pub(crate) ranked: bool,
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// Trains a policy; see [`train`].
    train: Train,
}

/// The function of an objective: policy, what there is to learn from, configuration, progress, checkpoint.
type Train = fn(&mut Policy, &Course<'_>, &Json, &Progress, &dyn Checkpoint) -> Result<Report>;

/// Which weights training begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Start {
    /// Drawn from the seed.
    #[default]
    Fresh,
    /// Those that the policy has.
    Trained,
}

/// What there is to learn from.
pub(crate) struct Course<'a> {
    /// The items.
    pub(crate) catalogue: &'a Catalogue,
    /// Their trie, where there are SIDs.
    pub(crate) trie: Option<&'a Trie>,
    /// Full histories as positions of the catalogue, oldest first.
    pub(crate) histories: &'a [Vec<u32>],
    /// How what is generated is judged, for an objective that learns from rewards.
    pub(crate) reward: Option<Judge<'a>>,
}

/// Rewards, and what they must know.
pub(crate) struct Judge<'a> {
    /// The weighted sum.
    pub(crate) sum: reward::Sum,
    /// What is known of the items.
    pub(crate) known: reward::Known<'a>,
}

impl<'a> Course<'a> {
    /// The parts of the histories that may be learned and have so many items.
    fn learned(&'a self, until: Until, least: usize) -> Result<Vec<History<'a>>> {
        let cut = self.histories.iter().map(|history| until.cut(history));
        let learned: Vec<History<'_>> = cut.filter(|history| history.len() >= least).collect();
        if learned.is_empty() {
            let message = "no history is long enough to learn from";
            let help =
                "training holds out the last two items of every user; see the option `until`";
            return Err(Error::input("no-histories", message).help(help));
        }
        Ok(learned)
    }

    /// Histories of some users that end with the validation target; none where it is learned.
    fn validated(&'a self, until: Until, users: usize, seed: u64) -> Vec<History<'a>> {
        if until != Until::Train {
            return Vec::new();
        }
        // A target alone would be predicted from nothing, so at least one item comes before it.
        let held: Vec<History<'_>> =
            self.histories.iter().filter(|h| h.len() > 2).map(|h| &h[..h.len() - 1]).collect();
        let chosen = batches::sample(held.len(), users, seed);
        chosen.into_iter().map(|at| held[at as usize]).collect()
    }
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn defaults(&self) -> Result<Map<String, Json>> {
        (self.config)(&[])
    }

    fn meanings(&self) -> Meanings {
        (self.meanings)()
    }
}

/// Which part of each history is learned. The last item is the test target, the one before it the
/// validation target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Until {
    /// All but the last two items: validation and test stay unseen.
    #[default]
    Train,
    /// All but the last item.
    Validation,
    /// Everything, for a policy that goes live.
    All,
}

impl Until {
    /// The part of a full history that may be learned.
    pub(crate) fn cut(self, history: &[u32]) -> &[u32] {
        let held_out = match self {
            Until::Train => 2,
            Until::Validation => 1,
            Until::All => 0,
        };
        &history[..history.len().saturating_sub(held_out)]
    }
}

/// What training did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The epochs in order; empty for a closed form.
    pub(crate) epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, counted from 1; 0 for a closed form.
    pub(crate) best_epoch: usize,
    /// Whether validation stopped the run before its last epoch.
    pub(crate) stopped_early: bool,
    /// Steps of the optimizer.
    pub(crate) steps: u64,
    /// Histories learned from, summed over epochs.
    pub(crate) samples: u64,
    /// Time spent, over all runs where the work was resumed.
    pub(crate) seconds: f64,
    /// Samples divided by seconds.
    pub(crate) samples_per_second: f64,
    /// What was measured along the way, thinned out evenly.
    #[serde(default)]
    pub(crate) curve: Vec<Point>,
}

/// Figures after a step of the optimizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Steps done.
    pub(crate) step: u64,
    /// The figures by name.
    pub(crate) figures: BTreeMap<String, f64>,
}

/// One epoch of a gradient run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Mean training loss for each target item, dropout included.
    pub(crate) loss: f64,
    /// What validation says, the lower the better, where its targets are held out: the mean loss on them, or one less
    /// NDCG@10 for an objective that is `ranked`.
    pub(crate) validation_loss: Option<f64>,
    /// The learning rate after the epoch.
    pub(crate) rate: f64,
    /// Time spent on the epoch, validation included.
    pub(crate) seconds: f64,
}

/// Trains a policy.
///
/// `config` holds every field of the objective's options. A run that finds its own state in the
/// checkpoint goes on from there, and gives the weights that an uninterrupted run would have given.
///
/// # Errors
/// A wrong configuration, an objective that does not suit the policy, too few histories, a loss
/// that is not finite, and the cancelled error once `progress` was stopped (the place is saved
/// before).
pub(crate) fn train(
    objective: &Kind,
    policy: &mut Policy,
    course: &Course<'_>,
    config: &Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let outside = |position: &u32| *position as usize >= course.catalogue.len();
    if course.histories.iter().flatten().any(outside) {
        return Err(Error::internal("a history names a position outside the catalogue"));
    }
    (objective.train)(policy, course, config, progress, checkpoint)
}

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod tests;
