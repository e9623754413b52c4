//! SIDs: every way to them gives the rows that a look at each item gives, and real ones of others come in and go out.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use sidql::Database;
use sidql_storage::{OpenOptions, Store, generations, items, sids};

use crate::support::beside::data;
use crate::support::toy::{first_column, rows, run};

/// Codes at each level.
const CODES: u16 = 5;

/// A database of items `i0` to `i299` with SIDs of four levels, some without one.
fn coded() -> (Database, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open_in_memory().unwrap();
    let (mut items, mut codes) = (String::new(), String::new());
    let mut state = 7_u64;
    for at in 0..300 {
        writeln!(items, "{{\"id\":\"i{at}\",\"price\":{}}}", at % 10).unwrap();
        if at % 20 == 19 {
            continue;
        }
        write!(codes, "i{at}\t").unwrap();
        for level in 0..4 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let code = (state >> 33) % u64::from(CODES);
            write!(codes, "{}{code}", if level == 0 { "" } else { " " }).unwrap();
        }
        codes.push('\n');
    }
    for (name, text) in [("items.jsonl", &items), ("codes.tsv", &codes)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(&db, &format!("COPY items FROM '{}'", path("items.jsonl")));
    run(&db, &format!("COPY codes FROM '{}' WITH (codebook = 'c')", path("codes.tsv")));
    (db, folder)
}

/// A level as it is typed; codes beyond those that there are occur too.
fn level(at: usize) -> impl Strategy<Value = String> {
    let letter = ["a", "b", "c", "d", "e"][at];
    prop_oneof![
        4 => (0..=CODES).prop_map(move |code| format!("{letter}{code}")),
        1 => (0..CODES, 0..CODES + 2).prop_map(move |(one, other)| {
            format!("{letter}{}..{letter}{}", one.min(other), one.max(other))
        }),
        1 => Just("*".to_owned()),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    (1..=5_usize).prop_flat_map(|levels| {
        let all: Vec<_> = (0..levels).map(level).collect();
        all.prop_map(|levels| levels.join("."))
    })
}

fn prefix() -> impl Strategy<Value = String> {
    prop::collection::vec(0..=CODES, 1..=5).prop_map(|codes| {
        let level = |(at, code)| format!("{}{code}", ["a", "b", "c", "d", "e"][at]);
        codes.into_iter().enumerate().map(level).collect::<Vec<_>>().join(".")
    })
}

fn predicate() -> impl Strategy<Value = String> {
    let side = prop::sample::select(vec!["sid", "prefix", "prefix('c')", "prefix(1)", "prefix(3)"]);
    let sign = prop::sample::select(vec!["<", "<=", ">", ">=", "=", "!="]);
    let one = prop_oneof![
        pattern().prop_map(|pattern| format!("prefix = {pattern}")),
        (side.clone(), pattern()).prop_map(|(side, pattern)| format!("{side} = {pattern}")),
        (side.clone(), sign, prefix()).prop_map(|(side, sign, sid)| format!("{side} {sign} {sid}")),
        (side.clone(), prefix(), prefix())
            .prop_map(|(side, from, to)| format!("{side} BETWEEN {from} AND {to}")),
        (side, prop::collection::vec(pattern(), 1..4))
            .prop_map(|(side, all)| format!("{side} IN ({})", all.join(", "))),
        pattern().prop_map(|pattern| format!("is_under(sid, <{}>)", tagged(&pattern))),
        prefix().prop_map(|sid| format!("lcp(sid, '{sid}') >= 2")),
        Just("price < 5".to_owned()),
        Just("id IN ('i1', 'i2', 'i19')".to_owned()),
    ];
    one.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} AND {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} OR {r})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    })
}

/// A pattern as tagged levels, without the first and the last mark.
fn tagged(pattern: &str) -> String {
    let levels = pattern.replace("..", "~");
    let mark = |code: &str| match code.split_at(1) {
        ("*", "") => "*".to_owned(),
        (letter, code) => format!("{letter}_{code}"),
    };
    let level = |level: &str| level.split('~').map(mark).collect::<Vec<_>>().join("..");
    levels.split('.').map(level).collect::<Vec<_>>().join("><")
}

