//! Training: the objectives, and what they share.
//!
//! `sft.rs` learns a generator by gradient from the next items of real histories; `fit.rs` lets a
//! scorer learn in closed form. `checkpoint.rs` is the saved place of a gradient run, `batches.rs`
//! the order of its data.

mod batches;
mod checkpoint;
mod fit;
mod sft;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::options::Given;
use crate::policy::Policy;
use crate::progress::{Checkpoint, Progress};

/// Every objective that this build knows.
pub(crate) const OBJECTIVES: &[&Kind] = &[&sft::KIND, &fit::KIND];

/// One objective: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// Trains a policy; see [`train`].
    train: Train,
}

/// The function of an objective: policy, catalogue, full histories, configuration, progress,
/// checkpoint.
type Train =
    fn(&mut Policy, &Catalogue, &[Vec<u32>], &Json, &Progress, &dyn Checkpoint) -> Result<Report>;

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
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
}

/// One epoch of a gradient run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    /// Mean training loss for each target item, dropout included.
    pub(crate) loss: f64,
    /// Mean loss on the validation targets, where they are held out.
    pub(crate) validation_loss: Option<f64>,
    /// The learning rate after the epoch.
    pub(crate) rate: f64,
    /// Time spent on the epoch, validation included.
    pub(crate) seconds: f64,
}

/// Trains a policy on full histories (positions of the catalogue, oldest first).
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
    catalogue: &Catalogue,
    histories: &[Vec<u32>],
    config: &Json,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    if histories.iter().flatten().any(|&position| position as usize >= catalogue.len()) {
        return Err(Error::internal("a history names a position outside the catalogue"));
    }
    (objective.train)(policy, catalogue, histories, config, progress, checkpoint)
}

#[cfg(test)]
mod tests;
