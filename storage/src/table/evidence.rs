//! Evidence by kind and item.

use super::{Table, rows};
use crate::codec::archive;
use crate::error::{Error, Result};
use crate::record::{Evidence, EvidenceKind, ItemNo};
use crate::txn::Write;
use crate::view::{Stream, View};

/// The key of a row: the kind in one byte, then the item.
fn row_key(kind: EvidenceKind, item: ItemNo) -> [u8; 9] {
    let mut key = [kind as u8; 9];
    key[1..].copy_from_slice(&item.to_be_bytes());
    key
}

/// Reads a key of this table.
pub(crate) fn read_key(row_key: &[u8]) -> Result<(EvidenceKind, ItemNo)> {
    let bad = || Error::corrupt(Table::Evidence.name(), row_key, "not a key of evidence");
    split_key(row_key).ok_or_else(bad)
}

/// As `read_key`, for those who make the texts of errors.
pub(crate) fn split_key(row_key: &[u8]) -> Option<(EvidenceKind, ItemNo)> {
    let (kind, item) = row_key.split_first()?;
    Some((EvidenceKind::numbered(*kind)?, u64::from_be_bytes(item.try_into().ok()?)))
}

/// The evidence of a kind about an item.
pub fn get(view: &dyn View, kind: EvidenceKind, item: ItemNo) -> Result<Option<Evidence>> {
    rows::get(view, Table::Evidence, &row_key(kind, item))
}

/// Whether there is evidence of a kind about any item.
pub fn any(view: &dyn View, kind: EvidenceKind) -> Result<bool> {
    rows::under(view, Table::Evidence, &[kind as u8])?.next().transpose().map(|row| row.is_some())
}

/// The evidence of a kind by item.
pub fn scan(view: &dyn View, kind: EvidenceKind) -> Result<Stream<'_, (ItemNo, Evidence)>> {
    let rows = rows::under(view, Table::Evidence, &[kind as u8])?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = read_key(&row_key)?;
        Ok((item, archive::decode(Table::Evidence, &row_key, &value)?))
    })))
}

/// Stores evidence about an item in the place of what there was of its kind.
pub fn put(write: &Write, item: ItemNo, evidence: &Evidence) -> Result<()> {
    if let Some(fault) = evidence.body.fault() {
        return Err(Error::Invalid(format!("evidence with {fault}")));
    }
    rows::put(write, Table::Evidence, &row_key(evidence.body.kind(), item), evidence)
}

/// Removes the evidence of a kind about an item; tells whether it was there.
pub fn remove(write: &Write, kind: EvidenceKind, item: ItemNo) -> Result<bool> {
    write.remove(Table::Evidence, &row_key(kind, item))
}

/// Removes all evidence about an item.
pub(crate) fn remove_item(write: &Write, item: ItemNo) -> Result<()> {
    for kind in EvidenceKind::ALL {
        remove(write, *kind, item)?;
    }
    Ok(())
}
