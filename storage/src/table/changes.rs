//! When vectors changed: the last revision of each space, and of each of its blocks of vectors.
//!
//! A revision is given to one change of one transaction and to no other, so equal revisions of a block mean equal
//! vectors. What was built from a space at a revision of it is right but for the blocks with a later one; those
//! are read instead. A block without a row has not changed since rows are kept, which counts as revision 0.

use std::ops::Bound;

use super::{Table, counters};
use crate::codec::key;
use crate::error::{Error, Result};
use crate::record::{Space, SpaceNo};
use crate::txn::Write;
use crate::view::{Stream, View};

fn head_key(space: SpaceNo) -> [u8; 4] {
    u32::from(space).to_be_bytes()
}

/// The revision of the vectors of a space.
pub fn revision(view: &dyn View, space: &Space) -> Result<u64> {
    let row_key = head_key(space.number);
    let value = view.get(Table::Changes, &row_key)?;
    value.map_or(Ok(0), |value| counters::decode(Table::Changes, &row_key, &value))
}

/// The blocks of a space that changed, each with its revision, ascending. Block *b* has the items from
/// `b * space.slots` on; it may have lost them all.
pub fn blocks<'v>(view: &'v dyn View, space: &Space) -> Result<Stream<'v, (u64, u64)>> {
    let start = key::pair(u32::from(space.number), 0);
    let after = key::after(&start[..4]);
    let upper = key::upper(after.as_ref());
    let rows = view.scan(Table::Changes, Bound::Included(&start), upper)?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, block) = key::read_pair(Table::Changes, &row_key)?;
        Ok((block, counters::decode(Table::Changes, &row_key, &value)?))
    })))
}

/// Notes that blocks of a space changed, all at one revision.
pub(crate) fn note(write: &Write, space: SpaceNo, blocks: &[u64]) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    let value = counters::encode(Table::Changes, write.next_revision())?;
    write.put(Table::Changes, &head_key(space), &value)?;
    let rows = blocks.iter().map(|block| Ok((key::pair(u32::from(space), *block), value.clone())));
    write.put_all(Table::Changes, rows)
}

/// Forgets a space.
pub(crate) fn clear(write: &Write, space: SpaceNo) -> Result<()> {
    write.remove_prefix(Table::Changes, &head_key(space))
}

/// The space, the block unless the row is that of the whole space, and the revision of a stored row.
pub(crate) fn decode(row_key: &[u8], framed: &[u8]) -> Result<(u32, Option<u64>, u64)> {
    let revision = counters::decode(Table::Changes, row_key, framed)?;
    if let Ok(space) = <[u8; 4]>::try_from(row_key) {
        return Ok((u32::from_be_bytes(space), None, revision));
    }
    let (space, block) = key::read_pair(Table::Changes, row_key)
        .map_err(|_| Error::corrupt(Table::Changes.name(), row_key, "not a key of a space"))?;
    Ok((space, Some(block), revision))
}
