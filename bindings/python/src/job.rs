//! A hold on one job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use sidql::{JobHandle, Value};

use crate::connection::Shared;
use crate::cursor::Cursor;
use crate::error::raise;
use crate::html;

/// How long Ctrl-C may go unnoticed while one waits.
const TICK: Duration = Duration::from_millis(50);

/// A job: queued, running or over.
#[pyclass(module = "sidql", frozen)]
pub(crate) struct Job {
    shared: Arc<Shared>,
    number: u64,
    statement: String,
}

/// How far a job is.
#[pyclass(module = "sidql", frozen, get_all)]
pub(crate) struct JobProgress {
    /// `queued`, `running`, `done`, `failed`, `cancelled` or `interrupted`.
    state: String,
    /// What is being done, for example `epoch 3 of 20`.
    stage: String,
    /// Steps done in this stage.
    done: u64,
    /// Steps of this stage; 0 while unknown.
    total: u64,
    /// Seconds since the stage began, or that the job took once it is over.
    seconds: f64,
    /// The latest figures by name, for example `loss`; empty once it is over.
    notes: Py<PyDict>,
}

#[pymethods]
impl JobProgress {
    fn __repr__(&self) -> String {
        let JobProgress { state, stage, done, total, .. } = self;
        format!("<sidql.JobProgress, {state}, {stage}: {done} of {total}>")
    }
}

impl Job {
    /// The job of a number.
    pub(crate) fn find(py: Python<'_>, shared: Arc<Shared>, number: u64) -> PyResult<Job> {
        let record = record(py, &shared, number)?;
        Ok(Job { shared, number, statement: record.statement })
    }

    fn handle(&self) -> PyResult<Option<JobHandle>> {
        Ok(self.shared.database()?.job(self.number))
    }

    /// What a notebook shows.
    pub(crate) fn html(&self, py: Python<'_>) -> PyResult<String> {
        let now = self.progress(py)?;
        let title = format!("job {}: {}", self.number, self.statement);
        let state = match now.stage.as_str() {
            "" => now.state,
            stage => format!("{}, {stage}", now.state),
        };
        Ok(html::progress(&title, &state, now.done, now.total))
    }

    /// Runs a statement about the job beside whatever the connection does.
    fn ask(&self, py: Python<'_>, text: &str) -> PyResult<sidql::Outcome> {
        let database = self.shared.database()?;
        py.detach(|| database.execute(text, ())).map_err(|error| raise(&error, text))
    }
}

/// What the file knows of a job.
struct Record {
    state: String,
    stage: String,
    done: u64,
    total: u64,
    seconds: f64,
    statement: String,
}

fn record(py: Python<'_>, shared: &Shared, number: u64) -> PyResult<Record> {
    let text = "SELECT state, stage, done, total, seconds, statement FROM jobs WHERE job = ?";
    let database = shared.database()?;
    let rows = py.detach(|| database.query(text, [number.into()]));
    let rows = rows.map_err(|error| raise(&error, text))?;
    if rows.is_empty() {
        let error = sidql::Error::input("unknown-job", format!("there is no job {number}"))
            .help("SHOW JOBS; lists them");
        return Err(raise(&error, ""));
    }
    let text = |name| rows.get(0, name).map(ToString::to_string).unwrap_or_default();
    let number = |name| rows.get(0, name).and_then(Value::as_f64).unwrap_or_default();
    Ok(Record {
        state: text("state"),
        stage: text("stage"),
        done: number("done") as u64,
        total: number("total") as u64,
        seconds: number("seconds"),
        statement: text("statement"),
    })
}

#[pymethods]
impl Job {
    /// The number of the job, as `SHOW JOBS` prints it.
    #[getter]
    fn number(&self) -> u64 {
        self.number
    }

    /// The statement that asked for it.
    #[getter]
    fn statement(&self) -> &str {
        &self.statement
    }

    /// How far it is.
    fn progress(&self, py: Python<'_>) -> PyResult<JobProgress> {
        let handle = self.handle()?;
        let record = record(py, &self.shared, self.number)?;
        let notes = PyDict::new(py);
        let Some(now) = handle.map(|handle| handle.snapshot()) else {
            let Record { state, stage, done, total, seconds, .. } = record;
            return Ok(JobProgress { state, stage, done, total, seconds, notes: notes.unbind() });
        };
        for (name, figure) in &now.notes {
            notes.set_item(name, figure)?;
        }
        Ok(JobProgress {
            state: record.state,
            stage: now.stage,
            done: now.done,
            total: now.total,
            seconds: now.elapsed.as_secs_f64(),
            notes: notes.unbind(),
        })
    }

    /// Waits until the job has ended and gives what its statement answers.
    ///
    /// Ctrl-C ends the waiting, not the job. After `timeout` seconds it raises `TimeoutError`.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Cursor> {
        let begin = Instant::now();
        if let Some(handle) = self.handle()? {
            while py.detach(|| handle.wait_timeout(TICK)).is_none() {
                py.check_signals()?;
                if timeout.is_some_and(|seconds| begin.elapsed().as_secs_f64() >= seconds) {
                    let message = format!("job {} is still at work", self.number);
                    return Err(pyo3::exceptions::PyTimeoutError::new_err(message));
                }
            }
        }
        let outcome = self.ask(py, &format!("WAIT JOB {}", self.number))?;
        let cursor = Cursor::new(Arc::clone(&self.shared));
        cursor.keep(outcome);
        Ok(cursor)
    }

    /// Stops the job, which can be resumed, and waits until it has stopped.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, &format!("CANCEL JOB {}", self.number)).map(drop)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let progress = self.progress(py)?;
        Ok(format!("<sidql.Job {}, {}: {}>", self.number, progress.state, self.statement))
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        self.html(py)
    }
}
