//! Counters: running numbers, which are never given twice, and tallies.

use super::Table;
use crate::codec::{frame, pack};
use crate::error::{Error, Result};

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Counter {
    /// The next item.
    Item = 1,
    /// The next user.
    User,
    /// The next embedding space.
    Space,
    /// The next generation.
    Generation,
    /// The next job.
    Job,
    /// The next evaluation.
    Evaluation,
    /// The next blob.
    Blob,
    /// The last revision of any generation.
    Revision,
    /// The number of interactions.
    Interactions,
    /// The next origin.
    Origin,
    /// The number of captions.
    Captions,
    /// The number of lists of descriptors.
    Intents,
    /// The number of quality labels.
    Qualities,
}

/// Every counter.
pub(crate) const COUNTERS: [Counter; 13] = [
    Counter::Item,
    Counter::User,
    Counter::Space,
    Counter::Generation,
    Counter::Job,
    Counter::Evaluation,
    Counter::Blob,
    Counter::Revision,
    Counter::Interactions,
    Counter::Origin,
    Counter::Captions,
    Counter::Intents,
    Counter::Qualities,
];

impl Counter {
    /// Its key in the table.
    pub(crate) fn key(self) -> [u8; 1] {
        [self as u8]
    }

    /// Its name, for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Counter::Item => "item",
            Counter::User => "user",
            Counter::Space => "space",
            Counter::Generation => "generation",
            Counter::Job => "job",
            Counter::Evaluation => "evaluation",
            Counter::Blob => "blob",
            Counter::Revision => "revision",
            Counter::Interactions => "interactions",
            Counter::Origin => "origin",
            Counter::Captions => "captions",
            Counter::Intents => "intents",
            Counter::Qualities => "qualities",
        }
    }

    /// The first number it gives: those that users type begin at 1.
    pub(crate) fn first(self) -> u64 {
        match self {
            Counter::Generation
            | Counter::Job
            | Counter::Evaluation
            | Counter::Blob
            | Counter::Origin => 1,
            _ => 0,
        }
    }
}

/// A number as a framed value.
pub(crate) fn encode(table: Table, number: u64) -> Result<Vec<u8>> {
    frame::wrap(table, &number.to_le_bytes())
}

/// The number in a framed value.
pub(crate) fn decode(table: Table, key: &[u8], framed: &[u8]) -> Result<u64> {
    let payload = frame::open(table, key, framed)?;
    if payload.len() != 8 {
        return Err(Error::corrupt(table.name(), key, "not a number"));
    }
    Ok(pack::u64_at(payload, 0))
}
