//! A build with Parquet.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::vec::IntoIter;

use arrow_array::RecordBatchReader;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::Value as Json;

use super::Config;
use crate::arrow::{Column, batch};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::format::jsonl::json_of;
use crate::format::sink::Sink;
use crate::format::source::{Compression, Meter, Name, Source};
use crate::format::{Position, Reader, Record, Writer, options_of};
use crate::value::{Row, Rows, Value};

/// Rows that are decoded together.
const ROWS_READ: usize = 1024;
/// Rows that are written together. The first of them tell the types of the columns.
const ROWS_WRITTEN: usize = 1 << 16;

pub(super) fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let Config {} = options_of(options)?;
    let Source { name, mut stream, meter } = source;
    let failed = |error: io::Error| name.unread(0, &error);
    // The end of the file says where its columns lie, so it cannot be read as a stream.
    let file = if Compression::of(name.path()) == Compression::None {
        File::open(name.path()).map_err(failed)?
    } else {
        let mut file = tempfile::tempfile().map_err(failed)?;
        io::copy(&mut stream, &mut file).map_err(failed)?;
        file
    };
    let (batches, rows) = batches(file, &name)?;
    let (columns, next) = (Vec::new(), Vec::new().into_iter());
    Ok(Box::new(Parquet { name, meter, batches, rows, columns, next, line: 0, broken: false }))
}

type Batches = Box<dyn RecordBatchReader + Send>;

fn batches(file: File, name: &Name) -> Result<(Batches, u64)> {
    let wrong = |error: ParquetError| {
        let why = error.to_string();
        let why = why.strip_prefix("Parquet error: ").unwrap_or(&why);
        let message = format!("`{}` is no Parquet file: {why}", name.path().display());
        Error::input("bad-file", message)
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(wrong)?;
    let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
    Ok((Box::new(builder.with_batch_size(ROWS_READ).build().map_err(wrong)?), rows))
}

struct Parquet {
    name: Name,
    meter: Meter,
    batches: Batches,
    /// Rows of the file.
    rows: u64,
    columns: Vec<String>,
    next: IntoIter<Row>,
    /// Rows read so far; they stand for lines.
    line: u64,
    broken: bool,
}

impl Parquet {
    /// Decodes some more rows; tells whether there are any.
    fn more(&mut self) -> Result<bool> {
        let Some(batch) = self.batches.next() else { return Ok(false) };
        let wrong = |error: ArrowError| self.name.wrong(self.line + 1, error);
        let rows = Rows::from_arrow(&batch.map_err(wrong)?)
            .map_err(|error| error.context(self.name.path().display()))?;
        (self.columns, self.next) = (rows.columns, rows.rows.into_iter());
        Ok(true)
    }
}

impl Iterator for Parquet {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.next.next() {
                self.line += 1;
                let fields = self.columns.iter().cloned().zip(row.iter().map(json_of)).collect();
                return Some(Ok(Record { line: self.line, fields }));
            }
            if self.broken {
                return None;
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.broken = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Reader for Parquet {
    fn bytes_read(&self) -> Position {
        let total = self.meter.position().total;
        let read = u128::from(total) * u128::from(self.line) / u128::from(self.rows.max(1));
        Position { read: read as u64, total }
    }
}

pub(super) fn create(sink: Sink, columns: &[String], options: &Json) -> Result<Box<dyn Writer>> {
    let Config {} = options_of(options)?;
    let state = State::Unknown(sink);
    Ok(Box::new(ParquetWriter { rows: Rows::new(columns.iter().cloned()), written: 0, state }))
}

struct ParquetWriter {
    /// What is not written yet.
    rows: Rows,
    /// Rows that are.
    written: usize,
    state: State,
}

enum State {
    /// No row has been written: the types are not known.
    Unknown(Sink),
    Known(Box<ArrowWriter<Sink>>, Vec<Column>, SchemaRef),
    /// A write failed.
    Broken,
}

impl ParquetWriter {
    fn flush(&mut self) -> Result<()> {
        let (mut writer, kinds, schema) = match std::mem::replace(&mut self.state, State::Broken) {
            State::Known(writer, kinds, schema) => (writer, kinds, schema),
            State::Unknown(sink) => self.begin(sink)?,
            State::Broken => return Err(Error::internal("a file that failed goes on")),
        };
        if let Some((name, wanted, found)) = misfit(&self.rows, &kinds) {
            let message = format!(
                "column `{name}` holds {found} behind row {}, and {wanted} before",
                self.written
            );
            return Err(Error::input("mixed-column", message)
                .help("a column of Parquet has one type; jsonl takes any"));
        }
        let batch = batch(&self.rows, &kinds, &schema)?;
        writer.write(&batch).map_err(unwritten)?;
        self.written += self.rows.len();
        self.rows.rows.clear();
        self.state = State::Known(writer, kinds, schema);
        Ok(())
    }

    fn begin(&self, sink: Sink) -> Result<(Box<ArrowWriter<Sink>>, Vec<Column>, SchemaRef)> {
        let kinds: Vec<Column> = (0..self.rows.columns.len())
            .map(|at| {
                let values: Vec<&Value> = self.rows.rows.iter().map(|row| &row[at]).collect();
                Column::of(&values).known()
            })
            .collect();
        let none = Arc::new(Schema::empty());
        let schema = batch(&Rows::new(self.rows.columns.iter().cloned()), &kinds, &none)?.schema();
        let codec = Codec::ZSTD(ZstdLevel::try_new(3).map_err(unwritten)?);
        let properties = WriterProperties::builder().set_compression(codec).build();
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties));
        Ok((Box::new(writer.map_err(unwritten)?), kinds, schema))
    }
}

/// The first column whose values are not of its type, with both types.
fn misfit<'r>(rows: &'r Rows, kinds: &[Column]) -> Option<(&'r str, String, String)> {
    rows.columns.iter().zip(kinds).enumerate().find_map(|(at, (name, kind))| {
        let values: Vec<&Value> = rows.rows.iter().map(|row| &row[at]).collect();
        let found = Column::of(&values);
        (!kind.holds(&found)).then(|| (name.as_str(), kind.to_string(), found.to_string()))
    })
}

impl Writer for ParquetWriter {
    fn write(&mut self, row: &[Value]) -> Result<()> {
        self.rows.push(row.to_vec());
        if self.rows.len() < ROWS_WRITTEN { Ok(()) } else { self.flush() }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        match self.state {
            State::Known(writer, ..) => writer.into_inner().map_err(unwritten)?.finish(),
            _ => Err(Error::internal("a file without a beginning")),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritten(error: ParquetError) -> Error {
    match error {
        // What the sink says of the file is all that there is to say.
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => Error::new(ErrorKind::Resource, "unwritable-file", error.to_string()),
            Err(error) => Error::internal(format!("parquet: {error}")),
        },
        error => Error::internal(format!("parquet: {error}")),
    }
}
