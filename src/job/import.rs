//! COPY … FROM: a file into the catalogue, in one transaction.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sidql_storage::{
    FieldNo, FieldType, FieldValue, Interaction, Item, ItemNo, UserNo, Write, fields, histories,
    items, users,
};

use super::{Answer, Context, Kind, grouped};
use crate::cache::Cache;
use crate::derive;
use crate::error::{Error, Result};
use crate::format::sequences::Sequences;
use crate::format::{self, Position, Record};
use crate::progress::Progress;
use crate::schema;
use crate::value::Value;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "import",
    summary: "COPY … FROM: reads a file into the catalogue, in one transaction",
    run,
};

/// Interactions that are kept in memory before they are written.
const PENDING_MAX: usize = 1 << 20;
/// Faults that the report lists; the rest are counted.
const FAULTS_SHOWN: usize = 20;
/// Records between two looks at progress and cancellation.
const CHECK_EVERY: u64 = 256;

/// What to import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Into which relation.
    pub(crate) into: Into,
    /// From which file.
    pub(crate) file: PathBuf,
    /// How to read it.
    pub(crate) options: Options,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Into {
    /// The catalogue.
    Items,
    /// The histories of users.
    Interactions,
}

/// Options of COPY … FROM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The format; by itself told by the extension.
    pub(crate) format: Option<String>,
    /// How interactions lie in the file.
    pub(crate) layout: Layout,
    /// The field that holds the id of an item.
    pub(crate) id: String,
    /// The fields of an interaction.
    pub(crate) user: String,
    /// See `user`.
    pub(crate) item: String,
    /// See `user`; the order of the file where it is absent.
    pub(crate) time: String,
    /// See `user`.
    pub(crate) kind: String,
    /// See `user`.
    pub(crate) weight: String,
    /// What a bad record does.
    pub(crate) on_error: OnError,
    /// With `on_error = 'skip'`, the number of bad records that stop the import all the same.
    pub(crate) max_errors: u64,
    /// What an item does whose id is known.
    pub(crate) on_conflict: OnConflict,
    /// For csv and tsv: whether the first record names the columns.
    pub(crate) header: Option<bool>,
    /// For csv: what stands between fields.
    pub(crate) delimiter: Option<String>,
    /// For csv and tsv: the text that means null.
    pub(crate) null: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            format: None,
            layout: Layout::Rows,
            id: "id".to_owned(),
            user: "user".to_owned(),
            item: "item".to_owned(),
            time: "time".to_owned(),
            kind: "kind".to_owned(),
            weight: "weight".to_owned(),
            on_error: OnError::Stop,
            max_errors: 1000,
            on_conflict: OnConflict::Error,
            header: None,
            delimiter: None,
            null: None,
        }
    }
}

/// How interactions lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// One interaction a record: user, item, time.
    Rows,
    /// One user a line: the user, a tab, item ids oldest first.
    Sequences,
}

/// What a bad record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnError {
    /// Ends the import, which leaves nothing behind.
    Stop,
    /// Is left out and reported.
    Skip,
}

/// What an item does whose id is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnConflict {
    /// Counts as a bad record.
    Error,
    /// Replaces the metadata of the known one.
    Replace,
    /// Is passed over.
    Skip,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    let write = context.write()?;
    let answer = import(&write, context.cache, context.progress, &spec)?;
    context.progress.check()?;
    write.commit()?;
    Ok(answer)
}

/// Imports within a transaction, which the caller commits.
pub(crate) fn import(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    spec: &Spec,
) -> Result<Answer> {
    let mut faults = Faults::new(&spec.options);
    let message = match (spec.into, spec.options.layout) {
        (Into::Items, _) => import_items(write, cache, progress, spec, &mut faults)?,
        (Into::Interactions, Layout::Rows) => import_rows(write, progress, spec, &mut faults)?,
        (Into::Interactions, Layout::Sequences) => {
            import_sequences(write, progress, spec, &mut faults)?
        }
    };
    Ok(faults.report(message))
}

/// The bad records so far.
struct Faults {
    skip: bool,
    most: u64,
    count: u64,
    shown: Vec<(Option<u64>, String)>,
}

impl Faults {
    fn new(options: &Options) -> Self {
        let skip = options.on_error == OnError::Skip;
        Faults { skip, most: options.max_errors, count: 0, shown: Vec::new() }
    }

    /// Takes note of a bad record, or ends the import.
    fn add(&mut self, line: Option<u64>, error: Error) -> Result<()> {
        if !self.skip || error.kind() != crate::error::Kind::Input {
            return Err(error);
        }
        self.count += 1;
        if self.count > self.most {
            let message =
                format!("more than {} bad records; the last: {}", self.most, error.message());
            return Err(Error::input("too-many-errors", message)
                .help("nothing was imported; mend the file or raise max_errors"));
        }
        if self.shown.len() < FAULTS_SHOWN {
            self.shown.push((line, error.message().to_owned()));
        }
        Ok(())
    }

