//! The open file: one shared handle, and what statements that need no session of their own run through.

use std::path::Path;
use std::sync::Arc;

use sidql_storage::{OpenOptions, Store, blobs, spaces};

use crate::cache::Cache;
use crate::derive::recipe::is_building;
use crate::error::{Error, Result};
use crate::exec::{Engine, Outcome};
use crate::job::{JobHandle, Runner, queue};
use crate::params::Params;
use crate::recommender::Recommender;
use crate::session::Session;
use crate::statement::{Snapshot, Statement, Transaction};
use crate::tree::Tree;
use crate::value::Rows;

/// An open database. Cheap to clone; every clone is the same file.
///
/// Long work runs on a thread of the handle; when the last clone goes, running work stops and can be resumed.
///
/// ```
/// let db = sidql::Database::open_in_memory()?;
/// db.execute("INSERT INTO items {id: 'B77', title: 'Futsal ball', price: 19.5}", ())?;
/// let rows = db.query("SELECT id, price FROM items WHERE price < ?", [30.into()])?;
/// assert_eq!(rows.get(0, "id"), Some(&"B77".into()));
/// # Ok::<(), sidql::Error>(())
/// ```
#[derive(Clone)]
pub struct Database {
    engine: Arc<Engine>,
}

impl Database {
    /// Opens a file for reading and writing; makes it where there is none.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, it is no sidql file, or a newer build wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Database::builder().open(path)
    }

    /// A database that is gone with its handle.
    pub fn open_in_memory() -> Result<Self> {
        Database::builder().open_in_memory()
    }

    /// Ways to open.
    pub fn builder() -> Builder {
        Builder {
            options: OpenOptions { create: true, ..OpenOptions::default() },
            file_access: true,
            device: None,
        }
    }

    /// A session, which has settings and may hold a transaction.
    pub fn session(&self) -> Session {
        Session::new(Arc::clone(&self.engine))
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// What is wrong with it, with the place in its text where that helps.
    pub fn execute(&self, text: &str, params: impl Into<Params>) -> Result<Outcome> {
        self.session().execute(text, params)
    }

    /// Runs one statement that gives rows.
    ///
    /// # Errors
    /// As [`Database::execute`]; also when the statement gives no rows.
    pub fn query(&self, text: &str, params: impl Into<Params>) -> Result<Rows> {
        self.execute(text, params)?.into_rows()
    }

    /// A statement that is parsed once and run often.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub fn prepare(&self, text: &str) -> Result<Statement> {
        Statement::prepare(&self.engine, text)
    }

    /// Begins a transaction; waits while another one is open. Dropped before its commit it changes nothing.
    ///
    /// # Errors
    /// The file is open for reading only.
    pub fn begin(&self) -> Result<Transaction> {
        Transaction::begin(&self.engine)
    }

    /// The file as it is now, for several queries that must agree.
    ///
    /// # Errors
    /// The file is closed.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&self.engine)
    }

    /// Inserts rows of items or interactions whose columns are named like the fields, as INSERT does: all or none of
    /// them. A null is a value that is not given.
    ///
    /// ```
    /// use sidql::{Database, Rows};
    ///
    /// let db = Database::open_in_memory()?;
    /// let mut rows = Rows::new(["id", "title", "price"]);
    /// rows.push(vec!["b1".into(), "Soccer ball".into(), 12.5.into()]);
    /// db.insert("items", rows)?;
    /// # Ok::<(), sidql::Error>(())
    /// ```
    ///
    /// # Errors
    /// As an INSERT of the same rows.
    pub fn insert(&self, relation: &str, rows: Rows) -> Result<Outcome> {
        self.session().insert(relation, rows)
    }

    /// Inserts the rows of an Arrow record batch, as [`Database::insert`] does.
    ///
    /// # Errors
    /// A column has a type that no value has; else as an INSERT of the same rows.
    #[cfg(feature = "arrow")]
    pub fn insert_arrow(
        &self,
        relation: &str,
        batch: &arrow_array::RecordBatch,
    ) -> Result<Outcome> {
        self.session().insert_arrow(relation, batch)
    }

    /// The items that a policy recommends to a user, with their scores, the best first.
    ///
    /// ```no_run
    /// let db = sidql::Database::open("shop.sidql")?;
    /// for (item, score) in db.recommend("graph", "u1", 10)? {
    ///     println!("{item} {score:.3}");
    /// }
    /// # Ok::<(), sidql::Error>(())
    /// ```
    ///
    /// # Errors
    /// The policy is unknown or untrained, or the user is unknown.
    pub fn recommend(&self, policy: &str, user: &str, count: usize) -> Result<Vec<(String, f32)>> {
        self.recommender(policy)?.for_user(user, count)
    }

    /// A policy opened for many recommendations: no statement is parsed for them.
    ///
    /// # Errors
    /// The policy is unknown or untrained.
    pub fn recommender(&self, policy: &str) -> Result<Recommender> {
        Recommender::open(Arc::clone(&self.engine), policy)
    }

    /// The SIDs of the published generation of a codebook, held in memory: the fastest look-ups, without statements.
    ///
    /// # Errors
    /// The codebook is unknown or has no published generation.
    pub fn tree(&self, codebook: &str) -> Result<Tree> {
        Tree::open(&self.engine, codebook)
    }

    /// The handle of a job that is queued or running in this process.
    pub fn job(&self, number: u64) -> Option<JobHandle> {
        self.engine.runner.handle(number)
    }

    /// Stops running work, which can be resumed, and closes the file.
    ///
    /// # Errors
    /// The last write to the file failed.
    pub fn close(self) -> Result<()> {
        self.engine.runner.close();
        Ok(self.engine.store.close()?)
    }
}

