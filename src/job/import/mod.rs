//! COPY … FROM: a file into the catalogue, in one transaction.

pub(crate) mod codes;
pub(crate) mod embeddings;
mod interactions;
mod items;
mod tokens;

use std::path::{Path, PathBuf};

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::Write;

pub(crate) use codes::FOREIGN;
pub(crate) use interactions::next_time;

use super::{Answer, Context, Kind};
use crate::cache::Cache;
use crate::count::{counted, grouped};
use crate::error::{Error, Result};
use crate::format::{self, Position, Record};
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "import",
    summary: "COPY … FROM: reads a file into the catalogue, in one transaction",
    run,
};

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
    /// What becomes of SIDs.
    #[serde(default)]
    pub(crate) codes: Option<codes::Options>,
    /// Where vectors go and what they belong to.
    #[serde(default)]
    pub(crate) embeddings: Option<embeddings::Options>,
}

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Into {
    /// The catalogue.
    Items,
    /// The histories of users.
    Interactions,
    /// A generation of a codebook.
    Codes,
    /// An embedding space.
    Embeddings,
}

/// Options of COPY … FROM.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The format; by itself told by the extension.
    pub(crate) format: Option<String>,
    /// How interactions lie in the file.
    pub(crate) layout: Layout,
    /// The field that holds the id of an item.
    pub(crate) id: String,
    /// The field of an interaction that holds who it was.
    pub(crate) user: String,
    /// The field that holds the id of what was chosen.
    pub(crate) item: String,
    /// The field that holds when it was; the order of the file where it is absent.
    pub(crate) time: String,
    /// The field that holds what was done, for example a click.
    pub(crate) kind: String,
    /// The field that holds how much it counts.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnError {
    /// Ends the import, which leaves nothing behind.
    #[default]
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
    context.publish(write, answer)
}

/// Imports within a transaction, which the caller commits.
pub(crate) fn import(
    write: &Write,
    cache: &Cache,
    progress: &Progress,
    spec: &Spec,
) -> Result<Answer> {
    let mut faults = Faults::new(spec);
    let (message, rows) = match (spec.into, spec.options.layout) {
        (Into::Items, _) => items::import(write, cache, progress, spec, &mut faults)?,
        (Into::Embeddings, _) => embeddings::import(write, cache, progress, spec, &mut faults)?,
        (Into::Codes, _) => codes::import(write, progress, spec, &mut faults)?,
        (Into::Interactions, Layout::Rows) => {
            interactions::import_rows(write, progress, spec, &mut faults)?
        }
        (Into::Interactions, Layout::Sequences) => {
            interactions::import_sequences(write, progress, spec, &mut faults)?
        }
    };
    Ok(Answer { changed: Some(rows), ..faults.report(message) })
}

/// What an import says, and how many rows it wrote.
type Imported = (String, u64);

/// The bad records so far.
struct Faults {
    skip: bool,
    most: u64,
    count: u64,
    shown: Vec<String>,
    /// What a message about a record begins with, before the number of its line.
    place: String,
}

impl Faults {
    fn new(spec: &Spec) -> Self {
        let (skip, most) = (spec.options.on_error == OnError::Skip, spec.options.max_errors);
        let place = format!("{}, line ", spec.file.display());
        Faults { skip, most, count: 0, shown: Vec::new(), place }
    }

    /// Takes note of a bad record, or ends the import.
    fn add(&mut self, error: Error) -> Result<()> {
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
            self.shown.push(error.message().to_owned());
        }
        Ok(())
    }

    fn report(self, message: String) -> Answer {
        if self.count == 0 {
            return Answer::say(message);
        }
        let message = format!("{message}, {} left out", counted(self.count as usize, "bad record"));
        let mut rows = vec![vec![Json::Null, json!(message)]];
        for fault in &self.shown {
            let place = fault.strip_prefix(&self.place).and_then(|rest| rest.split_once(": "));
            let (line, what) = match place {
                Some((line, what)) => (line.parse::<u64>().ok(), what),
                None => (None, fault.as_str()),
            };
            rows.push(vec![json!(line), json!(what)]);
        }
        let unshown = self.count - self.shown.len() as u64;
        if unshown > 0 {
            rows.push(vec![Json::Null, json!(format!("and {} more", grouped(unshown)))]);
        }
        let columns = vec!["line".to_owned(), "report".to_owned()];
        Answer { message, columns, rows, changed: None }
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
    let of_format =
        format::given(options.header, options.delimiter.as_deref(), options.null.as_deref());
    let mut reader = format::open_reader(&spec.file, options.format.as_deref(), &of_format)?;
    progress.stage(stage, reader.bytes_read().total);
    let mut count = 0;
    while let Some(record) = reader.next() {
        count += 1;
        report(progress, count, || reader.bytes_read())?;
        match record {
            Ok(record) => take(record, faults)?,
            Err(error) => faults.add(error)?,
        }
    }
    Ok(())
}

/// The id of an item or a user.
fn id_of(json: &Json) -> Result<String> {
    match json {
        Json::String(text) if !text.is_empty() => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        other => Err(Error::input("bad-id", format!("an id is a text or a number, not {other}"))),
    }
}