#[test]
fn every_path_gives_what_a_scan_gives() {
    let (db, _folder) = coded();
    let mut through_an_index = 0;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..600 {
        let predicate = predicate().new_tree(&mut runner).unwrap().current();
        let plan =
            first_column(&rows(&db, &format!("EXPLAIN SELECT id FROM items WHERE {predicate}")));
        through_an_index += usize::from(!plan.last().unwrap().contains("scan items"));
        let ask = |filter: &str| {
            first_column(&rows(&db, &format!("SELECT id FROM items WHERE {filter} ORDER BY id")))
        };
        // No path leads through a NOT, so that each item is looked at.
        let scanned = ask(&format!("NOT (NOT ({predicate}))"));
        assert_eq!(ask(&predicate), scanned, "{predicate}\n{plan:?}");

        let count = |filter: &str| rows(&db, &format!("SELECT count(*) FROM items WHERE {filter}"));
        assert_eq!(
            count(&predicate).rows[0][0].as_i64(),
            Some(scanned.len() as i64),
            "{predicate}"
        );
        let group = |filter: &str| {
            let counts = "SELECT prefix(2), count(*), count(sid) FROM items";
            rows(&db, &format!("{counts} WHERE {filter} GROUP BY prefix(2) ORDER BY prefix(2)"))
        };
        assert_eq!(group(&predicate), group(&format!("NOT (NOT ({predicate}))")), "{predicate}");
    }
    assert!(through_an_index > 200, "{through_an_index} of 600 through an index");
    // Items without a SID are a group too.
    let groups = rows(&db, "SELECT prefix(1), count(*), count(sid) FROM items GROUP BY prefix(1)");
    let total: i64 = groups.rows.iter().filter_map(|row| row[1].as_i64()).sum();
    assert_eq!((total, groups.len()), (300, usize::from(CODES) + 1));
    let last = groups.rows.last().unwrap();
    assert!(last[0].is_null() && last[1].as_i64() == Some(15) && last[2].as_i64() == Some(0));
}

#[test]
fn every_path_to_a_node_gives_what_the_whole_tree_gives() {
    let (db, _folder) = coded();
    let condition = prop_oneof![
        pattern().prop_map(|pattern| format!("prefix = {pattern}")),
        pattern().prop_map(|pattern| format!("parent = {pattern}")),
        (prop::sample::select(vec!["<", "<=", ">", ">="]), prefix())
            .prop_map(|(sign, sid)| format!("prefix {sign} {sid}")),
        (prop::sample::select(vec!["<", "<=", ">", ">=", "=", "!="]), 0..6)
            .prop_map(|(sign, level)| format!("level {sign} {level}")),
        pattern().prop_map(|pattern| format!("is_under(prefix, <{}>)", tagged(&pattern))),
        prefix().prop_map(|sid| format!("is_under('{sid}', prefix)")),
        Just("parent IS NULL".to_owned()),
        Just("items > 3".to_owned()),
    ];
    let condition = condition.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} AND {r})")),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| format!("({l} OR {r})")),
            inner.prop_map(|inner| format!("NOT ({inner})")),
        ]
    });
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..300 {
        let condition = condition.new_tree(&mut runner).unwrap().current();
        let ask = |filter: &str| rows(&db, &format!("SELECT * FROM codes WHERE {filter}"));
        // Without the rows, which would be long.
        assert!(ask(&condition) == ask(&format!("NOT (NOT ({condition}))")), "{condition}");
    }
}

#[test]
fn a_policy_speaks_sids_that_were_made_elsewhere() {
    let (db, _folder) = coded();
    for user in 0..20 {
        let bought =
            (0..5).map(|step| format!("{{user: 'u{user}', item: 'i{}'}}", user * 7 + step));
        let bought = bought.collect::<Vec<_>>().join(", ");
        run(&db, &format!("INSERT INTO interactions {bought}"));
    }
    let shape = "WITH (width = 16, hidden = 16, layers = 1, heads = 2)";
    run(&db, &format!("CREATE POLICY p USING decoder ON CODEBOOK c {shape}"));
    run(&db, "TRAIN POLICY p USING sft WITH (epochs = 1, batch = 16)");
    let found = rows(&db, "RECOMMEND 3 AFTER ('i1') USING p WHERE prefix = a1");
    assert_eq!(found.len(), 3);
    for at in 0..3 {
        let sid = found.get(at, "sid").unwrap().to_string();
        assert!(sid.starts_with("a1."), "{sid}");
    }
}