    fn report(self, message: String) -> Answer {
        if self.count == 0 {
            return Answer::say(message);
        }
        Answer {
            message: format!("{message}, {} bad records left out", grouped(self.count)),
            columns: vec!["line".to_owned(), "error".to_owned()],
            rows: self
                .shown
                .into_iter()
                .map(|(line, error)| vec![json!(line), json!(error)])
                .collect(),
        }
    }
}

/// An error at a place of the file.
fn at(file: &Path, line: u64, error: Error) -> Error {
    error.context(format!("{}, line {line}", file.display()))
}

fn report(progress: &Progress, count: u64, position: impl FnOnce() -> Position) -> Result<()> {
    if count.is_multiple_of(CHECK_EVERY) {
        let position = position();
        let done = progress.snapshot().done;
        progress.advance(position.read.saturating_sub(done));
        progress.check()?;
    }
    Ok(())
}

/// Reads every record of a file, with progress.
fn each_record(
    spec: &Spec,
    progress: &Progress,
    stage: &str,
    faults: &mut Faults,
    mut take: impl FnMut(Record, &mut Faults) -> Result<()>,
) -> Result<()> {
    let options = &spec.options;
    let mut of_format = Map::new();
    for (name, value) in [
        ("header", options.header.map(Json::from)),
        ("delimiter", options.delimiter.clone().map(Json::from)),
        ("null", options.null.clone().map(Json::from)),
    ] {
        of_format.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut reader =
        format::open_reader(&spec.file, options.format.as_deref(), &Json::Object(of_format))?;
    progress.stage(stage, reader.bytes_read().total);
    let mut count = 0;
    while let Some(record) = reader.next() {
        count += 1;
        report(progress, count, || reader.bytes_read())?;
        match record {
            Ok(record) => take(record, faults)?,
            Err(error) => faults.add(None, error)?,
        }
    }
    Ok(())
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

fn import_items(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<String> {
    let columns = Columns::find(write, progress, spec)?;
    let mut changed: Vec<ItemNo> = Vec::new();
    let (mut inserted, mut replaced, mut passed) = (0u64, 0u64, 0u64);
    each_record(spec, progress, "importing items", faults, |record, faults| {
        let line = record.line;
        let item = match columns.item(record, spec) {
            Ok(item) => item,
            Err(error) => return faults.add(Some(line), at(&spec.file, line, error)),
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
                faults.add(Some(line), at(&spec.file, line, error))?;
            }
        }
        Ok(())
    })?;
    progress.stage("encoding items", changed.len() as u64);
    for batch in changed.chunks(derive::BATCH) {
        progress.check()?;
        derive::refresh(write, cache, batch)?;
        progress.advance(batch.len() as u64);
    }
    let mut message = format!("{} items", grouped(inserted));
    if replaced > 0 {
        message += &format!(", {} replaced", grouped(replaced));
    }
    if passed > 0 {
        message += &format!(", {} known ones passed over", grouped(passed));
    }
    Ok(message)
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
        let mut tolerant = Faults { skip: true, most: u64::MAX, count: 0, shown: Vec::new() };
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
                .help("WITH (id = '…') names the field that holds the id")
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

fn id_of(json: &Json) -> Result<String> {
    match json {
        Json::String(text) if !text.is_empty() => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        other => Err(Error::input("bad-id", format!("an id is a text or a number, not {other}"))),
    }
}

/// Interactions that wait to be written, by user.
struct Pending<'a> {
    write: &'a Write,
    known: HashMap<String, ItemNo>,
    users: HashMap<UserNo, Vec<Interaction>>,
    waiting: usize,
    interactions: u64,
    people: std::collections::HashSet<UserNo>,
}

impl<'a> Pending<'a> {
    fn new(write: &'a Write) -> Result<Self> {
        let mut known = HashMap::new();
        for row in items::scan(write, 0)? {
            let (number, item) = row?;
            known.insert(item.id, number);
        }
        Ok(Pending {
            write,
            known,
            users: HashMap::new(),
            waiting: 0,
            interactions: 0,
            people: std::collections::HashSet::new(),
        })
    }

    fn item(&self, id: &str) -> Result<ItemNo> {
        self.known.get(id).copied().ok_or_else(|| {
            Error::input("unknown-item", format!("there is no item `{id}`"))
                .help("COPY the items first, or leave such rows out: WITH (on_error = 'skip')")
        })
    }

    fn add(&mut self, user: &str, interactions: Vec<Interaction>) -> Result<()> {
        if interactions.is_empty() {
            return Ok(());
        }
        let number = users::get_or_insert(self.write, user)?;
        self.people.insert(number);
        self.waiting += interactions.len();
        self.interactions += interactions.len() as u64;
        self.users.entry(number).or_default().extend(interactions);
        if self.waiting >= PENDING_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let mut waiting: Vec<_> = self.users.drain().collect();
        waiting.sort_by_key(|(user, _)| *user);
        for (user, interactions) in waiting {
            histories::append(self.write, user, &interactions)?;
        }
        self.waiting = 0;
        Ok(())
    }

    fn finish(mut self, progress: &Progress) -> Result<String> {
        progress.stage("writing histories", 0);
        self.flush()?;
        let (count, people) = (grouped(self.interactions), grouped(self.people.len() as u64));
        Ok(format!("{count} interactions of {people} users"))
    }
}

fn import_sequences(
    write: &Write,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<String> {
    let mut pending = Pending::new(write)?;
    let mut reader = Sequences::open(&spec.file)?;
    progress.stage("importing interactions", reader.bytes_read().total);
    let mut count = 0;
    while let Some(sequence) = reader.next() {
        count += 1;
        report(progress, count, || reader.bytes_read())?;
        let sequence = match sequence {
            Ok(sequence) => sequence,
            Err(error) => {
                faults.add(None, error)?;
                continue;
            }
        };
        // Only the order is known: the place in the history stands for the time.
        let known = users::number(write, &sequence.user)?;
        let first = known.map_or(Ok(0), |user| next_time(write, user))?;
        let mut history = Vec::with_capacity(sequence.items.len());
        for id in &sequence.items {
            match pending.item(id) {
                Ok(item) => history.push(Interaction::new(item, first + history.len() as i64)),
                Err(error) => {
                    faults.add(Some(sequence.line), at(&spec.file, sequence.line, error))?;
                }
            }
        }
        pending.add(&sequence.user, history)?;
    }
    pending.finish(progress)
}

/// The time after a user's last interaction.
pub(crate) fn next_time(write: &Write, user: UserNo) -> Result<i64> {
    let last = histories::of(write, user)?.last().map(|one| one.time);
    Ok(last.map_or(0, |time| time.saturating_add(1)))
}

fn import_rows(
    write: &Write,
    progress: &Progress,
    spec: &Spec,
    faults: &mut Faults,
) -> Result<String> {
    let mut pending = Pending::new(write)?;
    let mut order = 0;
    each_record(spec, progress, "importing interactions", faults, |record, faults| {
        let line = record.line;
        match interaction(&pending, spec, &record, order) {
            Ok((user, interaction)) => {
                order += 1;
                pending.add(&user, vec![interaction])
            }
            Err(error) => faults.add(Some(line), at(&spec.file, line, error)),
        }
    })?;
    pending.finish(progress)
}

fn interaction(
    pending: &Pending<'_>,
    spec: &Spec,
    record: &Record,
    order: i64,
) -> Result<(String, Interaction)> {
    let options = &spec.options;
    let field =
        |name: &str| record.fields.iter().find(|(known, _)| known == name).map(|(_, json)| json);
    let needed = |name: &str| {
        field(name).ok_or_else(|| {
            let found: Vec<&str> = record.fields.iter().map(|(known, _)| known.as_str()).collect();
            Error::input("missing-field", format!("the record has no field `{name}`")).help(
                format!(
                    "it has: {}; WITH (user = '…', item = '…', time = '…') names them",
                    found.join(", ")
                ),
            )
        })
    };
    let number = |name: &str| -> Result<Option<f64>> {
        let Some(json) = field(name).filter(|json| !json.is_null()) else { return Ok(None) };
        let text = json.as_str().map(str::trim);
        let number = json.as_f64().or_else(|| text.and_then(|text| text.parse().ok()));
        number.map(Some).ok_or_else(|| {
            Error::input(
                "type-mismatch",
                format!("field `{name}`: expected a number, found {json}"),
            )
        })
    };
    let user = id_of(needed(&options.user)?)
        .map_err(|e| e.context(format!("field `{}`", options.user)))?;
    let item = id_of(needed(&options.item)?)
        .map_err(|e| e.context(format!("field `{}`", options.item)))?;
    let time = number(&options.time)?.map_or(order, |time| time as i64);
    let kind = field(&options.kind).and_then(Json::as_str).map(str::to_owned);
    let weight = number(&options.weight)?.unwrap_or(1.0) as f32;
    let item = pending.item(&item).map_err(|e| e.context(format!("field `{}`", options.item)))?;
    Ok((user, Interaction { item, time, kind, weight }))
}
