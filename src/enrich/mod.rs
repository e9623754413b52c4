//! Enrichment: what is computed for items before quantization. Today text embeddings and their fusion.
//!
//! `text.rs` makes the text of an item, an encoder of `ENCODERS` makes its vector, `fuse.rs` joins the
//! vectors of several sources.

pub(crate) mod fuse;
mod hash;
mod subspace;
pub(crate) mod text;

use serde_json::{Map, Value as Json};

use crate::error::Result;
use crate::progress::Progress;

/// Every text encoder that this build knows, the default first.
pub(crate) const ENCODERS: &[&Kind] = &[&hash::KIND];

/// One kind of text encoder: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Its options with their defaults.
    pub(crate) defaults: fn() -> Result<Map<String, Json>>,
    /// An encoder fitted on the texts of a catalogue; missing fields of the configuration take their defaults.
    pub(crate) fit: fn(&Json, &[String], &Progress) -> Result<Box<dyn Encoder>>,
    /// The encoder that `Encoder::to_bytes` stored.
    pub(crate) load: fn(&[u8]) -> Result<Box<dyn Encoder>>,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Texts to vectors.
pub(crate) trait Encoder: Send + Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// One vector of unit length for each text, row-major. A text without any word gives a zero vector.
    ///
    /// Work grows with the texts: give a few hundred at a time and check for a stop between.
    fn encode(&self, texts: &[&str]) -> Result<Vec<f32>>;

    /// The artefact to store; `Kind::load` restores it.
    fn to_bytes(&self) -> Vec<u8>;
}