/// The SIDs of others, as they published them, come in, are measured, are found, and go out as they came.
#[test]
fn sids_of_others_come_in_and_go_out() {
    let wanted = [
        ("beauty", 14),
        ("instruments", 4),
        ("scientific", 10),
        ("mor_industrial", 1),
        ("mor_office", 1),
    ];
    for (name, files) in wanted {
        let Some(folder) = data(name) else { continue };
        let db = Database::open_in_memory().unwrap();
        run(&db, &format!("COPY items FROM '{}'", folder.join("items.jsonl.gz").display()));
        let mut found = 0;
        let mut paths: Vec<_> = std::fs::read_dir(folder.join("sids"))
            .unwrap()
            .map(|one| one.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            found += 1;
            let book = path.file_name().unwrap().to_str().unwrap().replace(".tsv.gz", "");
            run(&db, &format!("COPY codes FROM '{}' WITH (codebook = '{book}')", path.display()));
            let lines = text(&path);
            let count = lines.lines().count() as i64;
            let coded = rows(&db, &format!("SELECT count(sid('{book}')) FROM items"));
            assert_eq!(coded.rows[0][0].as_i64(), Some(count), "{name}/{book}");
            let health = rows(&db, &format!("DESCRIBE CODEBOOK {book}"));
            assert!(health.rows.iter().any(|row| row[0].to_string() == "level a"), "{book}");
            let out = tempfile::tempdir().unwrap();
            let (tsv, json) = (out.path().join("out.tsv"), out.path().join("out.json"));
            for file in [&tsv, &json] {
                run(&db, &format!("COPY codes TO '{}' WITH (codebook = '{book}')", file.display()));
            }
            assert_eq!(text(&tsv), lines, "{name}/{book} as it came");
            run(&db, &format!("COPY codes FROM '{}' WITH (codebook = '{book}')", json.display()));
            let changed =
                format!("SELECT count(*) FROM items WHERE sid('{book}') != sid('{book}', 2)");
            assert_eq!(rows(&db, &changed).rows[0][0].as_i64(), Some(0), "{name}/{book} by JSON");
            run(&db, &format!("DROP CODEBOOK {book}"));
        }
        assert_eq!(found, files, "{name}");
        assert!(db.execute("VERIFY", ()).is_ok());
    }
}

/// The text of a file, decompressed.
fn text(path: &std::path::Path) -> String {
    use std::io::Read as _;
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    text
}

/// What LETTER's largest prefixes of Beauty mean.
#[test]
fn a_prefix_says_what_it_means() {
    let Some(folder) = data("beauty") else { return };
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", folder.join("items.jsonl.gz").display()));
    let codes = folder.join("sids/letter.tsv.gz");
    run(&db, &format!("COPY codes FROM '{}' WITH (codebook = 'letter')", codes.display()));
    let fact = |prefix: &str, wanted: &str| {
        let facts = rows(&db, &format!("DESCRIBE PREFIX {prefix} IN letter"));
        let found = facts.rows.iter().find(|row| row[0].to_string() == wanted);
        found.unwrap_or_else(|| panic!("no {wanted} of {prefix}")).clone()[1].to_string()
    };
    // Nail polish, by title, category and maker; stamping plates are a part of it.
    assert!(fact("a183", "terms").contains("nail"), "{}", fact("a183", "terms"));
    assert!(fact("a183", "categories").starts_with("Nail Polish"));
    assert!(!fact("a183", "categories").contains("Beauty"), "what all have tells nothing");
    assert!(fact("a183", "brand").contains("OPI"));
    assert!(fact("a183", "child a183.b191").contains("stamping"));
    assert!(fact("a183.b191", "terms").contains("image plate"));
}

#[test]
fn the_sid_index_loses_no_item_without_a_sid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let words = ["ball", "tent", "shoe", "lamp", "rope"];
    let flat = {
        let db = Database::open(&path).unwrap();
        for at in 0..40 {
            let (one, other) = (words[at % 5], words[at / 5 % 5]);
            run(&db, &format!("INSERT INTO items {{id: 'i{at}', title: '{one} {other} {at}'}}"));
        }
        run(&db, "ENRICH items BY text");
        run(&db, "CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 4)");
        run(&db, "REBUILD CODEBOOK full");
        first_column(&rows(&db, "SELECT id FROM items NEAR 'i0' LIMIT 3"))
    };
    // The nearest item and one that is not among them.
    {
        let store = Store::open(&path, &OpenOptions::default()).unwrap();
        let write = store.write().unwrap();
        let generation = generations::all(&write).unwrap()[0].number;
        for id in [flat[0].as_str(), "i39"] {
            let item = items::number(&write, id).unwrap().unwrap();
            assert!(sids::remove(&write, generation, item).unwrap().is_some());
        }
        write.commit().unwrap();
    }
    let db = Database::open(&path).unwrap();
    for (what, limit) in [("'i0'", 3), ("'i0'", 100), ("TEXT 'tent lamp'", 5)] {
        let near = format!("SELECT id FROM items NEAR {what} LIMIT {limit}");
        let exact = first_column(&rows(&db, &near));
        let whole = format!("{near} WITH (index = 'sid')");
        assert_eq!(first_column(&rows(&db, &whole)), exact, "{near}");
        let least = format!("{near} WITH (index = 'sid', nprobe = 1, rerank = 1)");
        let found = first_column(&rows(&db, &least));
        assert_eq!(found.len(), exact.len(), "{near}");
        if what == "'i0'" {
            assert_eq!(found[0], flat[0]);
        }
    }
}
