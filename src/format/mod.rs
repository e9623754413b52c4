//! File formats of COPY. One file for each, one line for each in `FORMATS`.
//!
//! A format sees a stream of bytes; opening, decompression, progress and atomic writing are in `source.rs`
//! and `sink.rs`. Nothing here holds more than one record at a time, but for Parquet, which holds a group.

mod csv;
mod index_json;
mod jsonl;
mod npy;
mod parquet;
pub(crate) mod sequences;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod tsv;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::kind::find;
use crate::options::Meanings;
use crate::value::Value;

use sink::Sink;
use source::Source;

/// Every format that this build knows.
pub(crate) const FORMATS: &[&Kind] =
    &[&jsonl::KIND, &csv::KIND, &tsv::KIND, &parquet::KIND, &index_json::KIND, &npy::KIND];

/// The longest line or record of an imported file.
pub(crate) const MAX_LINE_BYTES: usize = 16 << 20;

/// One file format: a constant record.
pub(crate) struct Kind {
    /// The name given as `format = '…'`.
    pub(crate) name: &'static str,
    /// One sentence: what it is.
    pub(crate) summary: &'static str,
    /// The file extensions that mean it, without the dot.
    extensions: &'static [&'static str],
    /// Its options with their defaults.
    pub(crate) defaults: fn() -> Result<Map<String, Json>>,
    /// What each option means.
    meanings: fn() -> Meanings,
    /// Reads records from a stream.
    open: fn(Source, &Json) -> Result<Box<dyn Reader>>,
    /// Writes rows of these columns to a stream; none for a format that is only read.
    create: Option<Create>,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn defaults(&self) -> Result<Map<String, Json>> {
        (self.defaults)()
    }

    fn meanings(&self) -> Meanings {
        (self.meanings)()
    }
}

/// Begins a file of a format from its sink, columns and options.
type Create = fn(Sink, &[String], &Json) -> Result<Box<dyn Writer>>;

/// One record of an imported file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Where it begins, counted from 1.
    pub(crate) line: u64,
    /// Its fields by name, in the order of the file. Fields of csv and tsv are text or null.
    pub(crate) fields: Vec<(String, Json)>,
}

/// Bytes of the file as it lies on disk, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Bytes read so far.
    pub(crate) read: u64,
    /// Bytes of the file.
    pub(crate) total: u64,
}

/// The records of one file, in order. After a bad record, the next ones can still be read, unless the stream
/// itself is broken.
pub(crate) trait Reader: Iterator<Item = Result<Record>> + Send {
    /// How far the file is read.
    fn bytes_read(&self) -> Position;
}

/// Writes rows to a file that appears under its name only at `finish`; dropped before, it leaves nothing.
pub(crate) trait Writer: Send {
    /// Appends a row, with a value for each column.
    fn write(&mut self, row: &[Value]) -> Result<()>;

    /// Completes the file and moves it to its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The options of a format that a COPY gave, as `open_reader` and `create_writer` take them; a format refuses those
/// that it does not have.
pub(crate) fn given(header: Option<bool>, delimiter: Option<&str>, null: Option<&str>) -> Json {
    let mut options = Map::new();
    options.extend(header.map(|header| ("header".to_owned(), Json::from(header))));
    options.extend(delimiter.map(|delimiter| ("delimiter".to_owned(), Json::from(delimiter))));
    options.extend(null.map(|null| ("null".to_owned(), Json::from(null))));
    Json::Object(options)
}

/// Opens a file for import. The format is the given one, or is told by the extension (before `.gz` or `.zst`);
/// `options` is an object of options of the format, where missing ones take their defaults.
pub(crate) fn open_reader(
    path: &Path,
    format: Option<&str>,
    options: &Json,
) -> Result<Box<dyn Reader>> {
    let kind = format_of(path, format)?;
    (kind.open)(Source::open(path)?, options)
}

/// Begins an export, see `open_reader` for the format and its options.
pub(crate) fn create_writer(
    path: &Path,
    format: Option<&str>,
    columns: &[String],
    options: &Json,
) -> Result<Box<dyn Writer>> {
    let kind = format_of(path, format)?;
    let Some(create) = kind.create else {
        let message = format!("{} files are read, not written", kind.name);
        let names: Vec<_> = writable().map(|kind| kind.name).collect();
        return Err(Error::input("read-only-format", message)
            .help(format!("written are {}", names.join(", "))));
    };
    create(Sink::create(path)?, columns, options)
}

/// The formats that are written.
fn writable() -> impl Iterator<Item = &'static Kind> {
    FORMATS.iter().copied().filter(|kind| kind.create.is_some())
}

/// The format given by name, or else told by the extension of the file.
pub(crate) fn format_of(path: &Path, format: Option<&str>) -> Result<&'static Kind> {
    if let Some(name) = format {
        return find(FORMATS, "format", name);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let bare = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let extension = bare.rsplit_once('.').map_or("", |(_, extension)| extension);
    FORMATS.iter().copied().find(|kind| kind.extensions.contains(&extension)).ok_or_else(|| {
        let names: Vec<_> = FORMATS.iter().map(|kind| kind.name).collect();
        let message = format!("cannot tell the format of `{}` from its name", path.display());
        Error::input("unknown-format", message)
            .help(format!("say WITH (format = '…'): {}", names.join(", ")))
    })
}

/// The format of a file: the given one, or told by the extension, or else by how the file begins.
pub(crate) fn format_within(path: &Path, format: Option<&str>) -> Result<&'static Kind> {
    let unknown = match format_of(path, format) {
        Ok(kind) => return Ok(kind),
        Err(error) if format.is_some() => return Err(error),
        Err(error) => error,
    };
    let bytes = index_json::beginning(&mut Source::open(path)?)?;
    let text = String::from_utf8_lossy(&bytes);
    let first = text.lines().next().unwrap_or_default();
    if index_json::looks_so(&bytes) {
        Ok(&index_json::KIND)
    } else if first.trim_start().starts_with('{') {
        Ok(&jsonl::KIND)
    } else if first.contains('\t') {
        Ok(&tsv::KIND)
    } else if first.contains(',') {
        Ok(&csv::KIND)
    } else {
        Err(unknown)
    }
}

/// The options of a format over its defaults.
fn options_of<T: DeserializeOwned>(options: &Json) -> Result<T> {
    let options = if options.is_null() { Json::Object(Map::new()) } else { options.clone() };
    serde_json::from_value(options)
        .map_err(|error| Error::input("bad-option", format!("options of the format: {error}")))
}
