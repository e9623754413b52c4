//! JSON Lines: an object on each line.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value as Json};

use super::sink::Sink;
use super::source::{Lines, Source};
use super::{Kind, Position, Reader, Record, Writer, options_of};
use crate::error::Result;
use crate::options::fields_of;
use crate::value::Value;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "jsonl",
    summary: "JSON Lines: an object on each line",
    extensions: &["jsonl", "ndjson"],
    meanings: Vec::new,
    defaults: || fields_of(&Config::default()),
    open,
    create: Some(create),
};

/// JSON Lines has no options.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let Config {} = options_of(options)?;
    Ok(Box::new(Jsonl { lines: Lines::new(source) }))
}

struct Jsonl {
    lines: Lines,
}

impl Iterator for Jsonl {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, text) = match self.lines.next()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            if text.trim().is_empty() {
                continue;
            }
            return Some(match serde_json::from_str(&text) {
                Ok(Json::Object(fields)) => {
                    Ok(Record { line, fields: fields.into_iter().collect() })
                }
                Ok(_) => {
                    Err(self.lines.name.wrong(line, "expected an object, {\"field\": value, …}"))
                }
                Err(error) => Err(self.lines.name.wrong(line, describe(&error))),
            });
        }
    }
}

/// The message of a JSON error with its column; its line is always the first.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("column {}: {}", error.column(), message.replace("EOF", "the line ends"))
}

impl Reader for Jsonl {
    fn bytes_read(&self) -> Position {
        self.lines.meter.position()
    }
}

fn create(sink: Sink, columns: &[String], options: &Json) -> Result<Box<dyn Writer>> {
    let Config {} = options_of(options)?;
    Ok(Box::new(JsonlWriter { sink, columns: columns.to_vec() }))
}

struct JsonlWriter {
    sink: Sink,
    columns: Vec<String>,
}

impl Writer for JsonlWriter {
    fn write(&mut self, row: &[Value]) -> Result<()> {
        let fields: Map<String, Json> =
            self.columns.iter().cloned().zip(row.iter().map(json_of)).collect();
        let mut line = serde_json::to_vec(&fields)?;
        line.push(b'\n');
        self.sink.put(&line)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.sink.finish()
    }
}

/// A value as JSON: SIDs as text, vectors and lists as arrays, bytes as an array of numbers. Numbers that JSON
/// does not have are null.
pub(super) fn json_of(value: &Value) -> Json {
    let float = |x: f64| Number::from_f64(x).map_or(Json::Null, Json::Number);
    match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Int(int) => Json::from(*int),
        Value::Float(x) => float(*x),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(values) => Json::Array(values.iter().map(json_of).collect()),
        Value::Sid(sid) => Json::String(sid.to_string()),
        // Through the shortest decimal form, so that 0.1 is written 0.1.
        Value::Vector(vector) => Json::Array(vector.iter().map(|x| shortest(*x)).collect()),
        Value::Bytes(bytes) => Json::Array(bytes.iter().map(|byte| Json::from(*byte)).collect()),
    }
}

/// A 32-bit float by the shortest decimal that reads back as the same.
fn shortest(x: f32) -> Json {
    let wide = x.to_string().parse().ok().and_then(Number::from_f64);
    wide.map_or(Json::Null, Json::Number)
}
