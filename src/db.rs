//! The open file: one shared handle, and what statements that need no session of their own run through.

use std::path::Path;
use std::sync::Arc;

use sidql_storage::{OpenOptions, Store, blobs, spaces};

use crate::cache::Cache;
use crate::cache::held::BUDGET;
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
            cache_bytes: None,
            vector_bytes: None,
            memory_bytes: None,
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

    /// Puts vectors that were made elsewhere into an embedding space: one for each id, of as many components each, behind
    /// each other in one slice. See [`Session::insert_embeddings`].
    ///
    /// ```
    /// let db = sidql::Database::open_in_memory()?;
    /// db.execute("INSERT INTO items {id: 'b1'}, {id: 'b2'}", ())?;
    /// db.insert_embeddings("theirs", &["b1", "b2"], &[1.0, 0.0, 0.6, 0.8])?;
    /// let near = db.query("SELECT id FROM items NEAR 'b1' IN theirs LIMIT 1", ())?;
    /// assert_eq!(near.get(0, "id"), Some(&"b2".into()));
    /// # Ok::<(), sidql::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Session::insert_embeddings`].
    pub fn insert_embeddings(&self, space: &str, ids: &[&str], vectors: &[f32]) -> Result<Outcome> {
        self.session().insert_embeddings(space, ids, vectors)
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

/// Pages of the file take no more than this of a budget: beyond it, vectors gain more.
const MOST_PAGES: u64 = 1 << 30;

/// How to open a [`Database`].
#[derive(Clone, Debug)]
pub struct Builder {
    options: OpenOptions,
    file_access: bool,
    device: Option<String>,
    cache_bytes: Option<usize>,
    vector_bytes: Option<u64>,
    memory_bytes: Option<u64>,
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

    /// One budget for what is kept in memory so that it need not be read again: pages of the file, and vectors with their
    /// indexes. A quarter, at most 1 GiB, goes to pages unless [`Builder::cache_bytes`] says otherwise; the rest to
    /// vectors, unless [`Builder::vector_bytes`] says less. Not counted are SID trees (62 bytes an item), policies and
    /// models that have been used, and what a statement or job needs while it runs.
    ///
    /// ```
    /// let db = sidql::Database::builder().memory_bytes(256 << 20).open_in_memory()?;
    /// # Ok::<(), sidql::Error>(())
    /// ```
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Bytes of the file that are kept in memory; 256 MiB by itself.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Bytes of vectors and of vector indexes that are held in memory, so that NEAR need not read them again; 2 GiB by
    /// itself. Spaces that are larger are read from the file for each question.
    pub fn vector_bytes(mut self, bytes: u64) -> Self {
        self.vector_bytes = Some(bytes);
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
        let (_, vectors) = self.shares()?;
        self.over(Store::in_memory()?, vectors)
    }

    /// Opens the file.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        let path = path.as_ref();
        let (pages, vectors) = self.shares()?;
        let options = OpenOptions { cache_bytes: pages, ..self.options.clone() };
        let store = Store::open(path, &options)
            .map_err(|error| Error::from(error).context(path.display()))?;
        self.over(store, vectors)
    }

    /// The bytes for pages of the file and for vectors.
    fn shares(&self) -> Result<(usize, u64)> {
        let Some(budget) = self.memory_bytes else {
            let pages = self.cache_bytes.unwrap_or(self.options.cache_bytes);
            return Ok((pages, self.vector_bytes.unwrap_or(BUDGET)));
        };
        let quarter = (budget / 4).min(MOST_PAGES) as usize;
        let pages = self.cache_bytes.unwrap_or(quarter);
        let left = budget.checked_sub(pages as u64).ok_or_else(|| {
            let message =
                format!("{pages} bytes of cache are more than the {budget} bytes of memory in all");
            Error::input("bad-option", message).help("raise memory_bytes, or lower cache_bytes")
        })?;
        Ok((pages, self.vector_bytes.unwrap_or(left).min(left)))
    }

    fn over(self, store: Store, vector_bytes: u64) -> Result<Database> {
        let cache = Arc::new(Cache::holding(vector_bytes));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fmt::Write as _;

    use sidql_storage::{JobState, jobs};

    use super::*;
    use crate::job::context::Slot;
    use crate::job::{self, Context, Spec};
    use crate::progress::Progress;

    /// Statements that make every kind of job which publishes a result once, and which every build has.
    const STATEMENTS: [&str; 9] = [
        "COPY items FROM '{}/items.jsonl' WITH (on_conflict = 'replace')",
        "COPY interactions FROM '{}/histories.tsv' WITH (layout = 'sequences')",
        "CREATE MODEL hashed USING hash WITH (dim = 256)",
        "ENRICH items BY text USING hashed",
        "CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 4)",
        "REBUILD CODEBOOK full",
        "CREATE POLICY p USING popular",
        "TRAIN POLICY p",
        "EVALUATE POLICY p",
    ];

    #[test]
    fn a_job_ends_in_the_transaction_of_its_result() {
        let folder = tempfile::tempdir().unwrap();
        let (mut items, mut histories) = (String::new(), String::new());
        for i in 0..30 {
            writeln!(items, "{{\"id\": \"i{i}\", \"title\": \"thing {}\"}}", i % 7).unwrap();
            let of = |step| (i + step) % 30;
            writeln!(histories, "u{i}\ti{} i{} i{} i{}", i, of(1), of(2), of(3)).unwrap();
        }
        std::fs::write(folder.path().join("items.jsonl"), items).unwrap();
        std::fs::write(folder.path().join("histories.tsv"), histories).unwrap();
        let db = Database::open_in_memory().unwrap();
        for statement in STATEMENTS {
            let statement = statement.replace("{}", &folder.path().display().to_string());
            db.session().execute(&statement, ()).unwrap();
        }

        let (store, cache) = (&db.engine.store, &*db.engine.cache);
        let ran = jobs::all(&store.read().unwrap()).unwrap();
        let mut kinds = std::collections::BTreeSet::new();
        for first in ran.iter().filter(|job| job.kind != "enrich") {
            // Once more by hand, and what the runner would record at the end left out, as a kill would.
            let kind = job::kind(&first.kind).unwrap();
            let spec = Spec { kind: kind.name, json: first.spec.clone() };
            let number = queue::enqueue(store, &spec, "again").unwrap();
            queue::claim(store, number).unwrap();
            let progress = Progress::default();
            let slot = Slot::new(store, number, &progress);
            let context = Context { store, cache, progress: &progress, job: number, slot };
            let answer = (kind.run)(&context, &spec.json).unwrap();
            queue::mark_interrupted(store).unwrap();
            let kept = queue::find(store, number).unwrap();
            assert_eq!(kept.state, JobState::Done, "{}", kind.name);
            assert_eq!(kept.message, answer.message);
            kinds.insert(kind.name);
        }
        assert_eq!(kinds.len(), job::KINDS.len() - 2, "{kinds:?}");
    }

    #[test]
    fn one_budget_is_shared_out() {
        let of = |builder: Builder| builder.shares().unwrap();
        let builder = Database::builder;
        assert_eq!(of(builder()).1, BUDGET);
        assert_eq!(of(builder().memory_bytes(400)), (100, 300));
        assert_eq!(of(builder().memory_bytes(400).cache_bytes(300)), (300, 100));
        assert_eq!(of(builder().memory_bytes(400).vector_bytes(50)), (100, 50));
        assert_eq!(of(builder().memory_bytes(400).vector_bytes(5000)), (100, 300));
        assert_eq!(of(builder().memory_bytes(16 << 30)).0, 1 << 30);
        let error = builder().memory_bytes(400).cache_bytes(500).open_in_memory().err().unwrap();
        assert_eq!(error.code(), "bad-option");
    }
}
