//! What holds for any data: what is stored comes back, the SID index answers as a plain map would, and
//! damage is told, never a panic.
#![allow(clippy::unwrap_used, reason = "tests")]

mod disk;
mod shop;

use std::collections::BTreeMap;

use disk::Disk;
use proptest::prelude::*;
use sidql_storage::{
    Codebook, Error, FieldValue, Generation, Interaction, Item, ItemNo, Sid, Space, Store, TABLES,
    View, Write, codebooks, dump, embeddings, generations, histories, items, sids, spaces, users,
};

/// One change of the SIDs of a generation.
#[derive(Clone, Debug)]
enum Change {
    Insert(ItemNo, Vec<u16>),
    Remove(ItemNo),
}

/// Few codes, so that lists grow long; SIDs of different lengths, as a suffix level makes them.
fn codes() -> impl Strategy<Value = Vec<u16>> {
    prop_oneof![
        3 => prop::collection::vec(0u16..3, 3..=4),
        1 => prop::collection::vec(prop_oneof![0u16..2, Just(255), Just(256), Just(u16::MAX)], 1..=6),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0u64..200, codes()).prop_map(|(item, codes)| Change::Insert(item, codes)),
        1 => (0u64..200).prop_map(Change::Remove),
        1 => (codes()).prop_map(|codes| Change::Insert(1 << 40, codes)),
    ]
}

fn generation(write: &Write) -> u32 {
    codebooks::create(write, &Codebook { name: "c".into(), ..Codebook::default() }).unwrap();
    let shape = Generation { codebook: "c".into(), levels: 3, ..Generation::default() };
    generations::begin(write, &shape).unwrap().number
}

