//! Stamps of the vectors by space and item: when, from what and by whom each was made. A vector that came
//! from outside has none.

use std::ops::Bound;

use super::{Table, rows};
use crate::codec::{archive, key};
use crate::error::Result;
use crate::record::{ItemNo, Space, SpaceNo, Stamp};
use crate::txn::Write;
use crate::view::{Stream, View};

fn row_key(space: SpaceNo, item: ItemNo) -> [u8; 12] {
    key::pair(u32::from(space), item)
}

/// The stamp of the vector of an item.
pub fn get(view: &dyn View, space: &Space, item: ItemNo) -> Result<Option<Stamp>> {
    rows::get(view, Table::Stamps, &row_key(space.number, item))
}

/// All stamps of a space from an item on, in the order of the items.
pub fn scan<'v>(
    view: &'v dyn View,
    space: &Space,
    from: ItemNo,
) -> Result<Stream<'v, (ItemNo, Stamp)>> {
    let start = row_key(space.number, from);
    let after = key::after(&start[..4]);
    let rows = view.scan(Table::Stamps, Bound::Included(&start), key::upper(after.as_ref()))?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = key::read_pair(Table::Stamps, &row_key)?;
        Ok((item, archive::decode(Table::Stamps, &row_key, &value)?))
    })))
}

/// Stamps many vectors, which are stored in the same transaction. A stamp goes with its vector.
pub fn put_many(
    write: &Write,
    space: &Space,
    rows: impl IntoIterator<Item = (ItemNo, Stamp)>,
) -> Result<()> {
    let rows = rows.into_iter().map(|(item, stamp)| {
        Ok((row_key(space.number, item), archive::encode(Table::Stamps, &stamp)?))
    });
    write.put_all(Table::Stamps, rows)
}

/// Removes the stamps of items, because their vectors go.
pub(crate) fn remove_items(write: &Write, space: SpaceNo, items: &[ItemNo]) -> Result<()> {
    let keys = items.iter().map(|item| row_key(space, *item));
    write.remove_all(Table::Stamps, keys).map(|_| ())
}

/// Removes all stamps of a space.
pub(crate) fn clear(write: &Write, space: SpaceNo) -> Result<()> {
    write.remove_prefix(Table::Stamps, &u32::from(space).to_be_bytes())
}
