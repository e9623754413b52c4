//! A cursor: one statement after the other, and what the last one answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList, PyTuple};
use sidql::{Outcome, Row, Rows, Value};

use crate::connection::{Shared, all_params};
use crate::error::{closed, raise};
use crate::html;
use crate::job::Job;
use crate::outgoing;
use crate::value::{params, to_python};

/// Runs statements and holds what the last one answered.
///
/// `fetchone` and its kind, and iteration, go through the rows once; `df`, `pl`, `arrow` and `fetchnumpy` give all
/// of them, however often.
#[pyclass(module = "sidql", frozen)]
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Option<Arc<Rows>>,
    message: Option<String>,
    /// Rows that the statement changed.
    changed: Option<u64>,
    job: Option<u64>,
    /// The first row that has not been fetched.
    next: usize,
    arraysize: usize,
    closed: bool,
}

impl Cursor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let state = State { arraysize: 1, ..State::default() };
        Cursor { shared, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a statement answered.
    pub(crate) fn keep(&self, outcome: Outcome) {
        let mut state = self.state();
        *state = State { arraysize: state.arraysize, ..State::default() };
        match outcome {
            Outcome::Rows(rows) => state.rows = Some(Arc::new(rows)),
            Outcome::Started { job } => state.job = Some(job),
            Outcome::Done { message, changed } => {
                (state.message, state.changed) = (Some(message), changed);
            }
            _ => {}
        }
    }

    fn check_open(&self) -> PyResult<()> {
        if self.state().closed { Err(raise(&closed("cursor"), "")) } else { Ok(()) }
    }

    /// Runs one statement.
    pub(crate) fn run(
        &self,
        py: Python<'_>,
        sql: &str,
        given: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.check_open()?;
        let outcome = self.shared.execute(py, sql, params(given)?)?;
        self.keep(outcome);
        Ok(())
    }

    /// Runs one statement for each set of parameters.
    pub(crate) fn run_many(
        &self,
        py: Python<'_>,
        sql: &str,
        given: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.check_open()?;
        let changed = self.shared.execute_many(py, sql, all_params(given)?)?;
        let mut state = self.state();
        *state = State { changed, arraysize: state.arraysize, ..State::default() };
        Ok(())
    }

    /// The rows of the last statement.
    fn rows(&self) -> PyResult<Arc<Rows>> {
        self.check_open()?;
        self.state().rows.clone().ok_or_else(|| {
            let error = sidql::Error::input("no-rows", "the last statement gives no rows")
                .help("`message` tells what it did");
            raise(&error, "")
        })
    }

    /// Takes up to so many rows that have not been fetched.
    fn take<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let rows = self.rows()?;
        let (from, to) = {
            let mut state = self.state();
            let from = state.next.min(rows.len());
            state.next = from.saturating_add(most).min(rows.len());
            (from, state.next)
        };
        rows.rows[from..to].iter().map(|row| tuple(py, row)).collect()
    }
}

fn tuple<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyTuple>> {
    let values = row.iter().map(|value| to_python(py, value)).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, values)
}