/// Compares every question of the index with a plain sorted map.
fn agree(view: &dyn View, number: u32, naive: &BTreeMap<ItemNo, Sid>, prefixes: &[Vec<u16>]) {
    let mut sorted: Vec<(Sid, ItemNo)> =
        naive.iter().map(|(item, sid)| (sid.clone(), *item)).collect();
    sorted.sort();
    for prefix in prefixes.iter().map(Vec::as_slice).chain([&[][..]]) {
        let expected: Vec<_> =
            sorted.iter().filter(|(sid, _)| sid.starts_with(prefix)).cloned().collect();
        let found = sids::items_under(view, number, prefix).unwrap();
        assert_eq!(found.map(Result::unwrap).collect::<Vec<_>>(), expected, "{prefix:?}");
        let mut bare = Vec::new();
        sids::collect_under(view, number, prefix, &mut bare).unwrap();
        assert_eq!(bare, expected.iter().map(|(_, item)| *item).collect::<Vec<_>>(), "{prefix:?}");
        assert_eq!(sids::count_under(view, number, prefix).unwrap(), expected.len() as u64);
        if let Ok(sid) = Sid::new(prefix) {
            let same = expected.iter().filter(|(other, _)| *other == sid).map(|(_, item)| *item);
            assert_eq!(sids::bucket(view, number, &sid).unwrap(), same.collect::<Vec<_>>());
        }
    }
    for item in (0..200).chain([1 << 40]) {
        assert_eq!(sids::get(view, number, item).unwrap().as_ref(), naive.get(&item));
    }
    for levels in 1..=4 {
        match sids::columns(view, number, levels) {
            Ok(columns) => {
                assert!(naive.values().all(|sid| sid.levels() == levels));
                assert!(columns.items.iter().eq(sorted.iter().map(|(_, item)| item)));
                assert!(columns.codes.iter().eq(sorted.iter().flat_map(|(sid, _)| sid.codes())));
            }
            Err(_) => assert!(naive.values().any(|sid| sid.levels() != levels)),
        }
    }
    let by_item = sids::by_item(view, number).unwrap().map(Result::unwrap);
    assert!(by_item.eq(naive.iter().map(|(item, sid)| (*item, sid.clone()))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn sids_answer_as_a_map_does(
        changes in prop::collection::vec(change(), 0..150),
        prefixes in prop::collection::vec(codes(), 1..12),
        loaded in prop::collection::btree_map(0u64..200, codes(), 0..80),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let number = generation(&write);
        let mut naive: BTreeMap<ItemNo, Sid> =
            loaded.into_iter().map(|(item, codes)| (item, Sid::new(&codes).unwrap())).collect();
        sids::load_many(&write, number, naive.clone()).unwrap();
        let mut revision = generations::must(&write, number).unwrap().revision;
        for change in changes {
            match change {
                Change::Insert(item, codes) => {
                    let sid = Sid::new(&codes).unwrap();
                    sids::insert(&write, number, item, &sid).unwrap();
                    naive.insert(item, sid);
                }
                Change::Remove(item) => {
                    prop_assert_eq!(
                        sids::remove(&write, number, item).unwrap(),
                        naive.remove(&item)
                    );
                }
            }
            let now = generations::must(&write, number).unwrap();
            prop_assert_eq!(now.items, naive.len() as u64);
            prop_assert!(now.revision >= revision);
            revision = now.revision;
        }
        agree(&write, number, &naive, &prefixes);
        write.commit().unwrap();
        let read = store.read().unwrap();
        agree(&read, number, &naive, &prefixes);
        prop_assert_eq!(generations::must(&read, number).unwrap().revision, revision);
    }

    #[test]
    fn histories_come_back_in_time_order(
        parts in prop::collection::vec(
            prop::collection::vec((0u64..9, -5i64..5, 0u8..4, any::<bool>()), 0..200), 1..5),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let user = users::get_or_insert(&write, "u").unwrap();
        let other = users::get_or_insert(&write, "v").unwrap();
        let mut naive: Vec<Interaction> = Vec::new();
        for part in parts {
            let new: Vec<Interaction> = part.into_iter().map(|(item, time, kind, heavy)| {
                Interaction {
                    item: if heavy { item << 40 } else { item },
                    time,
                    kind: (kind > 0).then(|| "k".repeat(kind.into())),
                    weight: if heavy { 0.25 } else { 1.0 },
                }
            }).collect();
            histories::append(&write, user, &new).unwrap();
            naive.extend(new);
            naive.sort_by_key(|one| one.time);
            prop_assert_eq!(&histories::of(&write, user).unwrap(), &naive);
        }
        histories::append(&write, other, &[Interaction::new(3, 1)]).unwrap();
        prop_assert_eq!(histories::count(&write).unwrap(), naive.len() as u64 + 1);
        prop_assert_eq!(histories::count_of(&write, user).unwrap(), naive.len() as u64);
        let removed = histories::remove_items(&write, &[3]).unwrap();
        let before = naive.len() as u64 + 1;
        naive.retain(|one| one.item != 3);
        prop_assert_eq!(removed, before - naive.len() as u64);
        write.commit().unwrap();
        let read = store.read().unwrap();
        let all: Vec<_> = histories::scan(&read, 0).unwrap().map(Result::unwrap).collect();
        let expected = if naive.is_empty() { vec![] } else { vec![(user, naive)] };
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn items_come_back(
        texts in prop::collection::vec(any::<String>(), 0..20),
        numbers in prop::collection::vec((any::<i64>(), any::<f64>()), 0..5),
        bytes in prop::collection::vec(any::<u8>(), 0..9000),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let mut fields = vec![
            (0, FieldValue::List(texts)),
            (1, FieldValue::Bytes(bytes)),
        ];
        for (at, (int, float)) in numbers.into_iter().enumerate() {
            fields.push((2 + 2 * at as u16, FieldValue::Int(int)));
            fields.push((3 + 2 * at as u16, FieldValue::Float(float)));
        }
        let item = Item { id: "x".into(), fields };
        let no = items::insert(&write, &item).unwrap();
        prop_assert!(matches!(items::insert(&write, &item), Err(Error::Conflict(_))));
        let back = items::get(&write, no).unwrap().unwrap();
        // Debug, because a float that is not a number is never equal to itself.
        prop_assert_eq!(format!("{back:?}"), format!("{item:?}"));
    }

    #[test]
    fn vectors_come_back(
        dim in prop_oneof![Just(1u32), Just(7), Just(256), Just(20_000)],
        changes in prop::collection::vec((0u64..300, -1i32..5), 1..60),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let space = Space { name: "s".into(), dim, ..Space::default() };
        spaces::create(&write, &space).unwrap();
        let mut naive = BTreeMap::new();
        for (item, value) in changes {
            if value < 0 {
                embeddings::delete(&write, "s", item).unwrap();
                naive.remove(&item);
            } else {
                let vector = vec![value as f32; dim as usize];
                embeddings::put(&write, "s", item, &vector).unwrap();
                naive.insert(item, vector);
            }
        }
        write.commit().unwrap();
        let read = store.read().unwrap();
        let space = spaces::must(&read, "s").unwrap();
        prop_assert_eq!(space.count, naive.len() as u64);
        let (items, values) = embeddings::load(&read, &space).unwrap();
        prop_assert!(items.iter().eq(naive.keys()));
        prop_assert_eq!(values, naive.values().flatten().copied().collect::<Vec<_>>());
        let mut reader = embeddings::Vectors::new(&read, space.clone());
        for item in (0..300).chain([17, 250, 3, 299, 0]) {
            let vector = embeddings::get(&read, &space, item).unwrap();
            prop_assert_eq!(vector.as_ref(), naive.get(&item));
            prop_assert_eq!(reader.get(item).unwrap(), vector);
        }
    }

    #[test]
    fn any_text_is_a_sid_or_an_error(text in "[ab<>_.,0-9 ]{0,12}") {
        if let Ok(sid) = text.parse::<Sid>() {
            prop_assert_eq!(sid.to_string().parse::<Sid>().unwrap(), sid);
        }
    }
}

/// Lists that pass the limit are split, and stay right while items come and go.
#[test]
fn long_lists_split() {
    let store = Store::in_memory().unwrap();
    let write = store.write().unwrap();
    let number = generation(&write);
    let sid = |item: u64| Sid::new(&[7, 7, (item * 37 % 101) as u16]).unwrap();
    let mut naive: BTreeMap<ItemNo, Sid> = (0..3000).map(|item| (item, sid(item))).collect();
    sids::load_many(&write, number, naive.clone()).unwrap();
    for item in 3000..6000 {
        sids::insert(&write, number, item, &sid(item)).unwrap();
        naive.insert(item, sid(item));
    }
    let prefixes =
        [vec![7], vec![7, 7], vec![7, 7, 0], vec![7, 7, 50], vec![7, 7, 100], vec![7, 8]];
    for keep in [6000, 2000, 1, 0] {
        for item in naive.split_off(&keep).into_keys() {
            sids::remove(&write, number, item).unwrap();
        }
        for prefix in prefixes.iter().map(Vec::as_slice) {
            let expected = naive.values().filter(|sid| sid.starts_with(prefix)).count() as u64;
            assert_eq!(sids::count_under(&write, number, prefix).unwrap(), expected, "{prefix:?}");
        }
    }
    sids::insert(&write, number, 5, &sid(5)).unwrap();
    assert_eq!(sids::bucket(&write, number, &sid(5)).unwrap(), [5]);
    write.commit().unwrap();
    let report = store.verify(&store.read().unwrap(), &mut |_, _| ()).unwrap();
    // The index is sound; only the item itself was never added.
    let problems: Vec<_> = report.problems.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(problems, ["item 5 does not exist"]);
}

/// Revisions given in a transaction that was taken back are never given again.
#[test]
fn revisions_are_never_given_twice() {
    let store = Store::in_memory().unwrap();
    let write = store.write().unwrap();
    let number = generation(&write);
    write.commit().unwrap();
    let write = store.write().unwrap();
    sids::insert(&write, number, 1, &Sid::new(&[1]).unwrap()).unwrap();
    let lost = generations::must(&write, number).unwrap().revision;
    drop(write);
    let write = store.write().unwrap();
    sids::insert(&write, number, 1, &Sid::new(&[2]).unwrap()).unwrap();
    assert!(generations::must(&write, number).unwrap().revision > lost);
}

/// The ways in which a value is damaged.
fn damages(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), value[..value.len() - 1].to_vec(), [value, &[0]].concat()];
    for at in [0, 1, 2, 4, 8, 12, value.len() / 2, value.len() - 1] {
        let mut flipped = value.to_vec();
        flipped[at.min(value.len() - 1)] ^= 0x10;
        all.push(flipped);
    }
    all
}

/// The value with a payload changed under a right checksum, as a mistake of ours would write it.
fn reseal(mut value: Vec<u8>) -> Vec<u8> {
    if value.len() >= 12 {
        let length = (value.len() as u32 - 12).to_le_bytes();
        value[4..8].copy_from_slice(&length);
        let sum = crc32fast::hash(&[&value[..8], &value[12..]].concat());
        value[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    value
}

fn overwrite(disk: &Disk, table: &str, key: &[u8], value: Option<&[u8]>) {
    let raw = redb::Builder::new().create_with_backend(disk.clone()).unwrap();
    let write = raw.begin_write().unwrap();
    {
        let definition = redb::TableDefinition::<&[u8], &[u8]>::new(table);
        let mut opened = write.open_table(definition).unwrap();
        match value {
            Some(value) => drop(opened.insert(key, value).unwrap()),
            None => drop(opened.remove(key).unwrap()),
        }
    }
    write.commit().unwrap();
}

/// Every row of every table, damaged in every way: reading tells, VERIFY tells, nothing panics.
#[test]
fn damage_is_told() {
    let disk = Disk::of(Vec::new());
    let store = Store::with_backend(disk.clone()).unwrap();
    shop::fill(&store).unwrap();
    let read = store.read().unwrap();
    let mut rows = Vec::new();
    for info in &TABLES {
        let all = read.scan(info.table, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        let all: Vec<_> = all.unwrap().map(Result::unwrap).collect();
        // The last one as well where rows differ in kind.
        let last = (info.name == "evidence").then(|| all.len() - 1);
        for at in [0, all.len() / 2].into_iter().chain(last) {
            if let Some((key, value)) = all.get(at) {
                rows.push((info.name, key.to_vec(), value.to_vec()));
            }
        }
    }
    drop(read);
    store.close().unwrap();
    let sound = disk.bytes();
    for (table, key, value) in rows {
        let what = format!("{table} {}", dump::key_text(table, &key));
        let resealed = damages(&value).into_iter().map(|value| (reseal(value), false));
        let plain = damages(&value).into_iter().map(|value| (value, true));
        for (damaged, must_tell) in plain.chain(resealed) {
            let disk = Disk::of(sound.clone());
            overwrite(&disk, table, &key, Some(&damaged));
            match Store::with_backend(disk) {
                Err(error) => assert!(
                    error.is_corrupt() || matches!(error, Error::Version { .. }),
                    "{what}: {error:?}"
                ),
                Ok(store) => {
                    let read = store.read().unwrap();
                    let report = store.verify(&read, &mut |_, _| ()).unwrap();
                    assert!(!must_tell || !report.is_sound(), "{what} is not told");
                    dump::all(&read).unwrap();
                }
            }
        }
        let disk = Disk::of(sound.clone());
        overwrite(&disk, table, &key, None);
        if let Ok(store) = Store::with_backend(disk) {
            let report = store.verify(&store.read().unwrap(), &mut |_, _| ()).unwrap();
            let free = [
                "settings",
                "evaluations",
                "histories",
                "policies",
                "counters",
                "models",
                "stamps",
                "failures",
                "indexes",
                "changes",
            ];
            assert!(free.contains(&table) || !report.is_sound(), "the loss of {what} is not told");
        }
    }
}

/// How many bytes of the file are flipped, one at a time, in the pages that hold the trees' roots.
const FLIPS_IN_FRONT: usize = 200;
/// How many are flipped anywhere.
const FLIPS_ANYWHERE: usize = 400;

/// A flipped byte anywhere in the file: the file does not open, VERIFY tells, or it did not matter.
#[test]
fn no_flip_is_silent() {
    let disk = Disk::of(Vec::new());
    let store = Store::with_backend(disk.clone()).unwrap();
    shop::fill(&store).unwrap();
    let expected = dump::all(&store.read().unwrap()).unwrap();
    store.close().unwrap();
    let sound = disk.bytes();
    let mut seed = 1u64;
    let (mut refused, mut told) = (0, 0);
    for round in 0..FLIPS_IN_FRONT + FLIPS_ANYWHERE {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let anywhere = (seed >> 20) as usize % sound.len();
        let at = if round < FLIPS_IN_FRONT { round * 20 } else { anywhere };
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (seed >> 61);
        let Ok(store) = Store::with_backend(Disk::of(bytes)) else {
            refused += 1;
            continue;
        };
        let read = store.read().unwrap();
        match store.verify(&read, &mut |_, _| ()) {
            Ok(report) if report.is_sound() => {
                assert_eq!(dump::all(&read).unwrap(), expected, "byte {at}");
            }
            _ => told += 1,
        }
    }
    assert!(refused > 0 && told > 50, "{refused} refused, {told} told");
}
