//! Policies: what turns a history into the next items. One file for each paper, one line for each in `KINDS`.
//!
//! There are two ways to answer and two ways to learn. A generator ([`Generate`]) gives logits over the next code of a
//! SID and is decoded along the trie; a scorer ([`Score`]) gives a number to every item. What learns by gradient is a
//! [`Learn`], what counts in closed form a [`Fit`]. [`Policy`] has a variant for each pair that exists.

mod decoder;
mod hybrid;
mod item_graph;
mod language;
mod lc_rec;
mod parallel;
mod popular;
mod sid_head;
pub(crate) mod state;
mod tiger;
mod timeline;

use std::sync::Arc;

use candle_core::{Device, Tensor};
pub(crate) use item_graph::counted;
use serde_json::{Map, Value as Json};

use crate::error::Result;
use crate::index::Catalogue;
use crate::model::base::Base;
use crate::options::{Given, Meanings};
use crate::progress::Progress;

/// Every policy that this build knows.
pub(crate) const KINDS: &[&Kind] = &[
    &decoder::KIND,
    &hybrid::KIND,
    &item_graph::KIND,
    &lc_rec::KIND,
    &parallel::KIND,
    &popular::KIND,
    &tiger::KIND,
];

/// One kind of policy: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Whether it needs the codes of a codebook.
    pub(crate) needs_codebook: bool,
    /// What it reads beside codes and histories.
    pub(crate) reads: &'static [Reads],
    /// How it answers.
    pub(crate) answers: Answers,
    /// The objectives that can train it, the default first: `sft` by gradient, `fit` in closed form.
    pub(crate) objectives: &'static [&'static str],
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// An untrained policy from its configuration (every field present), over items.
    pub(crate) build: fn(&Json, &Material<'_>, &Device, u64) -> Result<Policy>,
}

impl Kind {
    /// Whether it reads this.
    pub(crate) fn reads(&self, what: Reads) -> bool {
        self.reads.contains(&what)
    }
}

/// What a policy may read beside codes and histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The content of the items: their vectors in the space of the codebook.
    Content,
    /// A language model, which its option `base` names; none where that is empty.
    Base,
    /// The titles of the items.
    Titles,
}

/// How a kind of policy answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// It scores every item.
    Scores,
    /// It generates SIDs along the trie.
    Beams,
    /// It scores every item, unless it is told to generate.
    Both,
}

/// What a policy is built over.
#[derive(Clone, Copy)]
pub(crate) struct Material<'a> {
    /// The items and their codes.
    pub(crate) catalogue: &'a Catalogue,
    /// The vector of every item, of unit length, items × components (zeros where an item has none); empty for a
    /// policy that does not read content, or where the codes came without a space.
    pub(crate) content: &'a [f32],
    /// A hash of what made these vectors; others mean something else.
    pub(crate) made_by: u64,
    /// The language model that it begins with.
    pub(crate) base: Option<&'a Arc<Base>>,
    /// The title of every item (empty where an item has none); none for a policy that does not read them.
    pub(crate) titles: &'a [String],
}

