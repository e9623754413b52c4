//! Generations beside each other: alignment, what is in use, drift, readers that began before, and random writes.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sidql::{Database, Outcome, Value};

use crate::support::toy::{coded, rows, run};

/// What a statement says.
fn say(db: &Database, statement: &str) -> String {
    match run(db, statement) {
        Outcome::Done { message, .. } => message,
        other => panic!("{statement}: {other:?}"),
    }
}

/// The value of a property of the published generation.
fn fact(db: &Database, property: &str) -> Option<String> {
    let facts = rows(db, "DESCRIBE CODEBOOK full");
    let found = facts.rows.iter().find(|row| row[0] == property.into());
    found.map(|row| row[1].to_string())
}

/// Items of six words each out of 400, in twenty themes; the same for the same numbers.
fn themed(items: std::ops::Range<u64>) -> String {
    let lines = items.map(|item| {
        let mut state = item.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151;
        let mut word = |among: u64, from: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            format!("w{}", from + (state >> 33) % among)
        };
        let theme = item % 20;
        let mut title: Vec<String> = (0..4).map(|_| word(8, 1000 + theme * 8)).collect();
        title.extend((0..2).map(|_| word(40, 0)));
        format!("{{\"id\": \"i{item}\", \"title\": \"{}\"}}\n", title.join(" "))
    });
    lines.collect::<Vec<_>>().concat()
}

/// A database with 1,500 themed items in a codebook of 2 levels of 32 codes.
fn themed_db() -> (Database, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.jsonl");
    std::fs::write(&file, themed(0..1500)).unwrap();
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", file.display()));
    run(&db, "ENRICH items BY text WITH (projection = 'none')");
    run(&db, "CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 64)");
    run(&db, "REBUILD CODEBOOK full");
    (db, folder)
}

#[test]
fn an_aligned_rebuild_keeps_more_than_another() {
    let (db, folder) = themed_db();
    let more = folder.path().join("more.jsonl");
    std::fs::write(&more, themed(1500..1575)).unwrap();
    run(&db, &format!("COPY items FROM '{}'", more.display()));
    run(&db, "REBUILD CODEBOOK full WITH (seed = 7)");
    run(&db, "REBUILD CODEBOOK full WITH (seed = 7, align_to = 1)");
    let same = |generation: u32| {
        let compared = rows(
            &db,
            &format!("COMPARE CODEBOOK full GENERATION 1 WITH full GENERATION {generation}"),
        );
        let shares = compared.rows.iter().map(|row| row[5].as_f64().unwrap());
        (shares.collect::<Vec<f64>>(), compared)
    };
    let (plain, _) = same(2);
    let (aligned, compared) = same(3);
    assert!(aligned[0] > 0.5 && aligned[0] > plain[0] + 0.3, "{aligned:?} {plain:?}");
    assert!(aligned[1] > plain[1] + 0.05, "{aligned:?} {plain:?}");
    assert_eq!(compared.get(0, "items").unwrap().as_i64(), Some(1575));
    // The report of the build says the same.
    let kept = rows(&db, "DESCRIBE CODEBOOK full GENERATION 3");
    let kept = kept.rows.iter().find(|row| row[0] == "kept of generation 1".into()).unwrap();
    let same = compared.get(1, "same").unwrap().to_string();
    assert!(kept[1].to_string().replace(',', "").starts_with(&same), "{kept:?} {same}");
}

#[test]
fn what_is_far_outside_is_told_and_much_of_it_advises_a_rebuild() {
    let (db, folder) = themed_db();
    let said = say(&db, "INSERT INTO items {id: 'like', title: 'w1000 w1001 w1002 w1003 w4 w5'}");
    assert!(!said.contains("outside"), "{said}");
    let far = "zither accordion bassoon marimba oboe";
    let said = say(&db, &format!("INSERT INTO items {{id: 'far', title: '{far}'}}"));
    assert!(said.contains("1 item lies far outside codebook `full`"), "{said}");
    let said = say(&db, "UPDATE items SET title = 'tuba cello viola harp lute' WHERE id = 'like'");
    assert!(said.contains("1 item lies far outside codebook `full`"), "{said}");
    let most = rows(&db, "SELECT id FROM items ORDER BY residual(sid) DESC LIMIT 2");
    let mut ids: Vec<String> = most.rows.iter().map(|row| row[0].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["far", "like"]);
    assert_eq!(fact(&db, "advice"), None, "two items are no drift");
    let strange: Vec<String> = (0..150)
        .map(|at| format!("{{\"id\": \"s{at}\", \"title\": \"x{at} y{at} z{at} q{at}\"}}\n"))
        .collect();
    let file = folder.path().join("strange.jsonl");
    std::fs::write(&file, strange.concat()).unwrap();
    run(&db, &format!("COPY items FROM '{}'", file.display()));
    let advice = fact(&db, "advice").unwrap();
    assert!(
        advice.starts_with("REBUILD CODEBOOK full; ") && advice.contains("far out"),
        "{advice}"
    );
    run(&db, "REBUILD CODEBOOK full WITH (publish = true)");
    assert_eq!(fact(&db, "advice"), None);
    run(&db, "DELETE FROM items WHERE title LIKE '%w10%'");
    assert!(fact(&db, "advice").unwrap().contains("of the catalogue"));
}

