//! Comma-separated values with quotes, as RFC 4180 has them; any other delimiter by an option.
//!
//! Every field is text, or null where it equals the `null` option: by default an empty field is null.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::csv::{ByteRecord, QuoteStyle, ReaderBuilder, WriterBuilder};
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::jsonl::json_of;
use super::sink::Sink;
use super::source::{Meter, Name, Source};
use super::{Kind, MAX_LINE_BYTES, Position, Reader, Record, Writer, options_of};
use crate::error::{Error, Result};
use crate::options::{fields_of, meanings};
use crate::value::Value;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "csv",
    summary: "comma-separated values with quotes",
    extensions: &["csv"],
    meanings: meanings::<Config>,
    defaults: || fields_of(&Config::default()),
    open,
    create: Some(create),
};

/// Options of csv.
#[derive(DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Whether the first record names the columns; without, they are c1, c2, ….
    header: bool,
    /// What stands between fields: one ASCII character.
    delimiter: String,
    /// The text that means null.
    null: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { header: true, delimiter: ",".to_owned(), null: String::new() }
    }
}

impl Config {
    fn delimiter(&self) -> Result<u8> {
        match self.delimiter.as_bytes() {
            [byte] if byte.is_ascii() && !b"\"\r\n\0".contains(byte) => Ok(*byte),
            _ => {
                let message = format!(
                    "option `delimiter` must be one ASCII character, not {:?}",
                    self.delimiter
                );
                Err(Error::input("bad-option", message))
            }
        }
    }
}

/// The names of columns: unique and not empty.
pub(super) struct Header(Vec<String>);

impl Header {
    /// Checks the names that a file gives.
    pub(super) fn new(names: Vec<String>, name: &Name, line: u64) -> Result<Self> {
        for (at, column) in names.iter().enumerate() {
            if column.is_empty() {
                return Err(
                    name.wrong(line, format!("the header has no name for column {}", at + 1))
                );
            }
            if names[..at].contains(column) {
                return Err(name.wrong(line, format!("the header names `{column}` twice")));
            }
        }
        Ok(Header(names))
    }

    /// c1, c2, ….
    pub(super) fn numbered(columns: usize) -> Self {
        Header((1..=columns).map(|column| format!("c{column}")).collect())
    }

    /// Joins names and fields.
    pub(super) fn record(
        &self,
        line: u64,
        fields: Vec<String>,
        null: &str,
        name: &Name,
    ) -> Result<Record> {
        if fields.len() != self.0.len() {
            let (found, known) = (fields.len(), self.0.len());
            let message = match self.0.get(found) {
                Some(missing) => format!("{found} fields of {known}, `{missing}` is missing"),
                None => format!("{found} fields, more than the {known} columns"),
            };
            return Err(name.wrong(line, message));
        }
        let value = |field: String| if field == null { Json::Null } else { Json::String(field) };
        let fields = self.0.iter().cloned().zip(fields.into_iter().map(value)).collect();
        Ok(Record { line, fields })
    }
}

fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let config: Config = options_of(options)?;
    let Source { name, mut stream, meter } = source;
    skip_mark(&mut stream).map_err(|error| name.unread(0, &error))?;
    let budget = Arc::new(AtomicUsize::new(0));
    let bounded = Bounded { inner: stream, budget: budget.clone() };
    let reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(config.delimiter()?)
        .from_reader(BufReader::new(bounded));
    let mut csv = Csv { name, meter, reader, budget, header: None, config, broken: false };
    if csv.config.header
        && let Some((line, names)) = csv.fields().transpose()?
    {
        csv.header = Some(Header::new(names, &csv.name, line)?);
    }
    Ok(Box::new(csv))
}

/// Passes over a byte order mark.
fn skip_mark(stream: &mut impl BufRead) -> io::Result<()> {
    if stream.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        stream.consume(3);
    }
    Ok(())
}

