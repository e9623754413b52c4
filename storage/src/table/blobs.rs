//! Blobs: large artefacts in checksummed chunks. Whoever stores one keeps its number in a record of the
//! same transaction; a blob that no record names is swept.

use std::collections::BTreeSet;

use super::{Table, generations, indexes, jobs, policies, spaces};
use crate::codec::pack::{Damage, Reader, u64_at};
use crate::codec::{frame, key};
use crate::error::{Error, Result};
use crate::record::BlobNo;
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::View;

/// The bytes of one chunk: with frame, key and page header just under 1 MiB, because a value takes a run
/// of pages of a power of two.
pub const CHUNK_BYTES: usize = (1 << 20) - 256;

/// What is known of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its number.
    pub number: BlobNo,
    /// Its length in bytes.
    pub length: u64,
    /// The checksum of all its bytes.
    pub checksum: u32,
    /// The number of its chunks.
    pub chunks: u32,
}

/// What `sweep` took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that no record names.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Stores bytes and gives their number.
pub fn put(write: &Write, bytes: &[u8]) -> Result<BlobNo> {
    let number = write.next(Counter::Blob)?;
    let chunks = u32::try_from(bytes.len().div_ceil(CHUNK_BYTES))
        .map_err(|_| Error::Invalid("a blob is too large".to_owned()))?;
    let rows = bytes
        .chunks(CHUNK_BYTES)
        .zip(0u32..)
        .map(|(chunk, at)| Ok((key::parted(number, at), frame::wrap(Table::Chunks, chunk)?)));
    write.put_all(Table::Chunks, rows)?;
    let info =
        BlobInfo { number, length: bytes.len() as u64, checksum: crc32fast::hash(bytes), chunks };
    write.put(Table::Blobs, &key::number(number), &encode(&info)?)?;
    Ok(number)
}

/// What is known of a blob.
pub fn info(view: &dyn View, blob: BlobNo) -> Result<Option<BlobInfo>> {
    let row_key = key::number(blob);
    let value = view.get(Table::Blobs, &row_key)?;
    value.map(|value| decode(&row_key, &value)).transpose()
}

/// All blobs by number.
pub fn all(view: &dyn View) -> Result<Vec<BlobInfo>> {
    let rows = super::rows::under(view, Table::Blobs, &[])?;
    rows.map(|row| {
        let (key, value) = row?;
        decode(&key, &value)
    })
    .collect()
}

/// The bytes of a blob.
pub fn get(view: &dyn View, blob: BlobNo) -> Result<Option<Vec<u8>>> {
    let Some(info) = info(view, blob)? else { return Ok(None) };
    let damage = |what: String| Error::corrupt(Table::Blobs.name(), &key::number(blob), what);
    let mut bytes = Vec::new();
    for chunk in 0..info.chunks {
        let row_key = key::parted(blob, chunk);
        let Some(value) = view.get(Table::Chunks, &row_key)? else {
            return Err(damage(format!("chunk {chunk} of {} is missing", info.chunks)));
        };
        bytes.extend_from_slice(frame::open(Table::Chunks, &row_key, &value)?);
    }
    if bytes.len() as u64 != info.length || crc32fast::hash(&bytes) != info.checksum {
        return Err(damage("the chunks do not make up the blob".to_owned()));
    }
    Ok(Some(bytes))
}

/// Removes a blob; tells whether it was there.
pub fn delete(write: &Write, blob: BlobNo) -> Result<bool> {
    write.remove_prefix(Table::Chunks, &key::number(blob))?;
    write.remove(Table::Blobs, &key::number(blob))
}

/// Removes a blob if there is one.
pub(crate) fn delete_if(write: &Write, blob: Option<BlobNo>) -> Result<()> {
    blob.map_or(Ok(()), |blob| delete(write, blob).map(|_| ()))
}

/// The blobs that records name.
pub fn referenced(view: &dyn View) -> Result<BTreeSet<BlobNo>> {
    let mut named = BTreeSet::new();
    named.extend(spaces::all(view)?.into_iter().filter_map(|space| space.artefact));
    named.extend(generations::all(view)?.into_iter().filter_map(|made| made.artefact));
    named.extend(policies::all(view)?.into_iter().filter_map(|card| card.weights));
    named.extend(jobs::all(view)?.into_iter().filter_map(|job| job.checkpoint));
    named.extend(indexes::all(view)?.into_iter().filter_map(|index| index.artefact));
    Ok(named)
}

/// Removes the blobs that no record names. Run it when opening, before any work begins.
pub fn sweep(write: &Write) -> Result<Swept> {
    let named = referenced(write)?;
    let mut swept = Swept::default();
    for info in all(write)? {
        if !named.contains(&info.number) {
            delete(write, info.number)?;
            swept.blobs += 1;
            swept.bytes += info.length;
        }
    }
    Ok(swept)
}

fn encode(info: &BlobInfo) -> Result<Vec<u8>> {
    let mut framed = frame::begin(Table::Blobs, 16);
    framed.extend_from_slice(&info.length.to_le_bytes());
    framed.extend_from_slice(&info.checksum.to_le_bytes());
    framed.extend_from_slice(&info.chunks.to_le_bytes());
    frame::seal(framed)
}

pub(crate) fn decode(row_key: &[u8], framed: &[u8]) -> Result<BlobInfo> {
    let number = key::read_number(Table::Blobs, row_key)?;
    let payload = frame::open(Table::Blobs, row_key, framed)?;
    parse(number, payload).map_err(|what| Error::corrupt(Table::Blobs.name(), row_key, what))
}

fn parse(number: BlobNo, payload: &[u8]) -> Result<BlobInfo, Damage> {
    let mut reader = Reader::new(payload);
    let length = u64_at(reader.take(8)?, 0);
    let info = BlobInfo { number, length, checksum: reader.u32()?, chunks: reader.u32()? };
    reader.end()?;
    if length.div_ceil(CHUNK_BYTES as u64) != u64::from(info.chunks) {
        return Err(format!("{} chunks cannot hold {length} bytes", info.chunks));
    }
    Ok(info)
}
