//! INSERT, UPDATE, DELETE. What follows from an item is made in the same transaction (`derive.rs`).

use std::collections::HashMap;

use sidql_storage::{
    FieldValue, Interaction, Item, ItemNo, UserNo, Write, fields, histories, items, sids, users,
};

use super::{Context, Outcome, select};
use crate::cache::Cache;
use crate::count::{counted, grouped};
use crate::derive;
use crate::error::{Error, Result};
use crate::plan::relation::Relation;
use crate::plan::write::{Delete, Insert, NewInteraction, NewItem, Update};
use crate::progress::Progress;
use crate::value::Row;

/// Rows between two looks at whether the statement was interrupted.
const CHECK_EVERY: usize = 256;

/// Runs an INSERT.
pub(crate) fn insert(context: &mut Context<'_>, insert: Insert) -> Result<Outcome> {
    let cache = std::sync::Arc::clone(&context.engine.cache);
    let progress = context.progress.clone();
    match insert {
        Insert::Items { new_fields, rows } => context.change(|write| {
            for field in &new_fields {
                fields::add(write, &field.name, field.kind)?;
            }
            insert_items(write, &cache, &progress, rows)
        }),
        Insert::Interactions(rows) => {
            context.change(|write| insert_interactions(write, &progress, &rows))
        }
    }
}

fn insert_items(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    rows: Vec<NewItem>,
) -> Result<Outcome> {
    let mut numbers = Vec::with_capacity(rows.len());
    for row in rows {
        if numbers.len() % CHECK_EVERY == 0 {
            progress.check()?;
        }
        if items::number(write, &row.id)?.is_some() {
            let message = format!("item `{}` exists already", row.id);
            return Err(Error::input("duplicate-id", message)
                .help(format!("UPDATE items SET … WHERE id = '{}'", row.id)));
        }
        numbers.push(items::insert(write, &Item { id: row.id, fields: row.fields })?);
    }
    let mut remedies: Vec<String> = Vec::new();
    for batch in numbers.chunks(derive::BATCH) {
        progress.check()?;
        remedies.extend(derive::refresh(write, cache, batch)?);
    }
    remedies.sort();
    remedies.dedup();
    let mut message = match numbers.as_slice() {
        [one] => match sid_of(write, *one)? {
            Some(sid) => format!("1 item, sid {sid}"),
            None => "1 item".to_owned(),
        },
        many => format!("{} items", grouped(many.len() as u64)),
    };
    if !remedies.is_empty() {
        message += &format!("; not encoded everywhere before {};", remedies.join("; "));
    }
    message += &far_out(write, cache, &numbers)?;
    Ok(Outcome::changed(numbers.len(), message))
}

/// Tells of items that a published codebook was not made for.
fn far_out(write: &Write, cache: &Cache, numbers: &[ItemNo]) -> Result<String> {
    let all = derive::drift::outside(write, cache, numbers)?.into_iter();
    let told = all.map(|(codebook, far)| {
        let lie = if far == 1 { "lies" } else { "lie" };
        format!("; {} {lie} far outside codebook `{codebook}`", counted(far, "item"))
    });
    Ok(told.collect())
}

/// The SID of an item where exactly one codebook is published.
fn sid_of(write: &Write, item: ItemNo) -> Result<Option<sidql_storage::Sid>> {
    let all = sidql_storage::codebooks::all(write)?;
    let published: Vec<u32> = all.iter().filter_map(|one| one.published).collect();
    match published.as_slice() {
        [one] => Ok(sids::get(write, *one, item)?),
        _ => Ok(None),
    }
}

fn insert_interactions(
    write: &Write,
    progress: &Progress,
    rows: &[NewInteraction],
) -> Result<Outcome> {
    let mut by_user: HashMap<UserNo, Vec<Interaction>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        if at % CHECK_EVERY == 0 {
            progress.check()?;
        }
        let item = items::number(write, &row.item)?.ok_or_else(|| {
            Error::input("unknown-item", format!("there is no item `{}`", row.item))
                .help("INSERT INTO items {id: '…', …}; first")
        })?;
        let user = users::get_or_insert(write, &row.user)?;
        let pending = by_user.entry(user).or_default();
        let time = match (row.time, pending.last()) {
            (Some(time), _) => time,
            (None, Some(last)) => last.time.saturating_add(1),
            (None, None) => crate::job::import::next_time(write, user)?,
        };
        pending.push(Interaction { item, time, kind: row.kind.clone(), weight: row.weight });
    }
    for (user, interactions) in by_user {
        histories::append(write, user, &interactions)?;
    }
    Ok(Outcome::changed(rows.len(), counted(rows.len(), "interaction")))
}

