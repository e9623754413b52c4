//! Enrichment: what is computed for items before quantization (DeepInterestGR III-B to III-E), one file a stage.
//!
//! ```text
//! caption   what the photo shows, in words        CMSA path 1     a model that sees
//! image     the photo as a vector                 CMSA path 2     an image encoder
//! intent    descriptors with confidences          DCIM            a language model
//! quality   a label for each descriptor           QARM            a judge
//! text      title, description, caption, descriptors, … as a vector: a text encoder
//! fused     the vectors of several spaces, joined
//! ```
//!
//! A stage reads a [`Subject`], what is known of one item, and knows no database: `derive/` makes subjects and `job/`
//! keeps what comes out. Stages that ask a language model share `answer.rs`; their prompts are files in `prompt/`.

pub(crate) mod agreement;
pub(crate) mod answer;
mod caption;
pub(crate) mod fuse;
pub(crate) mod image;
mod intent;
pub(crate) mod prompt;
mod quality;
pub(crate) mod subject;
pub(crate) mod text;

use serde_json::{Map, Value as Json};
use sidql_storage::EvidenceKind;

use crate::error::Result;
use crate::model::Ability;
use crate::options::{Given, Meanings};
use answer::Questions;
pub(crate) use subject::Subject;

/// Every stage, in the order in which they build on each other.
pub(crate) const STAGES: &[&Kind] =
    &[&caption::KIND, &image::KIND, &intent::KIND, &quality::KIND, &text::KIND, &fuse::KIND];

/// One stage: a constant record.
pub(crate) struct Kind {
    /// The name typed after `BY`; also that of the column or the embedding space that it fills.
    pub(crate) name: &'static str,
    /// One sentence: what it makes, and from what.
    pub(crate) summary: &'static str,
    /// What the model after `USING` must be able to do; nothing where no model is asked.
    pub(crate) needs: Option<Ability>,
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// What it makes of an item.
    pub(crate) makes: Makes,
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

/// What a stage makes of an item.
#[derive(Clone, Copy)]
pub(crate) enum Makes {
    /// A vector from the item's text.
    TextVector,
    /// A vector from the item's picture.
    ImageVector,
    /// A vector from the vectors of other spaces.
    FusedVector,
    /// An answer of a language model, kept as evidence of this kind.
    Answer(EvidenceKind, fn(&Json) -> Result<Box<dyn Questions>>),
}

impl Kind {
    /// The stage that makes evidence of a kind.
    pub(crate) fn of(kind: EvidenceKind) -> &'static Kind {
        let makes = |stage: &&&Kind| matches!(stage.makes, Makes::Answer(made, _) if made == kind);
        STAGES.iter().find(makes).expect("every kind of evidence has its stage")
    }
}