impl<'a> From<&'a Catalogue> for Material<'a> {
    fn from(catalogue: &'a Catalogue) -> Self {
        Material { catalogue, content: &[], made_by: 0, base: None, titles: &[] }
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

/// A policy ready to train or to ask.
pub(crate) enum Policy {
    /// Learns to generate the codes of a SID, level by level.
    Generate(Box<dyn Generate>),
    /// Counts, and scores every item.
    Score(Box<dyn Fit>),
    /// Learns to score every item.
    Learned(Box<dyn LearnedScore>),
    /// Learns both to generate SIDs and to score every item.
    Hybrid(Box<dyn Hybrid>),
}

impl Policy {
    /// The policy as one that generates SIDs.
    pub(crate) fn generator(&self) -> Option<&dyn Generate> {
        match self {
            Policy::Generate(policy) => Some(policy.as_ref()),
            Policy::Hybrid(policy) => Some(policy.as_ref()),
            Policy::Score(_) | Policy::Learned(_) => None,
        }
    }

    /// The policy as one that learns by gradient.
    pub(crate) fn learner(&mut self) -> Option<&mut dyn Learn> {
        match self {
            Policy::Generate(policy) => Some(policy.as_mut()),
            Policy::Hybrid(policy) => Some(policy.as_mut()),
            Policy::Learned(policy) => Some(policy.as_mut()),
            Policy::Score(_) => None,
        }
    }

    /// The learned state, for the file.
    pub(crate) fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        match self {
            Policy::Generate(policy) => policy.save(catalogue),
            Policy::Hybrid(policy) => policy.save(catalogue),
            Policy::Learned(policy) => policy.save(catalogue),
            Policy::Score(policy) => policy.save(catalogue),
        }
    }

    /// Restores what [`Policy::save`] gave, into a policy built with the same configuration over a catalogue that
    /// may have gained and lost items.
    pub(crate) fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        match self {
            Policy::Generate(policy) => policy.load(catalogue, state),
            Policy::Hybrid(policy) => policy.load(catalogue, state),
            Policy::Learned(policy) => policy.load(catalogue, state),
            Policy::Score(policy) => policy.load(catalogue, state),
        }
    }
}

/// Histories as positions of the catalogue, oldest first.
pub(crate) type History<'a> = &'a [u32];

/// A policy that gives a score to every item of the catalogue that it was fitted or loaded over; after items
/// have come or gone it is loaded again.
pub(crate) trait Score: Send + Sync {
    /// Writes the score of every item of the catalogue for one history into `scores` (zeroed, one for each
    /// position). Higher is better; the scale is the policy's own.
    fn score(&self, history: History<'_>, scores: &mut [f32]) -> Result<()>;
}

/// A scorer that counts.
pub(crate) trait Fit: Score {
    /// Learns from histories in closed form. The caller has cut them to their training part.
    fn fit(
        &mut self,
        catalogue: &Catalogue,
        histories: &[Vec<u32>],
        progress: &Progress,
    ) -> Result<()>;

    /// The learned state, independent of positions (keyed by item number).
    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>>;

    /// Restores what `save` gave, for a catalogue that may have gained and lost items.
    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()>;
}

/// A policy that learns by gradient.
pub(crate) trait Learn: Send + Sync {
    /// The variables that training moves, by name.
    fn params(&self) -> &crate::nn::Params;

    /// What it stands on beside its variables, where that can change: another basis is another run.
    fn basis(&self) -> String {
        String::new()
    }

    /// Takes from the histories to be learned what is counted, not learned by gradient. Before the first step, and again
    /// when a run is taken up.
    fn count(
        &mut self,
        _catalogue: &Catalogue,
        _histories: &[History<'_>],
        _progress: &Progress,
    ) -> Result<()> {
        Ok(())
    }

    /// The loss of a batch of histories: the paper's own. A scalar tensor with gradient.
    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor>;

    /// After the last step: makes what is derived from the variables, and chooses what validation chooses, by histories
    /// that end with a target (none where nothing is held out).
    fn settle(
        &mut self,
        _catalogue: &Catalogue,
        _validated: &[History<'_>],
        _progress: &Progress,
    ) -> Result<()> {
        Ok(())
    }

    /// The learned state.
    fn save(&self, _catalogue: &Catalogue) -> Result<Vec<u8>> {
        self.params().save()
    }

    /// Restores what `save` gave.
    fn load(&mut self, _catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        self.params().load(state)
    }
}

/// A policy that generates SIDs code by code.
pub(crate) trait Generate: Learn {
    /// Reads a batch of histories and is ready to emit the first level.
    fn begin<'a>(
        &'a self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + 'a>>;

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
}

/// A policy that scores items by what it has learned.
pub(crate) trait LearnedScore: Learn + Score {}

impl<P: Learn + Score> LearnedScore for P {}

/// A policy that generates SIDs and scores items.
pub(crate) trait Hybrid: Generate + Score {}

impl<P: Generate + Score> Hybrid for P {}

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
