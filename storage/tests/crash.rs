//! The power fails at every sync point of a load that fills every table, with any part of what was not
//! synced yet on the disk. Each time the file must open to exactly the commits that were acknowledged, or
//! to those and the one that was under way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod disk;
mod shop;

use std::path::PathBuf;

use disk::{Disk, Event, apply};
use sidql_storage::{Error, Item, Store, View, dump, items};

/// How often the power fails between two syncs.
const CUTS: u64 = 4;
/// How often a migration is played.
const MIGRATIONS: u64 = 8;
/// Half a write may reach the disk: whole sectors of this size do.
const SECTOR: usize = 512;

/// A small generator of random numbers (splitmix64), so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// Applies some of the events, some of them half.
fn apply_some(bytes: &mut Vec<u8>, events: &[Event], random: &mut Random) {
    for event in events {
        match (random.next() % 4, event) {
            (0, _) => {}
            (1, Event::Write(offset, data)) => {
                let sectors = data.len().div_ceil(SECTOR) as u64;
                let kept = (random.next() % sectors) as usize * SECTOR;
                apply(bytes, &Event::Write(*offset, data[..kept].to_vec()));
            }
            _ => apply(bytes, event),
        }
    }
}

fn check(bytes: Vec<u8>, acknowledged: usize, states: &[String], place: &str) {
    let store = match Store::with_backend(Disk::of(bytes)) {
        Ok(store) => store,
        // Before the first commit the file may not be one yet.
        Err(_) if acknowledged == 0 => return,
        Err(error) => panic!("{place}: {error}"),
    };
    let read = store.read().unwrap();
    let report = store.verify(&read, &mut |_, _| ()).unwrap();
    assert!(report.is_sound(), "{place}: {:?}", report.problems);
    let state = dump::all(&read).unwrap();
    let allowed = &states[acknowledged.saturating_sub(1)..(acknowledged + 1).min(states.len())];
    assert!(allowed.contains(&state), "{place}: neither state {acknowledged} nor the next");
}

/// Plays a log over the bytes of a disk, with the power failing at every sync. Tells how many there were.
fn play(
    seed: u64,
    mut durable: Vec<u8>,
    log: Vec<Event>,
    mut check: impl FnMut(Vec<u8>, usize, &str),
) -> usize {
    let mut random = Random(seed);
    let mut pending: Vec<Event> = Vec::new();
    let mut acknowledged = 0;
    let mut syncs = 0;
    for event in log {
        match event {
            Event::Acknowledged(commits) => acknowledged = commits,
            Event::Sync => {
                syncs += 1;
                check(durable.clone(), acknowledged, &format!("before sync {syncs}"));
                for cut in 0..CUTS {
                    let mut torn = durable.clone();
                    apply_some(&mut torn, &pending, &mut random);
                    check(torn, acknowledged, &format!("cut {cut} before sync {syncs}"));
                }
                for event in pending.drain(..) {
                    apply(&mut durable, &event);
                }
            }
            change => pending.push(change),
        }
    }
    syncs
}

#[test]
fn power_fails_at_every_sync() {
    let disk = Disk::recording();
    let store = Store::with_backend(disk.clone()).unwrap();
    disk.acknowledge(1);
    let mut states = vec![dump::all(&store.read().unwrap()).unwrap()];
    for step in shop::STEPS {
        let write = store.write().unwrap();
        step(&write).unwrap();
        write.commit().unwrap();
        states.push(dump::all(&store.read().unwrap()).unwrap());
        disk.acknowledge(states.len());
    }
    let mut log = disk.log();
    log.push(Event::Sync);

    let syncs = play(1, Vec::new(), log, |bytes, acknowledged, place| {
        check(bytes, acknowledged, &states, place);
    });
    assert!(syncs > 2 * states.len(), "{syncs} syncs are too few for {} commits", states.len());
}

/// Whatever reaches the disk of a migration, the file opens, and has the newest format then.
#[test]
fn power_fails_while_a_file_is_migrated() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for past in ["v1", "v2"] {
        migrate_and_fail(std::fs::read(fixtures.join(past).join("shop.sidql")).unwrap());
    }
}

fn migrate_and_fail(old: Vec<u8>) {
    let disk = Disk::recording_over(old.clone());
    let store = Store::with_backend(disk.clone()).unwrap();
    disk.acknowledge(1);
    let states = [dump::all(&store.read().unwrap()).unwrap()];
    assert!(states[0].starts_with("meta/\"format\" = format 3\n"));
    let mut log = disk.log();
    log.push(Event::Sync);
    for seed in 1..=MIGRATIONS {
        let syncs = play(seed, old.clone(), log.clone(), |bytes, _, place| {
            check(bytes, 1, &states, &format!("seed {seed}, {place}"));
        });
        assert!(syncs > 2, "{syncs} syncs are too few for a migration");
    }
}

#[test]
fn full_disk_loses_nothing() {
    for room in [0, 100_000, 1_000_000] {
        let disk = Disk::of(Vec::new());
        let store = Store::with_backend(disk.clone()).unwrap();
        shop::fill(&store).unwrap();
        let before = dump::all(&store.read().unwrap()).unwrap();
        let held = store.read().unwrap();
        disk.set_capacity(disk.bytes().len() as u64 + room);

        let mut written: u64 = 0;
        let error = loop {
            let added = store.write().and_then(|write| {
                for part in 0..200 {
                    let id = format!("new {written}/{part} {}", "x".repeat(900));
                    items::insert(&write, &Item { id, fields: vec![] })?;
                }
                write.commit()
            });
            match added {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Full), "{error:?}");
        assert!(matches!(store.write().unwrap_err(), Error::Poisoned));
        assert_eq!(dump::all(&held).unwrap(), before);
        drop(held);
        drop(store);

        disk.set_capacity(u64::MAX);
        let store = Store::with_backend(disk).unwrap();
        let read = store.read().unwrap();
        assert!(store.verify(&read, &mut |_, _| ()).unwrap().is_sound());
        let kept = read.len(sidql_storage::Table::Items).unwrap();
        assert_eq!(kept, 28 + 200 * written, "with {room} bytes of room");
        let write = store.write().unwrap();
        items::insert(&write, &Item { id: "after".into(), fields: vec![] }).unwrap();
        write.commit().unwrap();
    }
}