#[test]
fn a_generation_in_use_is_not_dropped() {
    let (db, _folder) = coded();
    run(&db, "CREATE POLICY p USING decoder ON CODEBOOK full WITH (width = 32, heads = 2)");
    run(&db, "TRAIN POLICY p USING sft WITH (epochs = 1)");
    run(&db, "REBUILD CODEBOOK full WITH (seed = 1)");
    let fails = |statement: &str| db.execute(statement, ()).unwrap_err();
    let published = fails("DROP CODEBOOK full GENERATION 1");
    assert_eq!(published.code(), "generation-in-use");
    run(&db, "PUBLISH CODEBOOK full GENERATION 2");
    let bound = fails("DROP CODEBOOK full GENERATION 1");
    assert!(bound.message().contains("policy `p` answers on"), "{bound}");
    // It goes on answering there, and is shown as stale.
    assert_eq!(rows(&db, "RECOMMEND 3 FOR USER 'u1' USING p").len(), 3);
    assert_eq!(rows(&db, "SHOW POLICIES").get(0, "state").unwrap(), &"stale".into());
    let state = rows(&db, "DESCRIBE POLICY p");
    assert!(state.rows.contains(&vec!["state".into(), "stale".into()]));
    run(&db, "REBUILD CODEBOOK full WITH (seed = 2)");
    run(&db, "REBUILD CODEBOOK full WITH (seed = 3)");
    let training = "TRAIN POLICY p USING sft WITH (epochs = 500, patience = 0) IN BACKGROUND";
    let Outcome::Started { job } = run(&db, training) else { panic!() };
    let needed = fails("DROP CODEBOOK full GENERATION 3");
    assert!(needed.message().contains(&format!("needed by job {job}")), "{needed}");
    assert_eq!(say(&db, "DROP CODEBOOK full UNUSED"), "no generation of `full` to drop");
    run(&db, &format!("CANCEL JOB {job}"));
    assert_eq!(say(&db, "DROP CODEBOOK full UNUSED KEEP 1"), "generation 3 of `full` dropped");
    assert_eq!(say(&db, "DROP CODEBOOK full UNUSED"), "generation 4 of `full` dropped");
    let left = rows(&db, "SELECT generation FROM generations");
    assert_eq!(left.rows, [[Value::Int(1)], [Value::Int(2)]]);
}

#[test]
fn a_reader_that_began_before_ends_on_the_old_generation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let db = Database::open(&path).unwrap();
    crate::support::toy::fill(&db, folder.path());
    crate::support::toy::code(&db);
    let before = db.tree("full").unwrap();
    let first = before.children(&[]);
    run(&db, "REBUILD CODEBOOK full WITH (seed = 5, codes = 4, publish = true)");
    run(&db, "DROP CODEBOOK full UNUSED");
    assert_eq!(before.generation(), 1);
    assert_eq!(before.children(&[]), first);
    let ids: usize = first.iter().map(|(code, _)| before.ids(&[*code]).unwrap().count()).sum();
    assert_eq!(ids, 60);
    let after = db.tree("full").unwrap();
    assert_eq!(after.generation(), 2);
    assert!(after.children(&[]).len() <= 4);
    // One statement brings an older one back.
    run(&db, "REBUILD CODEBOOK full WITH (seed = 6, publish = true)");
    let newer = rows(&db, "SELECT id, sid FROM items");
    run(&db, "PUBLISH CODEBOOK full GENERATION 2");
    assert_eq!(db.tree("full").unwrap().generation(), 2);
    assert_eq!(rows(&db, "SELECT id, sid('full', 3) FROM items").rows, newer.rows);
}

/// A change of the catalogue.
#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u8),
    Retitle(u8, u8),
    Reprice(u8),
    Delete(u8),
    Rebuild(u8),
    RollBack(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), any::<u8>()).prop_map(|(item, title)| Step::Insert(item % 24, title)),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(item, title)| Step::Retitle(item % 24, title)),
        1 => any::<u8>().prop_map(|item| Step::Reprice(item % 24)),
        3 => any::<u8>().prop_map(|item| Step::Delete(item % 24)),
        1 => any::<u8>().prop_map(Step::Rebuild),
        1 => any::<u8>().prop_map(|item| Step::RollBack(item % 24)),
    ]
}

