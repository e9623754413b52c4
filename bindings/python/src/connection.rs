//! An open database, as PEP 249 calls it: a connection.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use sidql::{Database, Interrupt, Outcome, Params, Session};

use crate::cursor::Cursor;
use crate::embeddings;
use crate::error::{closed, raise};
use crate::incoming;
use crate::job::Job;
use crate::recommender::Recommender;
use crate::value;
use crate::work::Signals;

/// How long a statement sleeps before it looks again whether that of another thread is over.
const PAUSE: Duration = Duration::from_millis(2);

/// Opens the database in a file, or one in memory that is gone with its connection.
///
/// A missing file is made, unless it is opened for reading only. `memory_bytes` is a budget for pages of the file and
/// vectors that are kept in memory.
#[pyfunction]
#[pyo3(
    signature = (path = PathBuf::from(":memory:"), read_only = false, memory_bytes = None),
    text_signature = "(path=':memory:', read_only=False, memory_bytes=None)"
)]
pub(crate) fn connect(
    py: Python<'_>,
    path: PathBuf,
    read_only: bool,
    memory_bytes: Option<u64>,
) -> PyResult<Connection> {
    let opened = py.detach(|| {
        let mut builder = Database::builder().read_only(read_only).create(!read_only);
        if let Some(bytes) = memory_bytes {
            builder = builder.memory_bytes(bytes);
        }
        let database = if path.as_os_str() == ":memory:" {
            builder.open_in_memory()?
        } else {
            builder.open(&path)?
        };
        let mut session = database.session();
        let signals = Signals::new();
        let look = signals.clone();
        session.poll(move || look.look());
        Ok(Shared {
            signals,
            interrupt: session.interrupt_handle(),
            session: Mutex::new(Some(session)),
            database: Mutex::new(Some(database)),
        })
    });
    let shared = opened.map_err(|error| raise(&error, ""))?;
    Ok(Connection { shared: Arc::new(shared) })
}

/// What a connection and its cursors have in common.
pub(crate) struct Shared {
    /// Held for as long as a statement runs; none once the connection is closed.
    session: Mutex<Option<Session>>,
    /// Held for a moment only.
    database: Mutex<Option<Database>>,
    interrupt: Interrupt,
    signals: Signals,
}

impl Shared {
    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file.
    pub(crate) fn database(&self) -> PyResult<Database> {
        self.slot().clone().ok_or_else(|| raise(&closed("connection"), ""))
    }

    /// Runs what needs the session, interruptibly. `text` is the statement, for errors.
    fn work<T: Send>(
        &self,
        py: Python<'_>,
        text: &str,
        work: impl FnOnce(&mut Session, &dyn Fn() -> sidql::Result<()>) -> sidql::Result<T> + Send,
    ) -> PyResult<T> {
        let (done, raised) = py.detach(|| {
            let Some(mut guard) = self.turn() else {
                return (Err(sidql::Error::cancelled()), self.signals.take());
            };
            let check = || {
                let stop = self.signals.look_now_and_then();
                if stop { Err(sidql::Error::cancelled()) } else { Ok(()) }
            };
            let session = guard.as_mut().ok_or_else(|| closed("connection"));
            let done = session.and_then(|session| work(session, &check));
            (done, self.signals.take())
        });
        match raised {
            Some(raised) => Err(raised),
            None => done.map_err(|error| raise(&error, text)),
        }
    }

    /// The session, once the statements of other threads are over; nothing where a signal ends the waiting.
    fn turn(&self) -> Option<MutexGuard<'_, Option<Session>>> {
        loop {
            match self.session.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
            if self.signals.look_now_and_then() {
                return None;
            }
        }
    }

    /// Runs one statement.
    pub(crate) fn execute(&self, py: Python<'_>, text: &str, params: Params) -> PyResult<Outcome> {
        self.work(py, text, |session, _| session.execute(text, params))
    }

    /// Runs one statement for each set of parameters; all of them or none. Gives the number of rows that they changed,
    /// where they change rows.
    pub(crate) fn execute_many(
        &self,
        py: Python<'_>,
        text: &str,
        all: Vec<Params>,
    ) -> PyResult<Option<u64>> {
        self.work(py, text, |session, check| {
            together(session, |session| {
                let mut changed = None;
                for params in all {
                    check()?;
                    if let Outcome::Done { changed: Some(rows), .. } =
                        session.execute(text, params)?
                    {
                        changed = Some(changed.unwrap_or(0) + rows);
                    }
                }
                Ok(changed)
            })
        })
    }

    /// Ends the transaction, if there is one.
    fn end(&self, py: Python<'_>, how: &str) -> PyResult<()> {
        self.work(py, how, |session, _| {
            if session.in_transaction() {
                session.execute(how, ())?;
            }
            Ok(())
        })
    }
}

