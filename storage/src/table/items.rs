//! Items by number and by id.

use super::{Table, rows};
use super::{embeddings, evidence, failures, generations, histories, sids, spaces};
use crate::codec::{archive, key};
use crate::error::{Error, Result};
use crate::record::{Item, ItemNo};
use crate::table::counters::{self, Counter};
use crate::txn::Write;
use crate::view::{Stream, View};

/// The longest id in bytes, so that keys stay within a page.
pub const MAX_ID_BYTES: usize = 1024;

/// The item of a number.
pub fn get(view: &dyn View, item: ItemNo) -> Result<Option<Item>> {
    rows::get(view, Table::Items, &key::number(item))
}

/// The id of an item. Its fields are not read, so it is cheaper than the item.
pub fn id(view: &dyn View, item: ItemNo) -> Result<Option<String>> {
    let row_key = key::number(item);
    let value = view.get(Table::Items, &row_key)?;
    let id = |framed: &[u8]| {
        archive::look::<Item, _>(Table::Items, &row_key, framed, |item| item.id.as_str().to_owned())
    };
    value.map(|value| id(&value)).transpose()
}

/// The number of the item of an id.
pub fn number(view: &dyn View, id: &str) -> Result<Option<ItemNo>> {
    let value = view.get(Table::ItemIds, id.as_bytes())?;
    value.map(|value| counters::decode(Table::ItemIds, id.as_bytes(), &value)).transpose()
}

/// The item of an id.
pub fn by_id(view: &dyn View, id: &str) -> Result<Option<(ItemNo, Item)>> {
    let Some(item) = number(view, id)? else { return Ok(None) };
    match get(view, item)? {
        Some(record) => Ok(Some((item, record))),
        None => Err(Error::corrupt(
            Table::ItemIds.name(),
            id.as_bytes(),
            format!("it names item {item}, which does not exist"),
        )),
    }
}

/// The number of items.
pub fn count(view: &dyn View) -> Result<u64> {
    view.len(Table::Items)
}

/// One more than the highest number ever given, for arrays indexed by item.
pub fn bound(view: &dyn View) -> Result<ItemNo> {
    view.counter(Counter::Item)
}

/// Calls `look` with the id and the number of every item, in the order of ids: without their fields, and so
/// much faster than a scan.
pub fn each_id(view: &dyn View, mut look: impl FnMut(&str, ItemNo)) -> Result<()> {
    for row in rows::under(view, Table::ItemIds, &[])? {
        let (row_key, value) = row?;
        let id = std::str::from_utf8(&row_key)
            .map_err(|error| Error::corrupt(Table::ItemIds.name(), &row_key, error.to_string()))?;
        look(id, counters::decode(Table::ItemIds, &row_key, &value)?);
    }
    Ok(())
}

/// All items from a number on, in the order of their numbers.
pub fn scan(view: &dyn View, from: ItemNo) -> Result<Stream<'_, (ItemNo, Item)>> {
    let rows = rows::scan::<Item>(view, Table::Items, &key::number(from))?;
    Ok(Box::new(rows.map(|row| {
        let (key, item) = row?;
        Ok((key::read_number(Table::Items, &key)?, item))
    })))
}

/// Adds an item; its id must be new.
pub fn insert(write: &Write, item: &Item) -> Result<ItemNo> {
    check_id(&item.id)?;
    if number(write, &item.id)?.is_some() {
        return Err(taken(&item.id));
    }
    let no = write.next(Counter::Item)?;
    rows::put(write, Table::Items, &key::number(no), item)?;
    put_id(write, &item.id, no)?;
    Ok(no)
}

/// Replaces an item, whose id may change. Everything that hangs on it stays as it is.
pub fn update(write: &Write, no: ItemNo, item: &Item) -> Result<()> {
    let old = get(write, no)?.ok_or_else(|| missing(no))?;
    if old.id != item.id {
        check_id(&item.id)?;
        if number(write, &item.id)?.is_some() {
            return Err(taken(&item.id));
        }
        write.remove(Table::ItemIds, old.id.as_bytes())?;
        put_id(write, &item.id, no)?;
    }
    rows::put(write, Table::Items, &key::number(no), item)
}

/// Removes an item with everything that hangs on it; tells whether it was there.
pub fn delete(write: &Write, item: ItemNo) -> Result<bool> {
    Ok(delete_many(write, &[item])? == 1)
}

/// Removes items with their embeddings, SIDs, interactions, evidence and failures; tells how many were
/// there. The histories are searched once for all, so delete many at a time.
pub fn delete_many(write: &Write, items: &[ItemNo]) -> Result<u64> {
    let mut gone = Vec::with_capacity(items.len());
    for &item in items {
        if let Some(record) = get(write, item)? {
            write.remove(Table::ItemIds, record.id.as_bytes())?;
            write.remove(Table::Items, &key::number(item))?;
            gone.push(item);
        }
    }
    if gone.is_empty() {
        return Ok(0);
    }
    for space in spaces::all(write)? {
        embeddings::delete_many(write, &space.name, &gone)?;
    }
    for generation in generations::all(write)? {
        for &item in &gone {
            sids::remove(write, generation.number, item)?;
        }
    }
    histories::remove_items(write, &gone)?;
    evidence::remove_items(write, &gone)?;
    failures::remove_items(write, &gone)?;
    Ok(gone.len() as u64)
}

fn put_id(write: &Write, id: &str, no: ItemNo) -> Result<()> {
    write.put(Table::ItemIds, id.as_bytes(), &counters::encode(Table::ItemIds, no)?)
}

fn check_id(id: &str) -> Result<()> {
    match id.len() {
        0 => Err(Error::Invalid("an id must not be empty".to_owned())),
        1..=MAX_ID_BYTES => Ok(()),
        long => Err(Error::Invalid(format!(
            "an id has {MAX_ID_BYTES} bytes at most, this one has {long}"
        ))),
    }
}

fn taken(id: &str) -> Error {
    Error::Conflict(format!("item `{id}` exists already"))
}

fn missing(no: ItemNo) -> Error {
    Error::NotFound(format!("item number {no} does not exist"))
}