fn title(seed: u8) -> String {
    let words = ["soccer", "tennis", "tent", "helmet", "goggles", "shoes", "racket", "vented"];
    let word = |at: u8| words[usize::from(seed.rotate_left(u32::from(at) * 3) % 8)];
    format!("{} {} {} number {}", word(0), word(1), word(2), seed % 5)
}

/// Codes, prefixes, trie and counts say the same of every item, in every generation.
fn consistent(db: &Database, model: &BTreeMap<String, String>) {
    let ids: Vec<String> = model.keys().cloned().collect();
    let all = rows(db, "SELECT id, title FROM items ORDER BY id");
    assert_eq!(all.rows.iter().map(|row| row[0].to_string()).collect::<Vec<_>>(), ids);
    for generation in rows(db, "SELECT generation, items FROM generations").rows {
        let (ordinal, count) = (&generation[0], generation[1].as_i64().unwrap());
        let coded = rows(db, &format!("SELECT id, sid('full', {ordinal}) FROM items"));
        let sids: HashMap<String, String> =
            coded.rows.iter().map(|row| (row[0].to_string(), row[1].to_string())).collect();
        assert_eq!(count as usize, ids.len(), "generation {ordinal}");
        let mut by_sid: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for id in &ids {
            by_sid.entry(&sids[id]).or_default().push(id);
        }
        for (sid, ids) in by_sid {
            let found =
                rows(db, &format!("SELECT id FROM items WHERE sid('full', {ordinal}) = '{sid}'"));
            let mut found: Vec<String> = found.rows.iter().map(|row| row[0].to_string()).collect();
            found.sort();
            assert_eq!(found, ids, "{sid}");
            assert_eq!(ids.len(), 1, "{sid} is taken twice");
        }
    }
    let tree = db.tree("full").unwrap();
    for (code, count) in tree.children(&[]) {
        let listed = rows(db, &format!("SELECT count(*) FROM items WHERE prefix = a{code}"));
        assert_eq!(listed.rows[0][0].as_i64(), Some(count as i64));
    }
    assert_eq!(tree.count(&[]), ids.len());
    let Outcome::Done { message, .. } = run(db, "VERIFY") else { panic!("VERIFY found problems") };
    assert!(message.contains("no problem"), "{message}");
}

#[test]
fn random_writes_keep_codes_postings_and_trie_together() {
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..14);
    TestRunner::new(config)
        .run(&steps, |steps| {
            let (db, _folder) = coded();
            let mut model: BTreeMap<String, String> = rows(&db, "SELECT id, title FROM items")
                .rows
                .iter()
                .map(|row| (row[0].to_string(), row[1].to_string()))
                .collect();
            for step in steps {
                apply(&db, &mut model, &step);
                consistent(&db, &model);
            }
            Ok(())
        })
        .unwrap();
}

fn apply(db: &Database, model: &mut BTreeMap<String, String>, step: &Step) {
    match step {
        Step::Insert(item, seed) => {
            let (id, title) = (format!("n{item}"), title(*seed));
            let insert = format!("INSERT INTO items {{id: '{id}', title: '{title}'}}");
            let known = model.contains_key(&id);
            assert_eq!(db.execute(&insert, ()).is_err(), known, "{insert}");
            if !known {
                model.insert(id, title);
            }
        }
        Step::Retitle(item, seed) => {
            let (id, title) = (format!("n{item}"), title(*seed));
            run(db, &format!("UPDATE items SET title = '{title}' WHERE id = '{id}'"));
            model.entry(id).and_modify(|old| *old = title);
        }
        Step::Reprice(item) => {
            run(db, &format!("UPDATE items SET price = 1.5 WHERE id = 'g0i{}'", item % 10));
        }
        Step::Delete(item) => {
            let id = if item % 2 == 0 {
                format!("n{item}")
            } else {
                format!("g{}i{}", item % 6, item % 10)
            };
            run(db, &format!("DELETE FROM items WHERE id = '{id}'"));
            model.remove(&id);
        }
        Step::Rebuild(seed) => {
            let newest = rows(db, "SELECT max(generation) FROM generations").rows[0][0].clone();
            run(db, &format!("REBUILD CODEBOOK full WITH (seed = {seed}, align_to = {newest})"));
        }
        Step::RollBack(item) => {
            let mut session = db.session();
            session.execute("BEGIN", ()).unwrap();
            let insert = format!("INSERT INTO items {{id: 'gone{item}', title: 'soccer tent'}}");
            session.execute(&insert, ()).unwrap();
            session.execute("DELETE FROM items WHERE price < 30", ()).unwrap();
            session.execute("ROLLBACK", ()).unwrap();
        }
    }
}
