//! The saved place of a gradient run: where it stands, weights, optimizer state, best weights.
//!
//! The state is a header in JSON and three byte strings, each behind its length. Random state needs
//! no place: every step draws from its own stream of the seed.

use serde::{Deserialize, Serialize};

use super::{Epoch, Point};
use crate::error::{Error, Result};

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    /// What the run is made of; a run made of something else must not go on from here.
    pub(super) fingerprint: u64,
    /// Steps done, over all epochs.
    pub(super) step: u64,
    /// Batches done in the epoch under way.
    pub(super) batch: usize,
    /// Sum of the losses of these batches.
    pub(super) loss: f64,
    /// Time spent in the epoch under way.
    pub(super) seconds: f64,
    /// Epochs done.
    pub(super) epochs: Vec<Epoch>,
    /// Batches done over all epochs; every so many of them leave a point of the curve.
    #[serde(default)]
    pub(super) batches: u64,
    #[serde(default)]
    pub(super) stride: u64,
    #[serde(default)]
    pub(super) curve: Vec<Point>,
    /// Histories learned from.
    pub(super) samples: u64,
    /// The epoch with the lowest validation loss, counted from 1; 0 before the first.
    pub(super) best_epoch: usize,
}

/// All that is saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) place: Place,
    pub(super) weights: Vec<u8>,
    pub(super) optimizer: Vec<u8>,
    /// The weights of the best epoch; empty before the first.
    pub(super) best: Vec<u8>,
}

impl State {
    /// The state as bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_vec(&self.place)?;
        let mut bytes = Vec::new();
        for part in [&header, &self.weights, &self.optimizer, &self.best] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// Reads what [`State::encode`] gave.
    pub(super) fn decode(mut bytes: &[u8]) -> Result<State> {
        let header = take(&mut bytes)?;
        let place = serde_json::from_slice(header).map_err(|_| damaged())?;
        let mut part = || take(&mut bytes).map(<[u8]>::to_vec);
        Ok(State { place, weights: part()?, optimizer: part()?, best: part()? })
    }
}

fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (part, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = rest;
    Ok(part)
}

fn damaged() -> Error {
    Error::new(crate::error::Kind::Restore, "bad-checkpoint", "the training checkpoint is damaged")
        .help("cancel the job and train again")
}

/// FNV-1a over bytes, to tell runs apart.
pub(super) fn fingerprint(parts: impl IntoIterator<Item = u8>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    parts
        .into_iter()
        .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let epoch = Epoch { loss: 0.1 + 0.2, validation_loss: Some(1.0 / 3.0), ..Epoch::default() };
        let place =
            Place { step: 7, loss: 2.0_f64.sqrt(), epochs: vec![epoch], ..Place::default() };
        let state = State { place, weights: vec![1], optimizer: vec![], best: vec![2, 3] };
        let bytes = state.encode().unwrap();
        assert_eq!(State::decode(&bytes).unwrap(), state);
        for cut in 0..bytes.len() {
            assert_eq!(State::decode(&bytes[..cut]).unwrap_err().code(), "bad-checkpoint");
        }
    }
}
