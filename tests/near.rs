//! Neighbours: what the choice of an index, what is held in memory and what changed since may never do to an answer.

use std::collections::HashSet;
use std::path::Path;

use sidql::{Database, Note, Rows};
use sidql_storage::{
    FieldType, FieldValue, Index, Item, OpenOptions, Space, Store, Write, blobs, changes,
    embeddings, fields, indexes, items, spaces,
};

use crate::support::toy::{code, coded, fill, first_column, rows, run};

/// The one note of a NEAR: requested, returned, scanned, mode, why.
fn note(rows: &Rows) -> (usize, usize, usize, &'static str, String) {
    let [Note::Near { requested, returned, scanned, mode, why }] = rows.notes.as_slice() else {
        panic!("not one note of NEAR: {:?}", rows.notes)
    };
    (*requested, *returned, *scanned, mode, why.clone())
}

#[test]
fn what_near_did_is_noted() {
    let (db, _folder) = coded();
    let near = |rest: &str| rows(&db, &format!("SELECT id FROM items NEAR 'g0i0' {rest}"));
    let found = near("LIMIT 3");
    assert_eq!(note(&found), (3, 3, 60, "flat", "60 vectors are soon compared".to_owned()));
    assert!(!found.notes[0].is_short());
    let (requested, returned, scanned, mode, _) = note(&near("WHERE price > 90 LIMIT 20 OFFSET 2"));
    assert_eq!((requested, returned, scanned, mode), (22, 7, 60, "flat"));
    let narrow = near("WHERE prefix = a0 LIMIT 3");
    let (_, _, scanned, mode, why) = note(&narrow);
    assert_eq!((mode, why.as_str()), ("flat", "the filter leaves 10 items"));
    assert!(scanned <= 10, "{scanned}");
    assert!(near("WHERE price > 90 LIMIT 20").notes[0].is_short());
    assert_eq!(note(&near("LIMIT 3 WITH (index = 'sid')")).3, "sid");
    assert_eq!(note(&rows(&db, "SELECT id FROM items NEAR a0.b1 LIMIT 3")).3, "sid");
    let said = near("LIMIT 3").notes[0].to_string();
    assert_eq!(
        said,
        "near: 3 requested, 3 returned, 60 vectors compared by flat: 60 vectors are soon compared"
    );
    assert!(rows(&db, "SELECT id FROM items LIMIT 3").notes.is_empty());
}

/// Neighbours of every kind with predicates of every selectivity.
fn answers(db: &Database, how: &str) -> Vec<Vec<String>> {
    asked(db, "id", how)
}

fn asked(db: &Database, column: &str, how: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for target in ["'g0i0'", "TEXT 'tent waterproof two person'"] {
        for rest in [
            "LIMIT 7",
            "WHERE price > 50 LIMIT 7",
            "WHERE brand IS NULL LIMIT 30",
            "WHERE id LIKE 'g3%' LIMIT 4",
            "WHERE prefix IN (a0, a3) AND stock > 2 LIMIT 5 OFFSET 1",
            "WHERE price > 1000 LIMIT 5",
            "WHERE score > 0.2 LIMIT 40",
        ] {
            let statement = format!("SELECT {column} FROM items NEAR {target} {rest} {how}");
            all.push(first_column(&rows(db, &statement)));
        }
    }
    all
}

#[test]
fn a_budget_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let db = Database::open(&path).unwrap();
    fill(&db, folder.path());
    code(&db);
    let expected = answers(&db, "");
    assert!(expected.iter().any(|rows| rows.len() == 7));
    assert_eq!(answers(&db, "WITH (index = 'flat')"), expected);
    // The second round finds what the first one left in memory.
    assert_eq!(answers(&db, ""), expected);
    db.close().unwrap();
    let db = Database::builder().vector_bytes(0).open(&path).unwrap();
    assert_eq!(answers(&db, ""), expected);
    let sid = "WITH (index = 'sid', nprobe = 64)";
    for _ in 0..2 {
        assert_eq!(answers(&db, sid), expected);
    }
}

