//! The frame around every value: kind, schema version, flags, length and checksum, then the payload.
//!
//! The checksum stands in front because the root of an archive lies at its end, and bytes after it
//! would shift the root.

use crate::error::{Error, Result};
use crate::table::Table;

/// The bytes before the payload.
pub(crate) const HEADER: usize = 12;
/// The schema version that this build writes.
pub(crate) const VERSION: u8 = 1;

/// The header is finished by `seal` once the payload stands behind it.
pub(crate) fn begin(table: Table, capacity: usize) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HEADER + capacity);
    framed.extend_from_slice(&[table.kind(), VERSION, 0, 0]);
    framed.extend_from_slice(&[0; 8]);
    framed
}

/// Writes length and checksum into the header of a frame made by `begin`.
pub(crate) fn seal(mut framed: Vec<u8>) -> Result<Vec<u8>> {
    let length = u32::try_from(framed.len() - HEADER)
        .map_err(|_| Error::Invalid("a value is larger than 4 GiB".to_owned()))?;
    framed[4..8].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&framed);
    framed[8..HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(framed)
}

/// A payload in its frame.
pub(crate) fn wrap(table: Table, payload: &[u8]) -> Result<Vec<u8>> {
    let mut framed = begin(table, payload.len());
    framed.extend_from_slice(payload);
    seal(framed)
}

/// The payload of a framed value, once everything about the frame has been checked.
pub(crate) fn open<'b>(table: Table, key: &[u8], framed: &'b [u8]) -> Result<&'b [u8]> {
    check(table, framed).map_err(|what| Error::corrupt(table.name(), key, what))
}

/// The payload of a framed value that was opened before.
pub(crate) fn payload(framed: &[u8]) -> &[u8] {
    framed.get(HEADER..).unwrap_or_default()
}

fn check(table: Table, framed: &[u8]) -> Result<&[u8], String> {
    let Some(payload) = framed.get(HEADER..) else {
        return Err(format!("{} bytes are too few for a value", framed.len()));
    };
    if framed[0] != table.kind() {
        return Err(format!("value of kind {}, expected {}", framed[0], table.kind()));
    }
    let length = u32::from_le_bytes([framed[4], framed[5], framed[6], framed[7]]);
    if length as usize != payload.len() {
        return Err(format!("{} bytes of payload, expected {length}", payload.len()));
    }
    let sum = u32::from_le_bytes([framed[8], framed[9], framed[10], framed[11]]);
    if sum != checksum(framed) {
        return Err("the checksum does not match".to_owned());
    }
    if framed[1] != VERSION || framed[2] != 0 || framed[3] != 0 {
        return Err(format!("schema version {} is not known to this build", framed[1]));
    }
    Ok(payload)
}

fn checksum(framed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&framed[..8]);
    hasher.update(&framed[HEADER..]);
    hasher.finalize()
}
