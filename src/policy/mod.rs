//! Policies: what turns a history into the next items. One file for each paper, one line for each in `KINDS`.
//!
//! There are two behaviours. A *generator* gives logits over the next code of a SID and is decoded along the
//! trie; a *scorer* gives a number to every item. Neither needs stubs for the other.

mod decoder;
mod item_graph;
mod popular;
pub(crate) mod state;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value as Json};

use crate::error::Result;
use crate::index::Catalogue;
use crate::options::Given;
use crate::progress::Progress;

/// Every policy that this build knows.
pub(crate) const KINDS: &[&Kind] = &[&decoder::KIND, &item_graph::KIND, &popular::KIND];

/// One kind of policy: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Whether it needs the codes of a codebook.
    pub(crate) needs_codebook: bool,
    /// The objectives that can train it, the default first: `sft` by gradient, `fit` in closed form.
    pub(crate) objectives: &'static [&'static str],
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// An untrained policy from its configuration (every field present), over a catalogue.
    pub(crate) build: fn(&Json, &Catalogue, &Device, u64) -> Result<Policy>,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// A policy ready to train or to ask.
pub(crate) enum Policy {
    /// Generates the codes of a SID, level by level.
    Generate(Box<dyn Generate>),
    /// Scores every item.
    Score(Box<dyn Score>),
}

impl Policy {
    /// The learned state, for a file or a checkpoint.
    pub(crate) fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        match self {
            Policy::Generate(policy) => policy.params().save(),
            Policy::Score(policy) => policy.save(catalogue),
        }
    }

    /// Restores what [`Policy::save`] gave, into a policy built with the same configuration.
    pub(crate) fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        match self {
            Policy::Generate(policy) => policy.params().load(state),
            Policy::Score(policy) => policy.load(catalogue, state),
        }
    }
}

/// Histories as positions of the catalogue, oldest first.
pub(crate) type History<'a> = &'a [u32];

/// A policy that gives a score to every item of the catalogue that it was fitted or loaded over; after items
/// have come or gone it is loaded again.
pub(crate) trait Score: Send + Sync {
    /// Learns from histories in closed form. The caller has cut them to their training part.
    fn fit(
        &mut self,
        catalogue: &Catalogue,
        histories: &[Vec<u32>],
        progress: &Progress,
    ) -> Result<()>;

    /// Writes the score of every item of the catalogue for one history into `scores` (zeroed, one for each
    /// position). Higher is better; the scale is the policy's own.
    fn score(&self, history: History<'_>, scores: &mut [f32]);

    /// The learned state, independent of positions (keyed by item number).
    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>>;

    /// Restores what `save` gave, for a catalogue that may have gained and lost items.
    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()>;
}

/// A policy that generates SIDs code by code.
pub(crate) trait Generate: Send + Sync {
    /// Reads a batch of histories and is ready to emit the first level.
    fn begin<'a>(
        &'a self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + 'a>>;

    /// The loss of a batch of histories: the paper's own. A scalar tensor with gradient.
    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor>;

    /// Log-probabilities of whole SIDs, each after one of the histories: completions × levels, over all codes of a
    /// level, with gradient. Decoding gives the same numbers.
    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor>;

    /// The same policy with variables of its own, for a reference that stays as it is.
    fn copy(&self) -> Result<Box<dyn Generate>>;

    /// The variables that training moves, by name.
    fn params(&self) -> &crate::nn::Params;
}

/// A SID that follows a history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Completion<'a> {
    /// Which history of the batch.
    pub(crate) history: u32,
    /// The codes of all levels.
    pub(crate) codes: &'a [u16],
}

/// What a loss may use while training.
pub(crate) struct Training<'a> {
    /// The seeded source of dropout and sampling.
    pub(crate) random: &'a mut rand_chacha::ChaCha8Rng,
    /// Whether dropout is active.
    pub(crate) train: bool,
    /// Which items of a history are predicted.
    pub(crate) targets: Targets,
}

/// The items of a history that a loss predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Every item, each from those before it: what training learns from.
    All,
    /// The last item alone: what validation looks at.
    Last,
}

/// The state of decoding one batch: key-value caches and the rows (beams) that are alive.
pub(crate) trait Decoding {
    /// Log-probabilities (after log-softmax over all codes of the level) of the first level, one row for each
    /// history: `histories × sizes[0]`, row-major.
    fn first(&mut self) -> Result<Vec<f32>>;

    /// Extends rows by one code and gives the log-probabilities of the next level.
    ///
    /// The new row `r` continues the old row `parents[r]` by `codes[r]`. Returns `rows × sizes[level]`, row-major.
    /// The old rows of the first call are the histories themselves.
    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>>;
}