/// Stops the parser from taking in a file whole when a quote is never closed.
struct Bounded<R> {
    inner: R,
    /// Bytes since the last record.
    budget: Arc<AtomicUsize>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.budget.load(Ordering::Relaxed) > MAX_LINE_BYTES {
            let message = format!(
                "a record is longer than {MAX_LINE_BYTES} bytes, or a quote is never closed"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let count = self.inner.read(buffer)?;
        self.budget.fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }
}

struct Csv<R> {
    name: Name,
    meter: Meter,
    reader: ::csv::Reader<R>,
    budget: Arc<AtomicUsize>,
    header: Option<Header>,
    config: Config,
    broken: bool,
}

impl<R: Read> Csv<R> {
    /// The next record as text, with its line.
    fn fields(&mut self) -> Option<Result<(u64, Vec<String>)>> {
        if self.broken {
            return None;
        }
        self.budget.store(0, Ordering::Relaxed);
        let mut record = ByteRecord::new();
        let before = self.reader.position().line();
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => {
                self.broken = true;
                let error = io::Error::other(error.to_string());
                return Some(Err(self.name.unread(before.saturating_sub(1), &error)));
            }
        }
        let line = record.position().map_or(before, ::csv::Position::line);
        let text = |(at, field): (usize, &[u8])| {
            String::from_utf8(field.to_vec()).map_err(|_| {
                self.name.wrong(line, format!("field {} is not valid UTF-8", self.column(at)))
            })
        };
        Some(
            record.iter().enumerate().map(text).collect::<Result<_>>().map(|fields| (line, fields)),
        )
    }

    /// A column as errors name it.
    fn column(&self, at: usize) -> String {
        match self.header.as_ref().and_then(|header| header.0.get(at)) {
            Some(name) => format!("`{name}`"),
            None => (at + 1).to_string(),
        }
    }
}

impl<R: Read> Iterator for Csv<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, fields) = match self.fields()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let header = self.header.get_or_insert_with(|| Header::numbered(fields.len()));
        Some(header.record(line, fields, &self.config.null, &self.name))
    }
}

impl<R: Read + Send> Reader for Csv<R> {
    fn bytes_read(&self) -> Position {
        self.meter.position()
    }
}

fn create(sink: Sink, columns: &[String], options: &Json) -> Result<Box<dyn Writer>> {
    let config: Config = options_of(options)?;
    let mut writer = CsvWriter { sink, delimiter: config.delimiter()?, null: config.null };
    if config.header {
        writer.put(columns)?;
    }
    Ok(Box::new(writer))
}

struct CsvWriter {
    sink: Sink,
    delimiter: u8,
    null: String,
}

impl CsvWriter {
    fn put(&mut self, fields: &[String]) -> Result<()> {
        let mut writer = WriterBuilder::new()
            .delimiter(self.delimiter)
            .quote_style(QuoteStyle::Necessary)
            .from_writer(Vec::new());
        let full = |error: String| Error::internal(format!("a record in memory failed: {error}"));
        writer.write_record(fields).map_err(|error| full(error.to_string()))?;
        self.sink.put(&writer.into_inner().map_err(|error| full(error.to_string()))?)
    }
}

impl Writer for CsvWriter {
    fn write(&mut self, row: &[Value]) -> Result<()> {
        let fields: Vec<String> = row.iter().map(|value| field_of(value, &self.null)).collect();
        self.put(&fields)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.sink.finish()
    }
}

/// A value as the text of a field: lists and vectors as JSON.
pub(super) fn field_of(value: &Value, null: &str) -> String {
    match value {
        Value::Null => null.to_owned(),
        Value::Text(text) => text.clone(),
        Value::Bool(_) | Value::Int(_) | Value::Sid(_) => value.to_string(),
        Value::Float(x) => x.to_string(),
        Value::List(_) | Value::Vector(_) | Value::Bytes(_) => json_of(value).to_string(),
    }
}
