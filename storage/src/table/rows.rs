//! What the modules of the tables share: rows that are one record each.

use std::ops::Bound;

use super::Table;
use crate::codec::{archive, key};
use crate::error::Result;
use crate::txn::Write;
use crate::view::{Bytes, Rows, Stream, View};

/// The record under a key.
pub(crate) fn get<T: archive::Stored>(
    view: &dyn View,
    table: Table,
    key: &[u8],
) -> Result<Option<T>> {
    view.get(table, key)?.map(|value| archive::decode(table, key, &value)).transpose()
}

/// Stores a record under a key.
pub(crate) fn put<T: archive::Stored>(
    write: &Write,
    table: Table,
    key: &[u8],
    record: &T,
) -> Result<()> {
    write.put(table, key, &archive::encode(table, record)?)
}

/// The rows whose keys begin with a prefix.
pub(crate) fn under<'v>(view: &'v dyn View, table: Table, prefix: &[u8]) -> Result<Rows<'v>> {
    let after = key::after(prefix);
    view.scan(table, Bound::Included(prefix), key::upper(after.as_ref()))
}

/// All records of a table from a key on, with their keys.
pub(crate) fn scan<'v, T: archive::Stored + 'v>(
    view: &'v dyn View,
    table: Table,
    from: &[u8],
) -> Result<Stream<'v, (Bytes, T)>> {
    let rows = view.scan(table, Bound::Included(from), Bound::Unbounded)?;
    Ok(Box::new(rows.map(move |row| {
        let (key, value) = row?;
        let record = archive::decode(table, &key, &value)?;
        Ok((key, record))
    })))
}

/// All records of a table in key order.
pub(crate) fn all<T: archive::Stored>(view: &dyn View, table: Table) -> Result<Vec<T>> {
    scan(view, table, &[])?.map(|row| Ok(row?.1)).collect()
}
