//! Semantic IDs as MiniOneRec, LC-Rec and LETTER keep them: one JSON object, of an item's id to the tokens of its SID,
//! `{"0": ["<a_146>", "<b_3>", "<c_214>"], …}`.
//!
//! The object is read member by member, so that a file of any size takes the room of one record.

use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::jsonl::json_of;
use super::sink::Sink;
use super::source::{Meter, Name, Source};
use super::{Kind, MAX_LINE_BYTES, Position, Reader, Record, Writer, options_of};
use crate::error::{Error, Result};
use crate::options::fields_of;
use crate::value::Value;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "index_json",
    summary: "one JSON object of item ids to sids, {\"0\": [\"<a_146>\", \"<b_3>\"]}",
    extensions: &["json"],
    meanings: Vec::new,
    defaults: || fields_of(&Config::default()),
    open,
    create: Some(create),
};

/// There are no options.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let Config {} = options_of(options)?;
    let Source { name, stream, meter } = source;
    Ok(Box::new(Members { name, stream, meter, line: 1, state: State::Start }))
}

/// Where in the object the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Inside,
    Done,
}

/// The members of the object.
struct Members {
    name: Name,
    stream: Box<dyn BufRead + Send>,
    meter: Meter,
    line: u64,
    state: State,
}

impl Members {
    /// The next byte, which stays; nothing at the end.
    fn peek(&mut self) -> Result<Option<u8>> {
        match self.stream.fill_buf() {
            Ok(bytes) => Ok(bytes.first().copied()),
            Err(error) => Err(self.name.unread(self.line, &error)),
        }
    }

    fn take(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.stream.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// The next byte that is not blank, which stays.
    fn meaning(&mut self) -> Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            // A byte order mark may stand before the object.
            let mark = self.state == State::Start && matches!(byte, 0xef | 0xbb | 0xbf);
            if !(byte.is_ascii_whitespace() || mark) {
                return Ok(Some(byte));
            }
            self.take()?;
        }
        Ok(None)
    }

    fn wrong(&self, message: impl std::fmt::Display) -> Error {
        self.name.wrong(self.line, message)
    }

    fn expect(&mut self, mark: u8) -> Result<()> {
        match self.meaning()? {
            Some(byte) if byte == mark => self.take().map(|_| ()),
            Some(byte) => {
                let (mark, found) = (char::from(mark), shown(byte));
                Err(self.wrong(format!("expected `{mark}`, found `{found}`")))
            }
            None => Err(self.wrong(format!("expected `{}`, found the end", char::from(mark)))),
        }
    }

    /// The bytes of one value: up to where its brackets and quotes are closed.
    fn value(&mut self) -> Result<Json> {
        let mut bytes = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        self.meaning()?;
        while let Some(byte) = self.peek()? {
            let ends = depth == 0 && !quoted && matches!(byte, b',' | b'}' | b']' | b':');
            if ends {
                break;
            }
            self.take()?;
            bytes.push(byte);
            if bytes.len() > MAX_LINE_BYTES {
                return Err(self.wrong(format!("a value is longer than {MAX_LINE_BYTES} bytes")));
            }
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'[' | b'{' if !quoted => depth += 1,
                b']' | b'}' if !quoted => depth -= 1,
                _ => {}
            }
            if depth == 0 && !quoted && matches!(byte, b'"' | b']' | b'}') {
                break;
            }
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = error.to_string();
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
            self.wrong(message)
        })
    }

    fn member(&mut self) -> Result<Option<Record>> {
        if self.state == State::Start {
            self.expect(b'{')?;
            self.state = State::Inside;
            if self.meaning()? == Some(b'}') {
                return self.end();
            }
        } else {
            match self.meaning()? {
                Some(b'}') => return self.end(),
                _ => self.expect(b',')?,
            }
        }
        self.meaning()?;
        let line = self.line;
        let id = self.value()?;
        if !id.is_string() {
            return Err(self.wrong(format!("expected an id in quotes, found {id}")));
        }
        self.expect(b':')?;
        let codes = self.value()?;
        let fields = vec![("id".to_owned(), id), ("codes".to_owned(), codes)];
        Ok(Some(Record { line, fields }))
    }

    fn end(&mut self) -> Result<Option<Record>> {
        self.take()?;
        if let Some(byte) = self.meaning()? {
            let found = shown(byte);
            return Err(self.wrong(format!("`{found}` behind the end of the object")));
        }
        Ok(None)
    }
}

impl Iterator for Members {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let found = self.member().transpose();
        // Behind a fault nothing can be found again.
        if !matches!(found, Some(Ok(_))) {
            self.state = State::Done;
        }
        found
    }
}

impl Reader for Members {
    fn bytes_read(&self) -> Position {
        self.meter.position()
    }
}

/// Whether bytes at the beginning of a file look like this format: an object whose first value is a list.
pub(super) fn looks_so(bytes: &[u8]) -> bool {
    let mut rest = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
    if rest.next() != Some(b'{') || rest.next() != Some(b'"') {
        return false;
    }
    let mut escaped = false;
    for byte in rest.by_ref() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => break,
            _ => {}
        }
    }
    rest.next() == Some(b':') && rest.next() == Some(b'[')
}

/// The first bytes of a file.
pub(super) fn beginning(source: &mut Source) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source.stream.by_ref().take(4096).read_to_end(&mut bytes);
    read.map_err(|error| source.name.unread(0, &error))?;
    Ok(bytes)
}

fn create(sink: Sink, columns: &[String], options: &Json) -> Result<Box<dyn Writer>> {
    let Config {} = options_of(options)?;
    if columns.len() != 2 {
        let message = format!("index_json has an id and a sid for each row, not {}", columns.len());
        return Err(Error::input("bad-format", message)
            .help("COPY (SELECT id, sid FROM items) TO …, or COPY codes TO …"));
    }
    Ok(Box::new(IndexWriter { sink, first: true }))
}

struct IndexWriter {
    sink: Sink,
    first: bool,
}

impl Writer for IndexWriter {
    fn write(&mut self, row: &[Value]) -> Result<()> {
        let [id, sid] = row else { return Err(Error::internal("a row of two was expected")) };
        let tokens = match sid {
            Value::Null => return Ok(()),
            Value::Sid(sid) => {
                let token = |(level, code): (usize, &u16)| {
                    json!(format!("<{}_{code}>", sidql_storage::level_name(level)))
                };
                Json::Array(sid.codes().iter().enumerate().map(token).collect())
            }
            other => json_of(other),
        };
        let begin = if self.first { "{" } else { "," };
        self.first = false;
        self.sink.put(format!("{begin}\n{}: {tokens}", json!(id.to_string())).as_bytes())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.sink.put(if self.first { b"{}\n" } else { b"\n}\n" })?;
        self.sink.finish()
    }
}

/// A byte as a message shows it.
fn shown(byte: u8) -> String {
    let shown = char::from(byte);
    // Between backticks a quote needs no escape.
    if matches!(byte, b'"' | b'\'') { shown.to_string() } else { shown.escape_debug().to_string() }
}
