//! Every file that a past version wrote opens to what it held. Run with `SIDQL_MAKE_FIXTURE=1` to make
//! the fixture of the current format, once, when it is new.
#![allow(clippy::unwrap_used, reason = "tests")]

mod shop;

use std::path::{Path, PathBuf};

use sidql_storage::{
    Error, EvidenceKind, FORMAT, OpenOptions, Store, TABLES, View, changes, dump, embeddings,
    evidence, indexes, origins, spaces,
};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The file of a past format in a folder of its own, and what it holds.
fn past(name: &str) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("shop.sidql");
    std::fs::copy(fixture(name).join("shop.sidql"), &copy).unwrap();
    let expected = std::fs::read_to_string(fixture(name).join("shop.dump")).unwrap();
    (folder, copy, expected)
}

fn open(path: &Path, read_only: bool) -> Store {
    let options = OpenOptions { read_only, create: false, ..OpenOptions::default() };
    Store::open(path, &options).unwrap()
}

fn holds(store: &Store, expected: &str) {
    let read = store.read().unwrap();
    assert_eq!(dump::all(&read).unwrap(), expected);
    let report = store.verify(&read, &mut |_, _| ()).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

/// What a file of format 2 holds once it has format 3.
fn third(dump: &str) -> String {
    assert!(dump.contains("= format 2\n"));
    dump.replace("= format 2\n", "= format 3\n")
}

/// What a file of format 1 holds once it has format 3.
fn migrated(dump: &str) -> String {
    let before = "counters/interactions = 719\n";
    assert!(dump.contains("= format 1\n") && dump.contains(before));
    let born = "counters/origin = 1\ncounters/captions = 0\ncounters/intents = 0\ncounters/qualities = 0\n";
    third(&dump.replace("= format 1\n", "= format 2\n").replace(before, &format!("{before}{born}")))
}

#[test]
fn format_1_is_read_and_left_alone() {
    let (folder, path, expected) = past("v1");
    let bytes = std::fs::read(&path).unwrap();
    let store = open(&path, true);
    holds(&store, &expected);
    let read = store.read().unwrap();
    assert_eq!(origins::all(&read).unwrap(), []);
    assert_eq!(evidence::get(&read, EvidenceKind::Caption, 0).unwrap(), None);
    assert_eq!(evidence::scan(&read, EvidenceKind::Caption, 0).unwrap().count(), 0);
    assert_eq!(evidence::count(&read, EvidenceKind::Caption).unwrap(), 0);
    for (space, info) in store.space(&read).unwrap().iter().zip(&TABLES) {
        assert_eq!(space.rows, read.len(info.table).unwrap());
        assert!(info.since == 1 || space.page_bytes == 0, "{}", info.name);
        assert!(info.since == 1 || read.floor(info.table, &[255; 20]).unwrap().is_none());
    }
    // A backup has the format of what it is a copy of.
    let backup = folder.path().join("backup.sidql");
    store.backup(&backup, &mut |_, _| ()).unwrap();
    drop(read);
    store.close().unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes, "reading changed the file");
    let raw = redb::Builder::new().open_read_only(&backup).unwrap();
    let tables = redb::ReadableDatabase::begin_read(&raw).unwrap().list_tables().unwrap().count();
    assert_eq!(tables, TABLES.iter().filter(|info| info.since == 1).count());
    raw.close().unwrap();
    let store = open(&backup, true);
    holds(&store, &expected);
    store.close().unwrap();
    holds(&open(&backup, false), &migrated(&expected));
}

#[test]
fn format_1_becomes_format_3() {
    let (_folder, path, expected) = past("v1");
    let expected = migrated(&expected);
    let store = open(&path, false);
    holds(&store, &expected);
    for info in &TABLES {
        // Every table is there: an absent one would be damage now.
        store.read().unwrap().len(info.table).unwrap();
    }
    store.close().unwrap();
    for read_only in [true, false] {
        let store = open(&path, read_only);
        holds(&store, &expected);
        store.close().unwrap();
    }
    let store = open(&path, false);
    let write = store.write().unwrap();
    shop::describe(&write).unwrap();
    write.commit().unwrap();
    let read = store.read().unwrap();
    assert!(evidence::count(&read, EvidenceKind::Caption).unwrap() > 0);
    assert!(store.verify(&read, &mut |_, _| ()).unwrap().is_sound());
}

#[test]
fn format_2_is_read_and_becomes_format_3() {
    let (_folder, path, expected) = past("v2");
    let store = open(&path, true);
    holds(&store, &expected);
    let read = store.read().unwrap();
    assert_eq!(indexes::all(&read).unwrap(), []);
    let text = spaces::must(&read, "text").unwrap();
    assert_eq!(changes::revision(&read, &text).unwrap(), 0);
    drop(read);
    store.close().unwrap();
    let store = open(&path, false);
    holds(&store, &third(&expected));
    // Every block counts as unchanged until it is written.
    let write = store.write().unwrap();
    assert_eq!(changes::blocks(&write, &text).unwrap().count(), 0);
    embeddings::put(&write, "text", 7, &[1.0, 2.0, 4.0]).unwrap();
    let revision = changes::revision(&write, &text).unwrap();
    assert!(revision > 14);
    let blocks: Vec<_> = changes::blocks(&write, &text).unwrap().map(Result::unwrap).collect();
    assert_eq!(blocks, [(0, revision)]);
    write.commit().unwrap();
    let read = store.read().unwrap();
    assert!(store.verify(&read, &mut |_, _| ()).unwrap().is_sound());
}