/// Runs an UPDATE.
pub(crate) fn update(context: &mut Context<'_>, update: &Update) -> Result<Outcome> {
    let numbers = select::numbers(context.reading()?, &update.select)?;
    let cache = std::sync::Arc::clone(&context.engine.cache);
    context.change(|write| {
        let mut retold = Vec::new();
        for number in &numbers {
            let Some(mut item) = items::get(write, *number)? else { continue };
            let before = item.clone();
            for (field, value) in &update.set {
                item.fields.retain(|(known, _)| known != field);
                item.fields.extend(value.clone().map(|value| (*field, value)));
            }
            item.fields.sort_by_key(|(field, _)| *field);
            items::update(write, *number, &item)?;
            // A price changes often and says nothing about what the item is; text and photos do.
            if tells(&before) != tells(&item) {
                retold.push(*number);
            }
        }
        let remedies = derive::refresh(write, &cache, &retold)?;
        let mut message = counted(numbers.len(), "item");
        if !remedies.is_empty() {
            message += &format!("; not encoded everywhere before {};", remedies.join("; "));
        }
        message += &far_out(write, &cache, &retold)?;
        Ok(Outcome::changed(numbers.len(), message))
    })
}

/// The fields that say what an item is: texts, and the bytes of photos.
fn tells(item: &Item) -> Vec<&(sidql_storage::FieldNo, FieldValue)> {
    let told = |value: &FieldValue| {
        matches!(value, FieldValue::Text(_) | FieldValue::List(_) | FieldValue::Bytes(_))
    };
    item.fields.iter().filter(|(_, value)| told(value)).collect()
}

/// Runs a DELETE. Interactions with deleted items go with them.
pub(crate) fn delete(context: &mut Context<'_>, delete: &Delete) -> Result<Outcome> {
    if delete.select.relation == Relation::Interactions {
        return delete_interactions(context, delete);
    }
    let numbers = select::numbers(context.reading()?, &delete.select)?;
    context.change(|write| {
        let before = histories::count(write)?;
        items::delete_many(write, &numbers)?;
        let gone = before.saturating_sub(histories::count(write)?) as usize;
        let mut message = counted(numbers.len(), "item");
        if gone > 0 {
            message += &format!(" and {}", counted(gone, "interaction"));
        }
        Ok(Outcome::changed(numbers.len(), message))
    })
}

fn delete_interactions(context: &mut Context<'_>, delete: &Delete) -> Result<Outcome> {
    let view_rows = super::relation::whole(context.reading()?, Relation::Interactions)?;
    let wanted: Vec<usize> = delete
        .select
        .sources
        .iter()
        .filter_map(|source| match source {
            crate::plan::scope::Source::Column(at) => Some(*at),
            _ => None,
        })
        .collect();
    let goes = |row: &Row| {
        let sources: Row = wanted.iter().map(|at| row[*at].clone()).collect();
        super::filter::holds(delete.select.filter.as_ref(), &sources)
    };
    // Rows come in the order of users and of their histories, as the histories themselves do.
    let fates: Vec<bool> = view_rows.iter().map(goes).collect();
    drop(view_rows);
    context.change(|write| {
        let mut fates = fates.into_iter();
        let mut removed = 0;
        let all: Vec<(UserNo, Vec<Interaction>)> =
            histories::scan(write, 0)?.map(|row| Ok(row?)).collect::<Result<_>>()?;
        for (user, mut history) in all {
            let before = history.len();
            history.retain(|_| !fates.next().unwrap_or(false));
            if history.len() < before {
                removed += before - history.len();
                histories::replace(write, user, &history)?;
            }
        }
        Ok(Outcome::changed(removed, counted(removed, "interaction")))
    })
}