#[test]
fn as_many_come_as_qualify_whatever_is_searched() {
    let (db, _folder) = coded();
    for filter in ["price > 90", "prefix = a2 AND price > 50", "stock IN (3, 4)", "id = 'g4i4'"] {
        let qualify = first_column(&rows(&db, &format!("SELECT id FROM items WHERE {filter}")));
        for how in ["", "WITH (index = 'sid', nprobe = 1, rerank = 1)"] {
            let statement =
                format!("SELECT id FROM items NEAR 'g0i0' WHERE {filter} LIMIT 60 {how}");
            let found: HashSet<String> = first_column(&rows(&db, &statement)).into_iter().collect();
            let wanted: HashSet<String> =
                qualify.iter().filter(|id| *id != "g0i0").cloned().collect();
            assert_eq!(found, wanted, "{statement}");
        }
    }
}

/// A file of many items with made vectors: item n has the field `n`, and its vector turns with n.
fn large(path: &Path, count: u64) {
    const DIM: u32 = 4;
    let store = Store::open(path, &OpenOptions { create: true, ..OpenOptions::default() }).unwrap();
    let write = store.write().unwrap();
    let number = fields::add(&write, "n", FieldType::Int).unwrap();
    let row =
        |n: u64| Item { id: format!("i{n}"), fields: vec![(number, FieldValue::Int(n as i64))] };
    for n in 0..count {
        items::insert(&write, &row(n)).unwrap();
    }
    let space = Space {
        name: "text".into(),
        dim: DIM,
        encoder: "hash".into(),
        config: r#"{"stage":"text","parts":null,"options":{},"made_from":[]}"#.into(),
        source_hash: 1,
        ..Space::default()
    };
    spaces::create(&write, &space).unwrap();
    let vector = |n: u64| {
        let (a, b) = (n as f32 * 0.37, n as f32 * 0.011);
        [a.sin(), a.cos(), b.sin(), b.cos()]
    };
    embeddings::put_many(&write, "text", (0..count).map(|n| (n, vector(n)))).unwrap();
    write.commit().unwrap();
    store.close().unwrap();
}

#[test]
fn size_and_filter_choose() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.sidql");
    large(&path, 60_000);
    let db = Database::open(&path).unwrap();
    let plan = |rest: &str| {
        let statement = format!("EXPLAIN SELECT id FROM items NEAR 'i7' {rest}");
        first_column(&rows(&db, &statement)).join("\n")
    };
    assert!(plan("LIMIT 5").contains("flat, exact; there is no index on the space"));
    assert!(plan("WHERE id IN ('i1', 'i2') LIMIT 5").contains("the filter leaves at most 2 items"));
    let flat = |filter: &str| {
        let how = "LIMIT 5 WITH (index = 'flat')";
        first_column(&rows(&db, &format!("SELECT id FROM items NEAR 'i7' {filter} {how}")))
    };
    let filters = ["", "WHERE n < 30000", "WHERE n < 3000", "WHERE n < 20", "WHERE n < 3"];
    let exact: Vec<_> = filters.iter().map(|filter| flat(filter)).collect();
    assert_eq!(exact.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5, 5, 5, 3]);
    run(&db, "CREATE CODEBOOK c USING rq_kmeans ON text WITH (levels = 2, codes = 64)");
    run(&db, "REBUILD CODEBOOK c");
    assert!(
        plan("LIMIT 5")
            .contains("index sid of c, approximate: nprobe 64, rerank 200; there is no index")
    );
    for (filter, exact) in filters.iter().zip(&exact) {
        let statement = format!("SELECT id FROM items NEAR 'i7' {filter} LIMIT 5");
        assert_eq!(&first_column(&rows(&db, &statement)), exact, "{statement}");
    }
    run(&db, "CREATE INDEX fast ON text USING faiss WITH (factory = 'IVF16,Flat', nprobe = 8)");
    assert!(plan("LIMIT 5").contains("index sid of c"));
    if !sidql::WITH_FAISS {
        let error = db.execute("REBUILD INDEX fast", ()).unwrap_err();
        assert_eq!(error.code(), "no-faiss");
        return;
    }
    run(&db, "REBUILD INDEX fast");
    assert!(plan("LIMIT 5").contains("index fast of kind faiss, approximate; a current index"));
    for (filter, exact) in filters.iter().zip(&exact) {
        let statement = format!("SELECT id FROM items NEAR 'i7' {filter} LIMIT 5");
        assert_eq!(&first_column(&rows(&db, &statement)), exact, "{statement}");
    }
}

