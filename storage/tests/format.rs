//! Every file that a past version wrote opens to what it held. Run with `SIDQL_MAKE_FIXTURE=1` to make
//! the fixture of the current format, once, when it is new.
#![allow(clippy::unwrap_used, reason = "tests")]

mod shop;

use std::path::PathBuf;

use sidql_storage::{Error, OpenOptions, Store, TABLES, dump};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Opens a copy of a fixture for reading only, which changes no byte, then for writing twice.
fn opens(version: &str, read_only_dump: &str, dump_after: &str) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("shop.sidql");
    std::fs::copy(fixture(version).join("shop.sidql"), &copy).unwrap();
    let before = std::fs::read(&copy).unwrap();
    for (read_only, expected) in [(true, read_only_dump), (false, dump_after), (false, dump_after)]
    {
        let options = OpenOptions { read_only, create: false, ..OpenOptions::default() };
        let store = Store::open(&copy, &options).unwrap();
        let read = store.read().unwrap();
        assert_eq!(dump::all(&read).unwrap(), expected);
        let report = store.verify(&read, &mut |_, _| ()).unwrap();
        assert!(report.is_sound(), "{:?}", report.problems);
        assert_eq!(store.space(&read).unwrap().len(), TABLES.len());
        drop(read);
        store.close().unwrap();
        if read_only {
            assert!(std::fs::read(&copy).unwrap() == before, "reading changed the file");
        }
    }
}

#[test]
fn format_1_opens_and_becomes_format_2() {
    let then = std::fs::read_to_string(fixture("v1/shop.dump")).unwrap();
    let now = then.replace("= format 1\n", "= format 2\n");
    let last = now.lines().rfind(|line| line.starts_with("counters/")).unwrap();
    let now = now.replace(last, &format!("{last}\ncounters/origin = 1"));
    opens("v1", &then, &now);
}

#[test]
fn format_2_opens() {
    if std::env::var_os("SIDQL_MAKE_FIXTURE").is_some() {
        make_fixture();
    }
    let dump = std::fs::read_to_string(fixture("v2/shop.dump")).unwrap();
    opens("v2", &dump, &dump);
}

#[test]
fn a_backup_of_an_old_file_is_brought_to_the_new_format_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (old, copy) = (folder.path().join("old.sidql"), folder.path().join("copy.sidql"));
    std::fs::copy(fixture("v1/shop.sidql"), &old).unwrap();
    let read_only = OpenOptions { read_only: true, create: false, ..OpenOptions::default() };
    Store::open(&old, &read_only).unwrap().backup(&copy, &mut |_, _| ()).unwrap();
    let options = OpenOptions { create: false, ..OpenOptions::default() };
    let (old, copy) = (Store::open(&old, &options).unwrap(), Store::open(&copy, &options).unwrap());
    let (old, copy) = (old.read().unwrap(), copy.read().unwrap());
    assert_eq!(dump::all(&old).unwrap(), dump::all(&copy).unwrap());
}

#[test]
fn the_shop_is_still_written_alike() {
    let store = Store::in_memory().unwrap();
    shop::fill(&store).unwrap();
    let expected = std::fs::read_to_string(fixture("v2/shop.dump")).unwrap();
    assert_eq!(dump::all(&store.read().unwrap()).unwrap(), expected);
}

fn make_fixture() {
    let path = fixture("v2/shop.sidql");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let store = Store::create(&path, &OpenOptions::default()).unwrap();
    shop::fill(&store).unwrap();
    while store.compact().unwrap() {}
    let text = dump::all(&store.read().unwrap()).unwrap();
    std::fs::write(fixture("v2/shop.dump"), text).unwrap();
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
    assert!(matches!(error, Error::Version { found: 9, supported: 2 }), "{error:?}");
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
