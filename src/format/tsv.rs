//! Tab-separated values without quotes: a record is a line.
//!
//! A tab, a line end and a backslash inside a field are written `\t`, `\n`, `\r` and `\\`; any other backslash
//! is read as it stands. Every field is text, or null where it equals the `null` option.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::csv::{Header, field_of};
use super::sink::Sink;
use super::source::{Lines, Source};
use super::{Kind, Position, Reader, Record, Writer, options_of};
use crate::error::Result;
use crate::options::{fields_of, meanings};
use crate::value::Value;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "tsv",
    summary: "tab-separated values without quotes",
    extensions: &["tsv", "tab"],
    meanings: meanings::<Config>,
    defaults: || fields_of(&Config::default()),
    open,
    create: Some(create),
};

/// Options of tsv.
#[derive(DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Whether the first line names the columns; without, they are c1, c2, ….
    header: bool,
    /// The text that means null.
    null: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { header: true, null: String::new() }
    }
}

fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let config: Config = options_of(options)?;
    let mut tsv = Tsv { lines: Lines::new(source), header: None, null: config.null };
    if config.header
        && let Some((line, text)) = tsv.lines.next().transpose()?
    {
        tsv.header = Some(Header::new(split(&text), &tsv.lines.name, line)?);
    }
    Ok(Box::new(tsv))
}

struct Tsv {
    lines: Lines,
    header: Option<Header>,
    null: String,
}

impl Iterator for Tsv {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let (line, text) = match self.lines.next()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let fields = split(&text);
        let header = self.header.get_or_insert_with(|| Header::numbered(fields.len()));
        Some(header.record(line, fields, &self.null, &self.lines.name))
    }
}

impl Reader for Tsv {
    fn bytes_read(&self) -> Position {
        self.lines.meter.position()
    }
}

fn split(line: &str) -> Vec<String> {
    line.split('\t').map(unescape).collect()
}

fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut rest = field.chars();
    while let Some(c) = rest.next() {
        let meant = match (c, rest.as_str().chars().next()) {
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('\\')) => '\\',
            _ => {
                out.push(c);
                continue;
            }
        };
        rest.next();
        out.push(meant);
    }
    out
}

fn escape(field: &str) -> String {
    let escaped = field.replace('\\', "\\\\");
    escaped.replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn create(sink: Sink, columns: &[String], options: &Json) -> Result<Box<dyn Writer>> {
    let config: Config = options_of(options)?;
    let mut writer = TsvWriter { sink, null: config.null };
    if config.header {
        writer.put(columns.iter().cloned())?;
    }
    Ok(Box::new(writer))
}

struct TsvWriter {
    sink: Sink,
    null: String,
}

impl TsvWriter {
    fn put(&mut self, fields: impl Iterator<Item = String>) -> Result<()> {
        let fields: Vec<String> = fields.map(|field| escape(&field)).collect();
        self.sink.put((fields.join("\t") + "\n").as_bytes())
    }
}

impl Writer for TsvWriter {
    fn write(&mut self, row: &[Value]) -> Result<()> {
        let fields: Vec<String> = row.iter().map(|value| field_of(value, &self.null)).collect();
        self.put(fields.into_iter())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.sink.finish()
    }
}