#[test]
fn a_predicate_that_is_asked_often_is_remembered_until_the_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.sidql");
    large(&path, 60_000);
    let db = Database::open(&path).unwrap();
    run(&db, "CREATE CODEBOOK c USING rq_kmeans ON text WITH (levels = 2, codes = 64)");
    run(&db, "REBUILD CODEBOOK c");
    let near = |filter: &str, how: &str| {
        let found =
            rows(&db, &format!("SELECT id FROM items NEAR 'i7' WHERE {filter} LIMIT 5 {how}"));
        (first_column(&found), note(&found))
    };
    let (flat, wide) =
        ("WITH (index = 'flat')", "WITH (index = 'sid', nprobe = 4096, rerank = 40000)");
    for (filter, many) in [("n < 30000", true), ("n < 3000", false)] {
        let (exact, first) = near(filter, flat);
        assert_eq!(first.4, "as the statement says");
        let mut asked = 1;
        while !near(filter, flat).1.4.contains("the filter leaves") {
            asked += 1;
            assert!(asked < 10, "{filter} is asked of all vectors again and again");
        }
        for how in [flat, wide, ""] {
            let (found, (requested, returned, scanned, mode, why)) = near(filter, how);
            assert_eq!((&found, requested, returned), (&exact, 5, 5), "{filter} {how}");
            assert!(scanned <= 30_000, "{filter} {how}: {scanned}");
            assert!(why.contains("the filter leaves"), "{why}");
            assert_eq!(mode, if many && how != flat { "sid" } else { "flat" });
        }
        // What is accepted now is not what was accepted then.
        let gone = exact[0].trim_start_matches('i');
        run(&db, &format!("UPDATE items SET n = 70000 WHERE id = 'i{gone}'"));
        for how in [flat, wide, ""] {
            let (found, _) = near(filter, how);
            assert_eq!((&found[..4], found.len()), (&exact[1..], 5), "{filter} {how}");
        }
        run(&db, &format!("UPDATE items SET n = {gone} WHERE id = 'i{gone}'"));
    }
}

/// Makes a stored index seem built, of bytes that no library wrote.
fn forge(write: &Write, name: &str) {
    let index = indexes::get(write, name).unwrap().unwrap();
    let space = spaces::must(write, &index.space).unwrap();
    let forged = Index {
        artefact: Some(blobs::put(write, b"of another build").unwrap()),
        space_number: space.number,
        revision: changes::revision(write, &space).unwrap(),
        rows: space.count,
        built_ms: Some(1),
        ..index
    };
    indexes::update(write, &forged).unwrap();
}

#[test]
fn an_index_that_cannot_be_read_keeps_nothing_from_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let db = Database::open(&path).unwrap();
    fill(&db, folder.path());
    code(&db);
    run(&db, "CREATE INDEX fast ON text USING faiss");
    let expected = answers(&db, "");
    db.close().unwrap();
    let store = Store::open(&path, &OpenOptions::default()).unwrap();
    let write = store.write().unwrap();
    forge(&write, "fast");
    write.commit().unwrap();
    store.close().unwrap();
    for read_only in [false, true] {
        let db = Database::builder().read_only(read_only).open(&path).unwrap();
        assert_eq!(answers(&db, "WITH (index = 'fast')"), expected);
        let found = rows(&db, "SELECT id FROM items NEAR 'g0i0' LIMIT 3 WITH (index = 'fast')");
        let (.., mode, why) = note(&found);
        assert_eq!(mode, "flat");
        let reason = if sidql::WITH_FAISS { "cannot be used" } else { "which this build has not" };
        assert!(why.contains("index `fast`") && why.contains(reason), "{why}");
        let shown = rows(&db, "SELECT state FROM indexes");
        let state = if sidql::WITH_FAISS { "current" } else { "not in this build" };
        assert_eq!(first_column(&shown), [state]);
        db.close().unwrap();
    }
}

#[cfg(feature = "faiss")]
mod faiss {
    use super::*;

    /// The cosines that are found: of items at equal cosines an index may name others than `flat` does.
    fn cosines(db: &Database, how: &str) -> Vec<Vec<String>> {
        asked(db, "round(score, 4)", how)
    }

    fn indexed(factory: &str) -> (Database, tempfile::TempDir) {
        let (db, folder) = coded();
        run(&db, &format!("CREATE INDEX fast ON text USING faiss WITH (factory = '{factory}')"));
        run(&db, "REBUILD INDEX fast");
        (db, folder)
    }