#[test]
fn format_3_opens() {
    if std::env::var_os("SIDQL_MAKE_FIXTURE").is_some() {
        make_fixture();
    }
    let (_folder, path, expected) = past("v3");
    for read_only in [true, false] {
        let store = open(&path, read_only);
        holds(&store, &expected);
        store.close().unwrap();
    }
}

#[test]
fn the_shop_is_still_written_alike() {
    let store = Store::in_memory().unwrap();
    shop::fill(&store).unwrap();
    holds(&store, &past("v3").2);
}

fn make_fixture() {
    let path = fixture("v3/shop.sidql");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let store = Store::create(&path, &OpenOptions::default()).unwrap();
    shop::fill(&store).unwrap();
    while store.compact().unwrap() {}
    let text = dump::all(&store.read().unwrap()).unwrap();
    std::fs::write(fixture("v3/shop.dump"), text).unwrap();
    store.close().unwrap();
}

#[test]
fn what_is_no_sidql_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    std::fs::write(&path, b"SQLite format 3\0 and then some bytes that mean nothing here").unwrap();
    let error = Store::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotSidql), "{error:?}");

    let path = folder.path().join("foreign.redb");
    let foreign = redb::Database::create(&path).unwrap();
    let write = foreign.begin_write().unwrap();
    write.open_table(redb::TableDefinition::<u64, u64>::new("meta")).unwrap();
    write.commit().unwrap();
    foreign.close().unwrap();
    let error = Store::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotSidql), "{error:?}");
}

#[test]
fn a_newer_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.sidql");
    Store::create(&path, &OpenOptions::default()).unwrap().close().unwrap();
    let mut row = vec![1, 1, 0, 0, 12, 0, 0, 0];
    let payload = [b"sidql\0\r\n".as_slice(), &9u32.to_le_bytes()].concat();
    let sum = crc32fast::hash(&[row.as_slice(), &payload].concat());
    row.extend_from_slice(&sum.to_le_bytes());
    row.extend_from_slice(&payload);
    let raw = redb::Database::open(&path).unwrap();
    let write = raw.begin_write().unwrap();
    let meta = redb::TableDefinition::<&[u8], &[u8]>::new("meta");
    write.open_table(meta).unwrap().insert(b"format".as_slice(), row.as_slice()).unwrap();
    write.commit().unwrap();
    raw.close().unwrap();
    let error = Store::open(&path, &OpenOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Version { found: 9, supported: FORMAT }), "{error:?}");
}

#[test]
fn one_process_writes_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let store = Store::create(&path, &OpenOptions::default()).unwrap();
    let read_only = OpenOptions { read_only: true, ..OpenOptions::default() };
    for options in [OpenOptions::default(), read_only.clone()] {
        let error = Store::open(&path, &options).unwrap_err();
        assert!(matches!(error, Error::Locked), "{error:?}");
    }
    store.close().unwrap();
    assert!(matches!(store.read().unwrap_err(), Error::Closed));
    let first = Store::open(&path, &read_only).unwrap();
    let second = Store::open(&path, &read_only).unwrap();
    assert!(matches!(first.write().unwrap_err(), Error::ReadOnly));
    assert!(second.is_read_only());
}

#[test]
fn a_backup_is_the_same_and_smaller_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(folder.path().join("a.sidql"), &OpenOptions::default()).unwrap();
    shop::fill(&store).unwrap();
    let target = folder.path().join("b.sidql");
    let mut seen = (0, 0);
    store.backup(&target, &mut |done, total| seen = (done, total)).unwrap();
    assert!(seen.0 > 0 && seen.0 == seen.1);
    let copy =
        Store::open(&target, &OpenOptions { create: false, ..OpenOptions::default() }).unwrap();
    let (ours, theirs) = (store.read().unwrap(), copy.read().unwrap());
    assert_eq!(dump::all(&ours).unwrap(), dump::all(&theirs).unwrap());
    assert!(matches!(store.backup(&target, &mut |_, _| ()).unwrap_err(), Error::Conflict(_)));
    let nowhere = folder.path().join("no/such/folder.sidql");
    assert!(matches!(store.backup(nowhere, &mut |_, _| ()).unwrap_err(), Error::Io(_)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    drop(ours);
    while store.compact().unwrap() {}
    assert_eq!(dump::all(&store.read().unwrap()).unwrap(), dump::all(&theirs).unwrap());
    assert_eq!(store.space(&theirs).unwrap().len(), TABLES.len());
}
