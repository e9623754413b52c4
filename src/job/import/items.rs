//! Items of a file: types found in one pass, rows made in another.

use std::collections::HashMap;

use serde_json::Value as Json;
use sidql_storage::{FieldNo, FieldType, FieldValue, Item, ItemNo, Write, fields, items};

use super::{Faults, Imported, OnConflict, Spec, at, each_record, id_of};
use crate::cache::Cache;
use crate::count::{counted, grouped};
use crate::derive;
use crate::error::{Error, Result};
use crate::format::{self, Record};
use crate::progress::Progress;
use crate::schema;
use crate::value::Value;

/// Imports items; those that are new or replaced are encoded.
pub(super) fn import(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<Imported> {
    let columns = Columns::find(write, progress, spec)?;
    let mut changed: Vec<ItemNo> = Vec::new();
    let (mut inserted, mut replaced, mut passed) = (0u64, 0u64, 0u64);
    each_record(spec, progress, "importing items", faults, |record, faults| {
        let line = record.line;
        let item = match columns.item(record, spec) {
            Ok(item) => item,
            Err(error) => return faults.add(at(&spec.file, line, error)),
        };
        match (items::number(write, &item.id)?, spec.options.on_conflict) {
            (None, _) => {
                changed.push(items::insert(write, &item)?);
                inserted += 1;
            }
            (Some(number), OnConflict::Replace) => {
                items::update(write, number, &item)?;
                changed.push(number);
                replaced += 1;
            }
            (Some(_), OnConflict::Skip) => passed += 1,
            (Some(_), OnConflict::Error) => {
                let error =
                    Error::input("duplicate-id", format!("item `{}` exists already", item.id))
                        .help("WITH (on_conflict = 'replace') or 'skip' lets the import go on");
                faults.add(at(&spec.file, line, error))?;
            }
        }
        Ok(())
    })?;
    progress.stage("encoding items", changed.len() as u64);
    let mut remedies: Vec<String> = Vec::new();
    for batch in changed.chunks(derive::BATCH) {
        progress.check()?;
        for remedy in derive::refresh(write, cache, batch)? {
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        progress.advance(batch.len() as u64);
    }
    let mut message = counted(inserted as usize, "item");
    if replaced > 0 {
        message += &format!(", {} replaced", grouped(replaced));
    }
    if passed > 0 {
        message += &format!(", {} known ones passed over", grouped(passed));
    }
    if !remedies.is_empty() {
        message += &format!("; not encoded everywhere before {};", remedies.join("; "));
    }
    Ok((message, inserted + replaced))
}

/// The fields of a file: their numbers and types in the schema.
struct Columns {
    textual: bool,
    by_name: HashMap<String, (FieldNo, FieldType)>,
}

impl Columns {
    /// Reads the file once for the types of its fields, and adds those that are new to the schema.
    fn find(write: &Write, progress: &Progress, spec: &Spec) -> Result<Columns> {
        let textual = is_textual(spec)?;
        let mut order: Vec<String> = Vec::new();
        let mut found: HashMap<String, FieldType> = HashMap::new();
        // Bad records are reported by the pass that imports.
        let mut tolerant = Faults { skip: true, most: u64::MAX, ..Faults::new(spec) };
        each_record(spec, progress, "finding types", &mut tolerant, |record, _| {
            for (name, json) in record.fields {
                if name == spec.options.id {
                    continue;
                }
                let value = value_of(&json, textual);
                let Ok(Some(kind)) = schema::type_of(&value) else { continue };
                let known = found.entry(name).or_insert_with_key(|name| {
                    order.push(name.clone());
                    kind
                });
                *known = schema::widen(*known, kind);
            }
            Ok(())
        })?;
        let mut by_name = HashMap::new();
        for (number, field) in fields::all(write)?.into_iter().enumerate() {
            by_name.insert(field.name, (number as FieldNo, field.kind));
        }
        for name in order {
            if let Some(kind) = found.get(&name)
                && !by_name.contains_key(&name)
            {
                let number = fields::add(write, &name, *kind)?;
                by_name.insert(name, (number, *kind));
            }
        }
        Ok(Columns { textual, by_name })
    }

    fn item(&self, record: Record, spec: &Spec) -> Result<Item> {
        let mut id = None;
        let mut fields: Vec<(FieldNo, FieldValue)> = Vec::new();
        let found = record.fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let found = found.join(", ");
        for (name, json) in record.fields {
            if name == spec.options.id {
                id = Some(id_of(&json)?);
                continue;
            }
            let Some((number, kind)) = self.by_name.get(&name) else { continue };
            let value = match (&json, kind) {
                (Json::String(text), FieldType::Text) => Value::Text(text.clone()),
                _ => value_of(&json, self.textual),
            };
            let value = schema::coerce(&value, *kind)
                .map_err(|error| error.context(format!("field `{name}`")))?;
            fields.extend(value.map(|value| (*number, value)));
        }
        fields.sort_by_key(|(number, _)| *number);
        fields.dedup_by_key(|(number, _)| *number);
        let id = id.ok_or_else(|| {
            Error::input("missing-id", format!("the record has no field `{}`", spec.options.id))
                .help(format!("it has: {found}; WITH (id = '…') names the one that holds the id"))
        })?;
        Ok(Item { id, fields })
    }
}

fn value_of(json: &Json, textual: bool) -> Value {
    match json {
        Json::String(text) if textual => guess(text),
        _ => schema::value_of_json(json),
    }
}

/// Whether the values of a format are bare text, whose types are guessed.
fn is_textual(spec: &Spec) -> Result<bool> {
    let kind = format::format_of(&spec.file, spec.options.format.as_deref())?;
    Ok(matches!(kind.name, "csv" | "tsv"))
}

/// The value that a bare text stands for where its column has no type yet.
fn guess(text: &str) -> Value {
    let trimmed = text.trim();
    // A leading zero or plus means a code, not a number.
    let digits = trimmed.strip_prefix('-').unwrap_or(trimmed);
    let coded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if !coded && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        if let Ok(int) = trimmed.parse() {
            return Value::Int(int);
        }
        if let Ok(float) = trimmed.parse::<f64>() {
            return Value::Float(float);
        }
    }
    match trimmed {
        "true" | "TRUE" | "True" => Value::Bool(true),
        "false" | "FALSE" | "False" => Value::Bool(false),
        _ if trimmed.starts_with('[') => match serde_json::from_str::<Json>(trimmed) {
            Ok(list @ Json::Array(_)) => schema::value_of_json(&list),
            _ => Value::Text(text.to_owned()),
        },
        _ => Value::Text(text.to_owned()),
    }
}