/// Runs several changes in the open transaction, or in one of their own.
fn together<T>(
    session: &mut Session,
    work: impl FnOnce(&mut Session) -> sidql::Result<T>,
) -> sidql::Result<T> {
    if session.in_transaction() {
        return work(session);
    }
    session.execute("BEGIN", ())?;
    let done = work(session);
    if session.in_transaction() {
        session.execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }, ())?;
    }
    done
}

/// An open database. Threads may share it; their statements run one after the other.
///
/// Each statement is its own transaction until `begin()`. As a context manager it commits what is open when the
/// block ends well, rolls it back otherwise, and closes.
#[pyclass(module = "sidql", frozen)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

#[pymethods]
impl Connection {
    /// A new cursor.
    fn cursor(&self) -> Cursor {
        Cursor::new(Arc::clone(&self.shared))
    }

    /// Runs one statement and gives a cursor over what it answers.
    #[pyo3(signature = (sql, parameters = None))]
    fn execute(
        &self,
        py: Python<'_>,
        sql: &str,
        parameters: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Cursor> {
        let cursor = self.cursor();
        cursor.run(py, sql, parameters)?;
        Ok(cursor)
    }

    /// Runs one statement for each set of parameters; all of them or none.
    fn executemany(
        &self,
        py: Python<'_>,
        sql: &str,
        parameters: &Bound<'_, PyAny>,
    ) -> PyResult<Cursor> {
        let cursor = self.cursor();
        cursor.run_many(py, sql, parameters)?;
        Ok(cursor)
    }

    /// Inserts rows of `items` or `interactions`, all or none, and gives their number.
    ///
    /// The data are a DataFrame of pandas or polars, a table of pyarrow, whatever else has `__arrow_c_stream__` or
    /// `__arrow_c_array__`, or a list of dicts. Columns have the names of fields.
    fn insert(&self, py: Python<'_>, relation: &str, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let batches = incoming::batches(data)?;
        self.shared.work(py, "", |session, check| {
            together(session, |session| {
                let mut count = 0;
                for batch in batches {
                    check()?;
                    let rows = batch.rows()?;
                    count += rows.len();
                    session.insert(relation, rows)?;
                }
                Ok(count)
            })
        })
    }

    /// Puts vectors into an embedding space, one for each id of an item, and gives their number: all of them or none.
    ///
    /// The space is made where there is none. The vectors are the rows of a matrix of NumPy, a `FixedSizeList` array of
    /// Arrow, or what `numpy.asarray` makes a matrix of.
    fn insert_embeddings(
        &self,
        py: Python<'_>,
        space: &str,
        ids: &Bound<'_, PyAny>,
        vectors: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let ids = embeddings::ids(ids)?;
        let vectors = embeddings::vectors(vectors, ids.len())?;
        self.shared.work(py, "", |session, check| {
            together(session, |session| {
                for (ids, vectors) in vectors.chunks(&ids) {
                    check()?;
                    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                    session.insert_embeddings(space, &ids, vectors)?;
                }
                Ok(ids.len())
            })
        })
    }

    /// Begins a transaction.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.execute(py, "BEGIN", Params::default()).map(drop)
    }

    /// Commits the transaction; does nothing when there is none.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.end(py, "COMMIT")
    }

    /// Takes the transaction back; does nothing when there is none.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.end(py, "ROLLBACK")
    }

    /// Whether a transaction is open.
    #[getter]
    fn in_transaction(&self, py: Python<'_>) -> bool {
        py.detach(|| self.shared.session().as_ref().is_some_and(Session::in_transaction))
    }

    /// Stops the statement that runs in another thread.
    fn interrupt(&self) {
        self.shared.interrupt.interrupt();
    }

    /// A policy ready to recommend, without statements.
    fn recommender(&self, py: Python<'_>, policy: String) -> PyResult<Recommender> {
        let database = self.shared.database()?;
        py.detach(|| database.recommender(&policy))
            .map(|inner| Recommender { inner, policy })
            .map_err(|error| raise(&error, ""))
    }

    /// A job by its number, as `SHOW JOBS` prints it.
    fn job(&self, py: Python<'_>, number: u64) -> PyResult<Job> {
        Job::find(py, Arc::clone(&self.shared), number)
    }

    /// Takes an open transaction back, stops running jobs, which can be resumed, and closes the file.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = py.detach(|| {
            drop(self.shared.session().take());
            let database = self.shared.slot().take();
            database.map_or(Ok(()), Database::close)
        });
        closed.map_err(|error| raise(&error, ""))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        // A block that closed the connection itself has nothing left to end.
        let open = self.shared.slot().is_some();
        if open && kind.is_none() {
            self.commit(py)?;
        }
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let open = self.shared.slot().is_some();
        format!("<sidql.Connection, {}>", if open { "open" } else { "closed" })
    }
}

/// Parameters for `executemany`.
pub(crate) fn all_params(all: &Bound<'_, PyAny>) -> PyResult<Vec<Params>> {
    all.try_iter()?.map(|one| value::params(Some(&one?))).collect()
}
