//! Rows that Python brings: data frames, tables of Arrow, lists of dicts.

use arrow_array::RecordBatch;
use arrow_array::ffi_stream::RecordBatchStreamReader;
use arrow_pyarrow::FromPyArrow;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use sidql::{Error, Rows, Value};

use crate::error::raise;
use crate::value::{class, value_of};

/// What pandas calls the columns of an index that has no name.
const INDEX: &str = "__index_level_";

/// How many rows go in at a time: Ctrl-C is looked for in between.
const CHUNK: usize = 10_000;

/// How many dicts are read before Ctrl-C is looked for.
const LOOK: usize = 1_000;

/// Some of the rows.
pub(crate) enum Batch {
    /// Columns of Arrow, not looked at yet.
    Arrow(RecordBatch),
    /// Values.
    Rows(Rows),
}

impl Batch {
    /// The rows. Needs no Python.
    pub(crate) fn rows(self) -> sidql::Result<Rows> {
        match self {
            Batch::Arrow(batch) => Rows::from_arrow(&without_index(batch)?),
            Batch::Rows(rows) => Ok(rows),
        }
    }
}

fn without_index(batch: RecordBatch) -> sidql::Result<RecordBatch> {
    let schema = batch.schema();
    let fields = schema.fields().iter().enumerate();
    let kept = fields.filter(|(_, field)| !field.name().starts_with(INDEX));
    let kept: Vec<usize> = kept.map(|(at, _)| at).collect();
    if kept.len() == batch.num_columns() { Ok(batch) } else { Ok(batch.project(&kept)?) }
}

/// The rows of whatever Python gives.
pub(crate) fn batches(data: &Bound<'_, PyAny>) -> PyResult<Vec<Batch>> {
    let py = data.py();
    if data.hasattr(intern!(py, "__arrow_c_stream__"))? {
        let stream = RecordBatchStreamReader::from_pyarrow_bound(data)?;
        let mut batches = Vec::new();
        for batch in stream {
            let batch = batch.map_err(|error| {
                raise(&Error::input("bad-value", format!("the Arrow stream broke: {error}")), "")
            })?;
            batches.extend(chunks(&batch));
        }
        return Ok(batches);
    }
    if data.hasattr(intern!(py, "__arrow_c_array__"))? {
        return Ok(chunks(&RecordBatch::from_pyarrow_bound(data)?).collect());
    }
    if data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>() {
        return dicts(data);
    }
    let error = Error::input("bad-value", format!("no rows are made of {}", class(data)?))
        .help("give a DataFrame of pandas or polars, a table of pyarrow or a list of dicts");
    Err(raise(&error, ""))
}

fn chunks(batch: &RecordBatch) -> impl Iterator<Item = Batch> {
    let starts = (0..batch.num_rows()).step_by(CHUNK);
    starts.map(|at| Batch::Arrow(batch.slice(at, CHUNK.min(batch.num_rows() - at))))
}

/// Dicts, which need not have the same keys.
fn dicts(data: &Bound<'_, PyAny>) -> PyResult<Vec<Batch>> {
    let mut batches = Vec::new();
    let mut rows = Rows::default();
    for one in data.try_iter()? {
        if rows.len() == CHUNK {
            batches.push(whole(&mut rows));
        }
        if rows.len() % LOOK == 0 {
            data.py().check_signals()?;
        }
        let one = one?;
        let dict = one.cast::<PyDict>().map_err(|_| {
            let found = class(&one).unwrap_or_default();
            raise(&Error::input("bad-value", format!("a row is a dict, not {found}")), "")
        })?;
        let mut row = vec![Value::Null; rows.columns.len()];
        for (name, value) in dict.iter() {
            let (name, value) = (name.extract::<String>()?, value_of(&value)?);
            if let Some(at) = rows.columns.iter().position(|known| *known == name) {
                row[at] = value;
            } else {
                rows.columns.push(name);
                row.push(value);
            }
        }
        rows.rows.push(row);
    }
    batches.push(whole(&mut rows));
    Ok(batches)
}

/// The rows so far, each with a value for every column.
fn whole(rows: &mut Rows) -> Batch {
    let mut rows = std::mem::take(rows);
    let width = rows.columns.len();
    rows.rows.iter_mut().for_each(|row| row.resize(width, Value::Null));
    Batch::Rows(rows)
}
