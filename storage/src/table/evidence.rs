//! Evidence by kind and item: captions, descriptors and quality labels.

use std::ops::Bound;

use super::{Table, rows};
use crate::codec::{archive, key};
use crate::error::{Error, Result};
use crate::record::{Evidence, EvidenceKind, ItemNo};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::{Stream, View};

/// The counter that tells how much there is of a kind.
pub(crate) fn tally(kind: EvidenceKind) -> Counter {
    match kind {
        EvidenceKind::Caption => Counter::Captions,
        EvidenceKind::Intent => Counter::Intents,
        EvidenceKind::Quality => Counter::Qualities,
    }
}

fn row_key(kind: EvidenceKind, item: ItemNo) -> [u8; 9] {
    key::tagged(kind as u8, item)
}

/// The evidence of a kind about an item.
pub fn get(view: &dyn View, kind: EvidenceKind, item: ItemNo) -> Result<Option<Evidence>> {
    rows::get(view, Table::Evidence, &row_key(kind, item))
}

/// All evidence of a kind from an item on, in the order of the items.
pub fn scan(
    view: &dyn View,
    kind: EvidenceKind,
    from: ItemNo,
) -> Result<Stream<'_, (ItemNo, Evidence)>> {
    let after = key::after(&[kind as u8]);
    let start = row_key(kind, from);
    let rows = view.scan(Table::Evidence, Bound::Included(&start), key::upper(after.as_ref()))?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = key::read_tagged(Table::Evidence, &row_key)?;
        Ok((item, archive::decode(Table::Evidence, &row_key, &value)?))
    })))
}

/// The number of items that have evidence of a kind.
pub fn count(view: &dyn View, kind: EvidenceKind) -> Result<u64> {
    view.counter(tally(kind))
}

/// Stores evidence about an item, in place of what there was of its kind.
pub fn put(write: &Write, item: ItemNo, evidence: &Evidence) -> Result<()> {
    if let Some(fault) = evidence.body.fault() {
        return Err(Error::Invalid(format!("item number {item}: {fault}")));
    }
    let kind = evidence.body.kind();
    let row_key = row_key(kind, item);
    if !write.replace(Table::Evidence, &row_key, &archive::encode(Table::Evidence, evidence)?)? {
        write.tally(tally(kind), 1)?;
    }
    Ok(())
}

/// Removes the evidence of a kind about an item; tells whether there was any.
pub fn remove(write: &Write, kind: EvidenceKind, item: ItemNo) -> Result<bool> {
    Ok(remove_of(write, kind, &[item])? == 1)
}

/// Removes all evidence about items.
pub(crate) fn remove_items(write: &Write, items: &[ItemNo]) -> Result<()> {
    for kind in EvidenceKind::ALL {
        remove_of(write, kind, items)?;
    }
    Ok(())
}

fn remove_of(write: &Write, kind: EvidenceKind, items: &[ItemNo]) -> Result<u64> {
    let keys = items.iter().map(|item| row_key(kind, *item));
    let removed = write.remove_all(Table::Evidence, keys)?;
    write.tally(tally(kind), -(removed as i64))?;
    Ok(removed)
}
