//! The Rust face: what an embedder may rely on.

use sidql::{
    Builder, Database, Error, FromValue, Interrupt, JobHandle, Outcome, Params, Progress,
    Recommender, Result, Row, RowRef, Rows, Session, Sid, Snapshot, Statement, Transaction, Tree,
    Value,
};

use crate::support::toy;

type Ranked = Vec<(String, f32)>;
type Children = Vec<(u16, usize)>;

/// A signature that changes does not compile here. What is generic over parameters is asked with `()`.
#[test]
fn signatures_stay() {
    let _: fn(&Database) -> Session = Database::session;
    let _: fn() -> Builder = Database::builder;
    let _: fn() -> Result<Database> = Database::open_in_memory;
    let _: fn(&'static str) -> Result<Database> = Database::open;
    let _: fn(&Database, &str, ()) -> Result<Outcome> = Database::execute;
    let _: fn(&Database, &str, ()) -> Result<Rows> = Database::query;
    let _: fn(&Database, &str, Rows) -> Result<Outcome> = Database::insert;
    let _: fn(&Database, &str, &[&str], &[f32]) -> Result<Outcome> = Database::insert_embeddings;
    let _: fn(&Database, &str) -> Result<Statement> = Database::prepare;
    let _: fn(&Database) -> Result<Transaction> = Database::begin;
    let _: fn(&Database) -> Result<Snapshot> = Database::snapshot;
    let _: fn(&Database, &str) -> Result<Recommender> = Database::recommender;
    let _: fn(&Database, &str, &str, usize) -> Result<Ranked> = Database::recommend;
    let _: fn(&Database, &str) -> Result<Tree> = Database::tree;
    let _: fn(&Database, u64) -> Option<JobHandle> = Database::job;
    let _: fn(Database) -> Result<()> = Database::close;
    let _: fn(Builder, bool) -> Builder = Builder::read_only;
    let _: fn(Builder, bool) -> Builder = Builder::create;
    let _: fn(Builder, usize) -> Builder = Builder::cache_bytes;
    let _: fn(Builder, u64) -> Builder = Builder::vector_bytes;
    let _: fn(Builder, u64) -> Builder = Builder::memory_bytes;
    let _: fn(Builder, bool) -> Builder = Builder::file_access;
    let _: fn(Builder, &'static str) -> Builder = Builder::device;
    let _: fn(Builder, &'static str) -> Result<Database> = Builder::open;
    let _: fn(Builder) -> Result<Database> = Builder::open_in_memory;
    let _: fn(&Statement) -> &str = Statement::text;
    let _: fn(&Statement, ()) -> Result<Outcome> = Statement::execute;
    let _: fn(&Statement, ()) -> Result<Rows> = Statement::query;
    let _: fn(&mut Transaction, &str, ()) -> Result<Outcome> = Transaction::execute;
    let _: fn(&mut Transaction, &str, ()) -> Result<Rows> = Transaction::query;
    let _: fn(&mut Transaction, &Statement, ()) -> Result<Outcome> = Transaction::run;
    let _: fn(Transaction) -> Result<()> = Transaction::commit;
    let _: fn(Transaction) -> Result<()> = Transaction::rollback;
    let _: fn(&Snapshot, &str, ()) -> Result<Rows> = Snapshot::query;
    let _: fn(&Snapshot, &Statement, ()) -> Result<Rows> = Snapshot::run;
    let _: fn(&mut Session, &str, ()) -> Result<Outcome> = Session::execute;
    let _: fn(&mut Session, &str, ()) -> Result<Rows> = Session::query;
    let _: fn(&mut Session, &Statement, ()) -> Result<Outcome> = Session::run;
    let _: fn(&mut Session, &str, Rows) -> Result<Outcome> = Session::insert;
    let _: fn(&Session) -> Interrupt = Session::interrupt_handle;
    let _: fn(&mut Session, fn() -> bool) = Session::poll;
    let _: fn(&Session) -> bool = Session::in_transaction;
    let _: fn(&Interrupt) = Interrupt::interrupt;
    let _: fn(&Interrupt) = Interrupt::detach;
    let _: fn(&JobHandle) -> u64 = JobHandle::number;
    let _: fn(&JobHandle) -> Progress = JobHandle::snapshot;
    let _: fn(&JobHandle) -> Result<String> = JobHandle::wait;
    let _: fn(&JobHandle, std::time::Duration) -> Option<Result<String>> = JobHandle::wait_timeout;
    let _: fn(&JobHandle) = JobHandle::cancel;
    let _: fn(&Recommender, &str, usize) -> Result<Ranked> = Recommender::for_user;
    let _: fn(&Recommender, &[&str], usize) -> Result<Ranked> = Recommender::after;
    let _: fn(&Tree, &[u16]) -> usize = Tree::count;
    let _: fn(&Tree, &[u16]) -> Children = Tree::children;
    let _: fn(Outcome) -> Result<Rows> = Outcome::into_rows;
    let _: fn(&Rows, usize, &str) -> Option<&'static Value> = |_, _, _| None;
    let _: fn(&Error) -> &'static str = Error::code;
    let _: fn(&Error) -> Option<&str> = Error::help_text;
}

#[test]
fn handles_pass_between_threads() {
    fn shared<T: Clone + Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Database>();
    shared::<Statement>();
    shared::<Snapshot>();
    shared::<Recommender>();
    shared::<Tree>();
    shared::<JobHandle>();
    shared::<Interrupt>();
    shared::<Error>();
    sent::<Session>();
    sent::<Transaction>();
}

#[test]
fn a_prepared_statement_sees_what_has_changed() {
    let (db, _folder) = toy::coded();
    let find = db.prepare("SELECT id, sid, price, categories FROM items WHERE id = ?").unwrap();
    let read = |id: &str| -> (Sid, Option<f64>, Vec<String>) {
        let rows = find.query([id.into()]).unwrap();
        let row = rows.iter().next().unwrap();
        assert_eq!(row.get::<String>("id").unwrap(), id);
        (row.get("sid").unwrap(), row.get("price").unwrap(), row.get("categories").unwrap())
    };
    let (sid, price, categories) = read("g2i4");
    assert_eq!((sid.codes().len(), categories.len()), (3, 2));
    assert!(price.is_some());
    db.execute("UPDATE items SET price = NULL WHERE id = 'g2i4'", ()).unwrap();
    assert_eq!(read("g2i4").1, None);
    db.execute("REBUILD CODEBOOK full WITH (levels = 2, codes = 32, publish = true)", ()).unwrap();
    assert_eq!(read("g2i4").0.codes().len(), 2);

    let error = find.query(()).unwrap_err();
    assert_eq!(error.code(), "missing-parameter");
    let error = db.prepare("SELEC id FROM items").unwrap_err();
    assert_eq!(error.help_text(), Some("did you mean `SELECT`?"));
    // Names are looked up when it runs.
    let error = db.prepare("SELECT pric FROM items").unwrap().query(()).unwrap_err();
    assert_eq!(error.help_text(), Some("did you mean `price`?"));
    assert_eq!(db.prepare("BEGIN").unwrap().query(()).unwrap_err().code(), "no-rows");
}

#[test]
fn a_value_of_another_type_is_refused_by_name() {
    let (db, _folder) = toy::coded();
    let rows = db.query("SELECT id, price, NULL AS none FROM items LIMIT 1", ()).unwrap();
    let row = rows.iter().next().unwrap();
    let refuse = |error: Error| error.to_string();
    assert_eq!(refuse(row.get::<i64>("id").unwrap_err()), "`id` is text, not int");
    assert_eq!(refuse(row.get::<String>("price").unwrap_err()), "`price` is float, not text");
    let error = row.get::<String>("none").unwrap_err();
    assert_eq!(error.help_text(), Some("ask for an Option"));
    assert_eq!(row.get::<Option<String>>("none").unwrap(), None);
    let error = row.get::<f64>("pric").unwrap_err();
    assert_eq!(error.help_text(), Some("did you mean `price`?"));
    assert_eq!(<Vec<f32>>::from_value(&vec![1.0_f32].into()), Some(vec![1.0]));
    assert_eq!(u64::from_value(&Value::Int(-1)), None);
}

#[test]
fn rows_come_one_by_one() {
    let (db, _folder) = toy::coded();
    for text in [
        "SELECT id, price FROM items",
        "SELECT id, price FROM items ORDER BY price DESC",
        "SELECT id, price FROM items LIMIT 7 OFFSET 3",
        "SHOW CODEBOOKS",
    ] {
        let whole = db.query(text, ()).unwrap();
        let mut rows: Vec<Row> = Vec::new();
        let statement = db.prepare(text).unwrap();
        let each = |row: RowRef<'_>| {
            assert_eq!(row.columns(), whole.columns);
            rows.push(row.values().to_vec());
            Ok(())
        };
        statement.for_each(Params::default(), each).unwrap();
        assert_eq!(rows, whole.rows, "{text}");
    }
    // What stops the walk comes back as it is, and nothing more is read.
    let mut seen = 0;
    let stop = |_: RowRef<'_>| {
        seen += 1;
        if seen == 5 { db.query("SELECT nothing FROM items", ()).map(|_| ()) } else { Ok(()) }
    };
    let error = db.prepare("SELECT id FROM items").unwrap().for_each((), stop).unwrap_err();
    assert_eq!((error.code(), seen), ("unknown-name", 5));
}

#[test]
fn a_transaction_goes_with_its_handle() {
    let (db, _folder) = toy::coded();
    let count =
        |db: &Database| db.query("SELECT count(*) FROM items", ()).unwrap().rows[0][0].clone();
    let remove = db.prepare("DELETE FROM items WHERE id = ?").unwrap();
    let mut transaction = db.begin().unwrap();
    transaction.run(&remove, ["g0i0".into()]).unwrap();
    assert_eq!(transaction.query("SELECT id FROM items WHERE id = 'g0i0'", ()).unwrap().len(), 0);
    assert_eq!(count(&db), Value::Int(60), "others do not see it");
    drop(transaction);
    assert_eq!(count(&db), Value::Int(60));
    let mut transaction = db.begin().unwrap();
    transaction.run(&remove, ["g0i0".into()]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(count(&db), Value::Int(59));
    let mut transaction = db.begin().unwrap();
    transaction.execute("ROLLBACK", ()).unwrap();
    assert_eq!(transaction.execute("SHOW JOBS", ()).unwrap_err().code(), "no-transaction");
}

#[test]
fn a_snapshot_stays_where_it_is() {
    let (db, _folder) = toy::coded();
    let before = db.snapshot().unwrap();
    let ids = db.prepare("SELECT id FROM items").unwrap();
    db.execute("DELETE FROM items WHERE price > 50", ()).unwrap();
    assert_eq!(before.run(&ids, ()).unwrap().len(), 60);
    assert!(ids.query(()).unwrap().len() < 60);
    let mut walked = 0;
    let walk = |_: RowRef<'_>| {
        walked += 1;
        Ok(())
    };
    before.for_each(&ids, (), walk).unwrap();
    assert_eq!(walked, 60);
    for change in ["DELETE FROM items WHERE price > 50", "BEGIN", "TRAIN POLICY p"] {
        let error = before.query(change, ()).unwrap_err();
        assert!(["read-only", "unknown-name"].contains(&error.code()), "{change}: {error}");
    }
}

#[test]
fn a_poll_ends_what_runs() {
    use std::time::{Duration, Instant};

    let (db, _folder) = toy::coded();
    let mut session = db.session();
    let thread = std::thread::current().id();
    let begun = Instant::now();
    session.poll(move || {
        assert_eq!(std::thread::current().id(), thread, "asked where the statement runs");
        begun.elapsed() > Duration::from_millis(300)
    });
    session.execute("CREATE POLICY p USING decoder ON CODEBOOK full", ()).unwrap();
    let forever = "TRAIN POLICY p WITH (epochs = 100000, patience = 0)";
    let error = session.execute(forever, ()).unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    let left = db.query("SELECT state FROM jobs ORDER BY job DESC LIMIT 1", ()).unwrap();
    assert_eq!(left.rows[0][0].to_string(), "cancelled");
}
