//! Rows that go in without a statement.

use sidql::{Database, Rows, Value};

use crate::support::toy::first_column;

fn items() -> Rows {
    let mut rows = Rows::new(["id", "title", "price", "tags"]);
    rows.push(vec!["b1".into(), "Ball".into(), 12.5.into(), vec!["a".to_owned()].into()]);
    rows.push(vec![7.into(), Value::Null, Value::Null, Value::List(vec![])]);
    rows
}

#[test]
fn rows_are_inserted_as_a_statement_does() {
    let db = Database::open_in_memory().unwrap();
    assert_eq!(
        db.insert("items", items()).unwrap(),
        sidql::Outcome::Done { message: "2 items".into(), changed: Some(2) }
    );
    let found = db.query("SELECT id, title, price, tags FROM items ORDER BY id", ()).unwrap();
    assert_eq!(found.rows[1], items().rows[0]);
    assert_eq!(first_column(&found), ["7", "b1"]);
    let mut interactions = Rows::new(["user", "item"]);
    interactions.push(vec!["u1".into(), "b1".into()]);
    interactions.push(vec!["u1".into(), "7".into()]);
    db.insert("interactions", interactions).unwrap();
    let found = db.query("SELECT item FROM interactions ORDER BY time", ()).unwrap();
    assert_eq!(first_column(&found), ["b1", "7"]);
}

#[test]
fn bad_rows_change_nothing_and_the_error_shows_the_column() {
    let db = Database::open_in_memory().unwrap();
    let mut rows = items();
    rows.rows[1][0] = Value::Null;
    assert_eq!(db.insert("items", rows.clone()).unwrap_err().code(), "missing-id");
    rows.rows[1][0] = "b1".into();
    assert_eq!(db.insert("items", rows.clone()).unwrap_err().code(), "duplicate-id");
    rows.rows[1] = vec!["b2".into(), Value::Null, "cheap".into(), Value::Null];
    let error = db.insert("items", rows).unwrap_err();
    assert_eq!(error.code(), "type-mismatch");
    let shown = error.to_string();
    assert!(shown.contains("INSERT INTO items {id, title, price, tags}"), "{shown}");
    assert!(shown.contains("                              ^^^^^"), "{shown}");
    assert!(db.insert("itmes", items()).unwrap_err().to_string().contains("did you mean `items`?"));
    assert!(db.query("SELECT id FROM items", ()).unwrap().is_empty());
}

#[test]
fn a_session_inserts_in_its_transaction() {
    let db = Database::open_in_memory().unwrap();
    let mut session = db.session();
    session.execute("BEGIN", ()).unwrap();
    session.insert("items", items()).unwrap();
    session.execute("ROLLBACK", ()).unwrap();
    assert!(db.query("SELECT id FROM items", ()).unwrap().is_empty());
}

#[cfg(feature = "arrow")]
#[test]
fn record_batches_go_out_and_in() {
    let (db, _folder) = crate::support::toy::coded();
    let text = "SELECT id, title, brand, price, categories, sid AS code FROM items ORDER BY id";
    let rows = db.query(text, ()).unwrap();
    let batch = rows.to_arrow().unwrap();
    assert_eq!(batch.num_rows(), rows.len());
    let other = Database::open_in_memory().unwrap();
    other.insert_arrow("items", &batch).unwrap();
    let back = other.query(&text.replace("sid AS code", "code"), ()).unwrap();
    // SIDs are texts in Arrow, and all else is as it was.
    let texts = |rows: &Rows| {
        rows.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    };
    let (went, came): (Vec<Vec<String>>, Vec<Vec<String>>) = (texts(&rows), texts(&back));
    assert_eq!(went, came);
}
