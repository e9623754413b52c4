//! What a build saves of its place, and what such a state must have been made from to be of use.

use serde_json::{Value as Json, json};

use super::Input;
use super::stored::{floats_of, put_floats, put_part, split};
use crate::error::Result;
use crate::progress::Checkpoint;

/// What tells a build from others: the kind, the options and the vectors.
pub(super) fn sign(kind: &str, config: Json, input: &Input<'_>) -> Result<Vec<u8>> {
    // FNV-1a over the bits: it tells changed vectors from the same ones, no more is asked of it.
    let vectors = &input.vectors;
    let sum = vectors.data().iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, x| {
        (sum ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
    });
    let sign = json!({
        "kind": kind, "config": config, "rows": vectors.len(), "dim": vectors.dim(), "parts": input.parts, "sum": sum,
    });
    Ok(serde_json::to_vec(&sign)?)
}

/// Saves parts under a sign.
pub(super) fn save(checkpoint: &dyn Checkpoint, sign: &[u8], parts: &[&[u8]]) -> Result<()> {
    let mut bytes = Vec::new();
    put_part(&mut bytes, sign);
    for part in parts {
        put_part(&mut bytes, part);
    }
    checkpoint.save(&bytes)
}

/// The parts that were saved under this sign; none where the state is of other work.
pub(super) fn load(checkpoint: &dyn Checkpoint, sign: &[u8]) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(bytes) = checkpoint.load()? else { return Ok(None) };
    let Some((saved, mut rest)) = split(&bytes) else { return Ok(None) };
    if saved != sign {
        return Ok(None);
    }
    let mut parts = Vec::new();
    while let Some((part, after)) = split(rest) {
        parts.push(part.to_vec());
        rest = after;
    }
    Ok(rest.is_empty().then_some(parts))
}

/// Floats as a part.
pub(super) fn of_floats(floats: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * floats.len());
    put_floats(&mut bytes, floats);
    bytes
}

/// A part as floats.
pub(super) fn to_floats(part: &[u8]) -> Vec<f32> {
    floats_of(part)
}
