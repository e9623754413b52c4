//! Statements that are parsed once and run often, and what they run in: a transaction, a snapshot.

use std::fmt;
use std::sync::Arc;

use sidql_grammar::ast;
use sidql_storage::Read;

use crate::error::{Error, Result};
use crate::exec::{Engine, Outcome};
use crate::params::Params;
use crate::session::Session;
use crate::value::{RowRef, Rows};

/// A statement that was parsed once. Cheap to clone, and usable from any thread.
///
/// It is planned anew each time it runs, for its parameters and for what the file holds then: a codebook that was
/// published meanwhile is seen, and nothing has to be prepared again.
///
/// ```
/// # let db = sidql::Database::open_in_memory()?;
/// # db.execute("INSERT INTO items {id: 'B1', price: 12.5}, {id: 'B2', price: 80}", ())?;
/// let cheaper = db.prepare("SELECT id, price FROM items WHERE price < ?")?;
/// for limit in [20, 100] {
///     for row in &cheaper.query([limit.into()])? {
///         let (id, price): (String, f64) = (row.get("id")?, row.get("price")?);
///         assert!(price < f64::from(limit), "{id}");
///     }
/// }
/// # Ok::<(), sidql::Error>(())
/// ```
#[derive(Clone)]
pub struct Statement {
    engine: Arc<Engine>,
    text: Arc<str>,
    tree: Arc<ast::Statement>,
}

impl Statement {
    pub(crate) fn prepare(engine: &Arc<Engine>, text: &str) -> Result<Self> {
        let tree =
            sidql_grammar::parse(text).map_err(|error| Error::from(error).with_report(text))?;
        Ok(Statement { engine: Arc::clone(engine), text: text.into(), tree: Arc::new(tree) })
    }

    /// The statement as it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tree(&self) -> &ast::Statement {
        &self.tree
    }

    fn session(&self) -> Session {
        Session::new(Arc::clone(&self.engine))
    }

    /// Runs it, in a transaction of its own.
    ///
    /// # Errors
    /// What is wrong with it, with the place in its text where that helps.
    pub fn execute(&self, params: impl Into<Params>) -> Result<Outcome> {
        self.session().run(self, params)
    }

    /// Runs it for its rows.
    ///
    /// # Errors
    /// As [`Statement::execute`]; also when it gives no rows.
    pub fn query(&self, params: impl Into<Params>) -> Result<Rows> {
        self.execute(params)?.into_rows()
    }

    /// Runs it and hands over its rows one by one; see [`Session::for_each`].
    ///
    /// # Errors
    /// As [`Statement::query`]; an error of `take` ends the statement and is given back.
    pub fn for_each(
        &self,
        params: impl Into<Params>,
        take: impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        self.session().for_each(self, params, take)
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.text).finish()
    }
}

/// A transaction: what is changed in it is seen by nobody else until it is committed, and gone where it is dropped.
///
/// ```
/// # let db = sidql::Database::open_in_memory()?;
/// let mut transaction = db.begin()?;
/// transaction.execute("INSERT INTO items {id: 'B1', title: 'Futsal ball'}", ())?;
/// drop(transaction);
/// assert!(db.query("SELECT id FROM items", ())?.is_empty());
///
/// let mut transaction = db.begin()?;
/// transaction.execute("INSERT INTO items {id: 'B1', title: 'Futsal ball'}", ())?;
/// transaction.commit()?;
/// assert_eq!(db.query("SELECT id FROM items", ())?.len(), 1);
/// # Ok::<(), sidql::Error>(())
/// ```
pub struct Transaction {
    session: Session,
}

impl Transaction {
    pub(crate) fn begin(engine: &Arc<Engine>) -> Result<Self> {
        let mut session = Session::new(Arc::clone(engine));
        session.execute("BEGIN", ())?;
        Ok(Transaction { session })
    }

    /// Runs one statement.
    ///
    /// # Errors
    /// What is wrong with it. A change that fails while it runs takes the transaction back, and what comes then is
    /// refused.
    pub fn execute(&mut self, text: &str, params: impl Into<Params>) -> Result<Outcome> {
        self.check()?;
        self.session.execute(text, params)
    }

    /// Runs one statement that gives rows.
    ///
    /// # Errors
    /// As [`Transaction::execute`]; also when the statement gives no rows.
    pub fn query(&mut self, text: &str, params: impl Into<Params>) -> Result<Rows> {
        self.execute(text, params)?.into_rows()
    }

    /// Runs a statement that was prepared.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn run(&mut self, statement: &Statement, params: impl Into<Params>) -> Result<Outcome> {
        self.check()?;
        self.session.run(statement, params)
    }

    /// Makes everything durable and visible.
    ///
    /// # Errors
    /// The file could not be written: then nothing has changed.
    pub fn commit(mut self) -> Result<()> {
        self.check()?;
        self.session.execute("COMMIT", ()).map(|_| ())
    }

    /// Takes everything back, as dropping does.
    ///
    /// # Errors
    /// The file could not be read again.
    pub fn rollback(mut self) -> Result<()> {
        self.check()?;
        self.session.execute("ROLLBACK", ()).map(|_| ())
    }

    fn check(&self) -> Result<()> {
        if self.session.in_transaction() {
            return Ok(());
        }
        Err(Error::input("no-transaction", "the transaction has ended")
            .help("a statement failed in it, or COMMIT or ROLLBACK ended it; begin another one"))
    }
}

/// The file as it was at one moment: later changes are not seen. Cheap to clone; it keeps the pages of that moment
/// from being used again, so do not hold it for long.
///
/// ```
/// # let db = sidql::Database::open_in_memory()?;
/// let before = db.snapshot()?;
/// db.execute("INSERT INTO items {id: 'B1', title: 'Futsal ball'}", ())?;
/// assert!(before.query("SELECT id FROM items", ())?.is_empty());
/// assert!(before.query("DELETE FROM items WHERE id = 'B1'", ()).is_err());
/// # Ok::<(), sidql::Error>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    engine: Arc<Engine>,
    read: Read,
}

impl Snapshot {
    pub(crate) fn take(engine: &Arc<Engine>) -> Result<Self> {
        Ok(Snapshot { engine: Arc::clone(engine), read: engine.store.read()? })
    }

    fn session(&self) -> Session {
        Session::pinned(Arc::clone(&self.engine), self.read.clone())
    }

    /// Runs one statement that gives rows.
    ///
    /// # Errors
    /// What is wrong with it; it changes something, or gives no rows.
    pub fn query(&self, text: &str, params: impl Into<Params>) -> Result<Rows> {
        self.session().query(text, params)
    }

    /// Runs a statement that was prepared, for its rows.
    ///
    /// # Errors
    /// As [`Snapshot::query`].
    pub fn run(&self, statement: &Statement, params: impl Into<Params>) -> Result<Rows> {
        self.session().run(statement, params)?.into_rows()
    }

    /// Hands over the rows of a statement one by one; see [`Session::for_each`].
    ///
    /// # Errors
    /// As [`Snapshot::query`]; an error of `take` ends the statement and is given back.
    pub fn for_each(
        &self,
        statement: &Statement,
        params: impl Into<Params>,
        take: impl FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        self.session().for_each(statement, params, take)
    }
}