#[pymethods]
impl Cursor {
    /// Runs one statement; `?` and `$name` in it stand for parameters.
    #[pyo3(signature = (sql, parameters = None))]
    fn execute<'py>(
        slf: Bound<'py, Self>,
        sql: &str,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        slf.get().run(slf.py(), sql, parameters)?;
        Ok(slf)
    }

    /// Runs one statement for each set of parameters; all of them or none.
    fn executemany<'py>(
        slf: Bound<'py, Self>,
        sql: &str,
        parameters: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        slf.get().run_many(slf.py(), sql, parameters)?;
        Ok(slf)
    }

    /// The next row, or None.
    fn fetchone<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Ok(self.take(py, 1)?.pop())
    }

    /// The next rows, `arraysize` of them where no number is given.
    #[pyo3(signature = (size = None))]
    fn fetchmany<'py>(
        &self,
        py: Python<'py>,
        size: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let size = size.unwrap_or(self.state().arraysize);
        self.take(py, size)
    }

    /// All rows that have not been fetched.
    fn fetchall<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        self.take(py, usize::MAX)
    }

    /// The columns of the result as PEP 249 has them: name, type, and five times None. None without a result.
    #[getter]
    fn description<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Some(rows) = self.state().rows.clone() else { return Ok(None) };
        let kind = |at: usize| {
            let mut values = rows.rows.iter().map(|row| &row[at]);
            values.find(|value| !value.is_null()).map(Value::type_name)
        };
        let none = || py.None();
        let columns = rows.columns.iter().enumerate();
        let columns = columns.map(|(at, name)| {
            (name, kind(at), none(), none(), none(), none(), none()).into_pyobject(py)
        });
        Ok(Some(PyList::new(py, columns.collect::<PyResult<Vec<_>>>()?)?))
    }

    /// The number of rows of the result, or of rows that were inserted, updated or deleted; -1 where it is about neither.
    #[getter]
    fn rowcount(&self) -> i64 {
        let state = self.state();
        let rows = state.rows.as_ref().map(|rows| rows.len() as u64);
        rows.or(state.changed).map_or(-1, |count| count as i64)
    }

    /// What the statement did, for one that gives no rows: `1 item, sid a1.b2.c3`.
    #[getter]
    fn message(&self) -> Option<String> {
        self.state().message.clone()
    }

    /// The job that the statement started in the background.
    #[getter]
    fn job(&self, py: Python<'_>) -> PyResult<Option<Job>> {
        let number = self.state().job;
        number.map(|number| Job::find(py, Arc::clone(&self.shared), number)).transpose()
    }

    /// How many rows `fetchmany` gives where no number is given.
    #[getter]
    fn arraysize(&self) -> usize {
        self.state().arraysize
    }

    #[setter]
    fn set_arraysize(&self, size: usize) {
        self.state().arraysize = size;
    }

    /// Does nothing; PEP 249 wants it.
    fn setinputsizes(&self, sizes: &Bound<'_, PyAny>) {
        let _ = sizes;
    }

    /// Does nothing; PEP 249 wants it.
    #[pyo3(signature = (size, column = None))]
    fn setoutputsize(&self, size: &Bound<'_, PyAny>, column: Option<&Bound<'_, PyAny>>) {
        let _ = (size, column);
    }

    /// Lets go of the result; the cursor cannot be used any more.
    fn close(&self) {
        let mut state = self.state();
        *state = State { arraysize: state.arraysize, closed: true, ..State::default() };
    }

    /// The result as a table of pyarrow.
    fn arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().rows()?;
        slf.py().import(intern!(slf.py(), "pyarrow"))?.call_method1("table", (slf,))
    }

    /// The result as a DataFrame of polars.
    fn pl<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().rows()?;
        slf.py().import(intern!(slf.py(), "polars"))?.call_method1("DataFrame", (slf,))
    }

    /// The result as a DataFrame of pandas, by way of pyarrow.
    fn df<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::arrow(slf)?.call_method0(intern!(slf.py(), "to_pandas"))
    }

    /// The columns of the result as arrays of NumPy.
    fn fetchnumpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        outgoing::arrays(py, &*self.rows()?)
    }

    /// The result as an Arrow stream, by the PyCapsule interface.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows to answer with the types that the result has.
        let _ = requested_schema;
        outgoing::stream(py, &*self.rows()?)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.fetchone(py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (_kind, _value, _traceback))]
    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let state = self.state();
        match (&state.rows, &state.message, state.job) {
            (Some(rows), ..) => {
                format!("<sidql.Cursor, {} rows of {}>", rows.len(), rows.columns.join(", "))
            }
            (None, Some(message), _) => format!("<sidql.Cursor, {message}>"),
            (None, None, Some(job)) => format!("<sidql.Cursor, job {job}>"),
            (None, None, None) => "<sidql.Cursor>".to_owned(),
        }
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        if let Some(job) = self.job(py)? {
            return job.html(py);
        }
        let state = self.state();
        Ok(match (&state.rows, &state.message) {
            (Some(rows), _) => html::table(rows),
            (None, Some(message)) => html::sentence(message),
            (None, None) => html::sentence("no result"),
        })
    }
}