    #[test]
    fn an_index_finds_what_is_there_and_what_came_since() {
        for factory in ["Flat", "HNSW32", "IVF1,Flat", "SQ8"] {
            let (db, _folder) = indexed(factory);
            let same = |when: &str| {
                let exact = cosines(&db, "WITH (index = 'flat')");
                assert_eq!(cosines(&db, "WITH (index = 'fast')"), exact, "{factory} {when}");
            };
            same("at first");
            let found = rows(&db, "SELECT id FROM items NEAR 'g0i0' LIMIT 3 WITH (index = 'fast')");
            let (.., mode, why) = note(&found);
            assert_eq!((mode, why.as_str()), ("faiss", "as the statement says"));
            run(
                &db,
                "INSERT INTO items {id: 'late', title: 'tent waterproof two person', price: 51}",
            );
            same("after an insert");
            let near = "SELECT id FROM items NEAR TEXT 'tent waterproof two person' LIMIT 1";
            let first = |rest: &str| first_column(&rows(&db, &format!("{near} {rest}")));
            assert_eq!(first("WITH (index = 'fast')"), ["late"]);
            run(&db, "DELETE FROM items WHERE id = 'g0i3'");
            same("after a deletion");
            run(&db, "UPDATE items SET title = 'soccer ball training match' WHERE id = 'g3i3'");
            same("after an update");
            assert_eq!(first_column(&rows(&db, "SELECT state FROM indexes")), ["behind"]);
            run(&db, "REBUILD INDEX fast");
            same("when built anew");
            assert_eq!(first_column(&rows(&db, "SELECT state FROM indexes")), ["current"]);
        }
    }

    #[test]
    fn a_transaction_sees_its_own_changes() {
        let (db, _folder) = indexed("HNSW32");
        let mut session = db.session();
        let near = "SELECT id FROM items NEAR 'g0i0' LIMIT 60 WITH (index = 'fast')";
        let ids = |rows: sidql::Outcome| match rows {
            sidql::Outcome::Rows(rows) => first_column(&rows),
            other => panic!("{other:?}"),
        };
        session.execute("BEGIN", ()).unwrap();
        session.execute("DELETE FROM items WHERE id = 'g0i3'", ()).unwrap();
        let inside = ids(session.execute(near, ()).unwrap());
        assert!(!inside.contains(&"g0i3".to_owned()) && inside.len() == 58);
        session.execute("ROLLBACK", ()).unwrap();
        let after = ids(session.execute(near, ()).unwrap());
        assert!(after.contains(&"g0i3".to_owned()) && after.len() == 59);
    }

    #[test]
    fn an_index_survives_reopening_and_a_space_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.sidql");
        let db = Database::open(&path).unwrap();
        fill(&db, folder.path());
        code(&db);
        run(&db, "CREATE INDEX fast ON text USING faiss");
        run(&db, "REBUILD INDEX fast");
        db.close().unwrap();
        let db = Database::open(&path).unwrap();
        assert_eq!(cosines(&db, "WITH (index = 'fast')"), cosines(&db, "WITH (index = 'flat')"));
        run(&db, "VERIFY");
        run(&db, "ENRICH items BY text WITH (projection = 'none', dim = 300)");
        let shown = rows(&db, "SELECT name, state FROM indexes");
        assert_eq!(shown.rows[0][1].to_string(), "outdated");
        assert_eq!(cosines(&db, "WITH (index = 'fast')"), cosines(&db, "WITH (index = 'flat')"));
        run(&db, "REBUILD INDEX fast");
        let found = rows(&db, "SELECT id FROM items NEAR 'g0i0' LIMIT 3 WITH (index = 'fast')");
        assert_eq!(note(&found).3, "faiss");
        run(&db, "DROP INDEX fast");
        assert!(rows(&db, "SHOW INDEXES").is_empty());
    }

    #[test]
    fn a_build_that_faiss_refuses_says_so_and_leaves_the_old_one() {
        let (db, _folder) = indexed("HNSW32");
        run(&db, "CREATE INDEX wide ON text USING faiss WITH (factory = 'IVF1024,Flat')");
        let error = db.execute("REBUILD INDEX wide", ()).unwrap_err();
        assert_eq!(error.code(), "faiss");
        assert!(error.to_string().contains("1024"), "{error}");
        let shown = rows(&db, "SELECT name, state FROM indexes ORDER BY name");
        let states: Vec<String> = shown.rows.iter().map(|row| row[1].to_string()).collect();
        assert_eq!(states, ["current", "not built"]);
    }
}
