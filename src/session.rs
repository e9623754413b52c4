//! One user's conversation with the database: parse, plan, run; settings, a transaction, completion.

use std::sync::{Arc, Mutex, PoisonError};

use sidql_grammar::ast;
use sidql_storage::{Read, View, Write};

use crate::complete::{self, Completion};
use crate::error::{Error, Result};
use crate::exec::{self, Context, Engine, JobProgress, Observer, Outcome};
use crate::params::Params;
use crate::plan::bind::Catalog;
use crate::plan::{self, Plan};
use crate::progress::{Poll, Progress};
use crate::settings::Settings;
use crate::statement::Statement;
use crate::value::{RowRef, Rows};

/// A session: settings, and perhaps an open transaction, which is rolled back when the session goes.
pub struct Session {
    engine: Arc<Engine>,
    settings: Settings,
    transaction: Option<Write>,
    /// What every statement sees, where that shall not move.
    pinned: Option<Read>,
    observer: Option<Observer>,
    poll: Option<Poll>,
    running: Arc<Mutex<Progress>>,
}

/// Interrupts the statement that a session runs. Cheap to clone, and usable from any thread.
#[derive(Clone, Debug)]
pub struct Interrupt {
    running: Arc<Mutex<Progress>>,
}

impl Interrupt {
    /// Asks the running statement to stop; does nothing when none runs.
    pub fn interrupt(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }

    /// Asks the running statement to wait no longer for its job, which goes on in the background: the statement then
    /// gives [`Outcome::Started`]. Does nothing when it waits for none.
    pub fn detach(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).detach();
    }
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Session {
            engine,
            settings: Settings::default(),
            transaction: None,
            pinned: None,
            observer: None,
            poll: None,
            running: Arc::default(),
        }
    }

    /// A session that sees one snapshot for ever, and changes nothing.
    pub(crate) fn pinned(engine: Arc<Engine>, read: Read) -> Self {
        Session { pinned: Some(read), ..Session::new(engine) }
    }

    /// Runs one statement; a `;` behind it is optional.
    ///
    /// # Errors
    /// What is wrong with it. A change that fails while it runs takes its whole transaction back; a statement that
    /// is refused before it changes anything does not.
    pub fn execute(&mut self, text: &str, params: impl Into<Params>) -> Result<Outcome> {
        let tree =
            sidql_grammar::parse(text).map_err(|error| Error::from(error).with_report(text))?;
        self.work(text, &tree, &params.into(), exec::execute)
    }

    /// Runs one statement that gives rows.
    ///
    /// # Errors
    /// As [`Session::execute`]; also when the statement gives no rows.
    pub fn query(&mut self, text: &str, params: impl Into<Params>) -> Result<Rows> {
        self.execute(text, params)?.into_rows()
    }

    /// Inserts rows of items or interactions whose columns are named like the fields, as INSERT does: all or none of
    /// them. A null is a value that is not given.
    ///
    /// # Errors
    /// As an INSERT of the same rows.
    pub fn insert(&mut self, relation: &str, rows: Rows) -> Result<Outcome> {
        let (text, tree, params) = plan::write::statement_of(relation, rows);
        self.work(&text, &tree, &params, exec::execute)
    }

    /// Inserts the rows of an Arrow record batch, as [`Session::insert`] does.
    ///
    /// # Errors
    /// A column has a type that no value has; else as an INSERT of the same rows.
    #[cfg(feature = "arrow")]
    pub fn insert_arrow(
        &mut self,
        relation: &str,
        batch: &arrow_array::RecordBatch,
    ) -> Result<Outcome> {
        self.insert(relation, Rows::from_arrow(batch)?)
    }

    /// Puts vectors that were made elsewhere into an embedding space, as COPY embeddings does: all of them or none. The space
    /// is made where there is none; items that had a vector there get the new one. `vectors` has those of all ids behind
    /// each other, as many components each.
    ///
    /// # Errors
    /// An id is of no item or given twice, the length of a vector is not that of the space, a component is not finite, or
    /// ENRICH makes the space.
    pub fn insert_embeddings(
        &mut self,
        space: &str,
        ids: &[&str],
        vectors: &[f32],
    ) -> Result<Outcome> {
        crate::plan::define::check_name(space, "space")?;
        if self.pinned.is_some() || self.engine.store.is_read_only() {
            return Err(Error::input("read-only", "the database is open for reading only"));
        }
        let progress = self.begin();
        self.carry_out("", None, true, &progress, |context| {
            exec::embeddings(context, space, ids, vectors)
        })
    }

    /// Runs a statement that was prepared, with the settings and in the transaction of this session.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn run(&mut self, statement: &Statement, params: impl Into<Params>) -> Result<Outcome> {
        self.work(statement.text(), statement.tree(), &params.into(), exec::execute)
    }

    /// Hands over the rows of a statement one by one. Those of a SELECT that neither groups nor orders are handed over
    /// as they are found: a large result needs no memory.
    ///
    /// # Errors
    /// As [`Session::query`]; an error of `take` ends the statement and is given back.
    pub fn for_each(
        &mut self,
        statement: &Statement,
        params: impl Into<Params>,
        mut take: impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let (text, tree) = (statement.text(), statement.tree());
        self.work(text, tree, &params.into(), |context, plan| {
            let columns = std::cell::RefCell::new(Vec::new());
            let mut begin = |names| *columns.borrow_mut() = names;
            exec::each(context, plan, &mut begin, &mut |row| {
                take(RowRef::new(&columns.borrow(), &row))
            })
        })
    }

    fn work<T>(
        &mut self,
        text: &str,
        tree: &ast::Statement,
        params: &Params,
        work: impl FnOnce(&mut Context<'_>, Plan) -> Result<T>,
    ) -> Result<T> {
        let progress = self.begin();
        self.plan_and(text, tree, params, &progress, work).map_err(|error| error.with_report(text))
    }

    /// Where an interruption of the next statement shows.
    fn begin(&self) -> Progress {
        let progress = self.poll.clone().map_or_else(Progress::default, Progress::polling);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = progress.clone();
        progress
    }

    fn plan_and<T>(
        &mut self,
        text: &str,
        tree: &ast::Statement,
        params: &Params,
        progress: &Progress,
        work: impl FnOnce(&mut Context<'_>, Plan) -> Result<T>,
    ) -> Result<T> {
        let snapshot = match (&self.transaction, &self.pinned) {
            (Some(_), _) => None,
            (None, Some(read)) => Some(read.clone()),
            (None, None) => Some(self.engine.store.read()?),
        };
        let view: &dyn View = match (&self.transaction, &snapshot) {
            (Some(write), _) => write,
            (None, Some(read)) => read,
            (None, None) => return Err(Error::internal("a statement without a view")),
        };
        let moment = snapshot.as_ref().and_then(Read::moment);
        let words = self.engine.cache.words(view, moment)?;
        let plan = plan::plan(&Catalog::new(view, words, &self.settings, params), tree)?;
        self.permit(&plan)?;
        let changes = plan.writes();
        self.carry_out(text, snapshot, changes, progress, |context| work(context, plan))
    }

    /// Runs work of a statement; a change that fails takes the whole transaction back.
    fn carry_out<T>(
        &mut self,
        text: &str,
        snapshot: Option<Read>,
        changes: bool,
        progress: &Progress,
        work: impl FnOnce(&mut Context<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut context = Context {
            engine: &self.engine,
            settings: &mut self.settings,
            transaction: &mut self.transaction,
            snapshot,
            progress,
            observer: &mut self.observer,
            text: text.trim().trim_end_matches(';').trim_end(),
        };
        let outcome = work(&mut context);
        // A change that failed half-way cannot be told from one that did not happen.
        let refused = outcome.as_ref().is_err_and(|error| error.code() == "in-transaction");
        if outcome.is_err() && changes && !refused && self.transaction.take().is_some() {
            return outcome.map_err(|error| {
                let help = "the transaction has been rolled back; BEGIN again";
                let help = error
                    .help_text()
                    .map_or(help.to_owned(), |first| format!("{first}\n      {help}"));
                error.help(help)
            });
        }
        outcome
    }

    fn permit(&self, plan: &Plan) -> Result<()> {
        if plan.touches_files() && !self.engine.file_access {
            return Err(Error::input("no-file-access", "statements may not name files here")
                .help("the database was opened without file access (`--safe`)"));
        }
        if self.pinned.is_some() && (plan.writes() || matches!(plan, Plan::Begin)) {
            return Err(Error::input("read-only", "a snapshot is for reading only")
                .help("run it by the database"));
        }
        if plan.writes() && self.engine.store.is_read_only() {
            return Err(Error::input("read-only", "the database is open for reading only"));
        }
        Ok(())
    }

    /// Calls the observer about ten times a second while a statement waits for a job, and once at its end.
    pub fn watch(&mut self, observer: impl FnMut(&JobProgress) + Send + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// Calls this on the thread that runs a statement, about twenty times a second while it looks whether it shall go on;
    /// `true` interrupts it. For programs that learn on one thread alone that somebody wants to stop, as interpreters do.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// let db = sidql::Database::open_in_memory()?;
    /// let mut session = db.session();
    /// let begun = Instant::now();
    /// session.poll(move || begun.elapsed() > Duration::from_secs(60)); // no statement takes longer
    /// # Ok::<(), sidql::Error>(())
    /// ```
    pub fn poll(&mut self, stop: impl FnMut() -> bool + Send + 'static) {
        self.poll = Some(Poll::new(stop));
    }

    /// A handle that interrupts the statement this session runs.
    pub fn interrupt_handle(&self) -> Interrupt {
        Interrupt { running: Arc::clone(&self.running) }
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// What could stand at the cursor, a byte offset into the text.
    pub fn complete(&self, text: &str, cursor: usize) -> Completion {
        let names = |view: &dyn View| complete::complete(view, &self.engine.cache, text, cursor);
        match &self.transaction {
            Some(write) => names(write),
            None => match self.engine.store.read() {
                Ok(read) => names(&read),
                Err(_) => Completion::default(),
            },
        }
    }
}