/// What a process that was killed left behind and nothing refers to.
fn sweep(store: &Store) -> Result<()> {
    let read = store.read()?;
    let resumable = sidql_storage::jobs::all(&read)?.iter().any(|job| job.checkpoint.is_some());
    let half_made = spaces::all(&read)?.into_iter().filter(is_building).collect::<Vec<_>>();
    let referenced = blobs::referenced(&read)?;
    let orphans = blobs::all(&read)?.iter().any(|blob| !referenced.contains(&blob.number));
    drop(read);
    let stale = if resumable { Vec::new() } else { half_made };
    if !orphans && stale.is_empty() {
        return Ok(());
    }
    let write = store.write()?;
    for space in stale {
        spaces::drop(&write, &space.name)?;
    }
    blobs::sweep(&write)?;
    Ok(write.commit()?)
}

/// How to open a [`Database`].
#[derive(Clone, Debug)]
pub struct Builder {
    options: OpenOptions,
    file_access: bool,
    device: Option<String>,
}

impl Builder {
    /// Where models and policies run that do not say it themselves: `auto` (the best there is), `cpu`, `cuda`, `cuda:1`.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Whether the file is opened for reading only; several processes can then have it open.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = read_only;
        self
    }

    /// Whether a missing file is made; true by itself.
    pub fn create(mut self, create: bool) -> Self {
        self.options.create = create;
        self
    }

    /// Bytes of the file that are kept in memory.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.options.cache_bytes = bytes;
        self
    }

    /// Whether statements may name files (COPY, BACKUP); true by itself.
    pub fn file_access(mut self, allowed: bool) -> Self {
        self.file_access = allowed;
        self
    }

    /// A database that is gone with its handle, with the other choices of this builder.
    ///
    /// # Errors
    /// Memory is exhausted.
    pub fn open_in_memory(self) -> Result<Database> {
        self.over(Store::in_memory()?)
    }

    /// Opens the file.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        let path = path.as_ref();
        let store = Store::open(path, &self.options)
            .map_err(|error| Error::from(error).context(path.display()))?;
        self.over(store)
    }

    fn over(self, store: Store) -> Result<Database> {
        let cache = Arc::new(Cache::default());
        if let Some(device) = &self.device {
            crate::device::choose(device)?;
            cache.run_on(device);
        }
        if !store.is_read_only() {
            queue::mark_interrupted(&store)?;
            sweep(&store)?;
        }
        let runner = Runner::new(store.clone(), Arc::clone(&cache));
        let file_access = self.file_access;
        Ok(Database { engine: Arc::new(Engine { store, cache, runner, file_access }) })
    }
}
