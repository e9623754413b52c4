//! Stamps of vectors by space and item: by whom, from what and when each was made.

use super::{Table, rows};
use crate::codec::{archive, key};
use crate::error::Result;
use crate::record::{ItemNo, Space, Stamp};
use crate::txn::Write;
use crate::view::{Stream, View};

fn row_key(space: &Space, item: ItemNo) -> [u8; 12] {
    key::pair(u32::from(space.number), item)
}

/// The stamp of an item's vector.
pub fn get(view: &dyn View, space: &Space, item: ItemNo) -> Result<Option<Stamp>> {
    rows::get(view, Table::Stamps, &row_key(space, item))
}

/// The stamps of a space by item.
pub fn scan<'v>(view: &'v dyn View, space: &Space) -> Result<Stream<'v, (ItemNo, Stamp)>> {
    let rows = rows::under(view, Table::Stamps, &row_key(space, 0)[..4])?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = key::read_pair(Table::Stamps, &row_key)?;
        Ok((item, archive::decode(Table::Stamps, &row_key, &value)?))
    })))
}

/// Stores the stamps of vectors.
pub fn put_many(
    write: &Write,
    space: &Space,
    rows: impl IntoIterator<Item = (ItemNo, Stamp)>,
) -> Result<()> {
    let framed = |(item, stamp): (ItemNo, Stamp)| {
        Ok((row_key(space, item), archive::encode(Table::Stamps, &stamp)?))
    };
    write.put_all(Table::Stamps, rows.into_iter().map(framed))
}

/// Removes the stamp of an item's vector.
pub(crate) fn remove(write: &Write, space: &Space, item: ItemNo) -> Result<bool> {
    write.remove(Table::Stamps, &row_key(space, item))
}

/// Removes the stamps of a space.
pub(crate) fn clear(write: &Write, space: &Space) -> Result<()> {
    write.remove_prefix(Table::Stamps, &row_key(space, 0)[..4])
}
