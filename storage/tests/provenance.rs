//! What holds for any provenance: what is stored comes back, shared where it is the same, and goes with
//! what it belongs to.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sidql_storage::{
    Body, Descriptor, Error, Evidence, EvidenceKind, Failure, Item, ItemNo, Model, Origin, Space,
    Stamp, Store, View, evidence, failures, items, models, origins, spaces, stamps,
};

fn body() -> impl Strategy<Value = Body> {
    let descriptor = (".{1,20}", prop::option::of(0.0f32..=1.0))
        .prop_map(|(text, confidence)| Descriptor { text, confidence });
    prop_oneof![
        ".{1,300}".prop_map(Body::Caption),
        prop::collection::vec(descriptor, 1..6).prop_map(Body::Descriptors),
        (prop::collection::vec(any::<bool>(), 0..9), 0.0f32..=1.0)
            .prop_map(|(labels, score)| Body::Quality { labels, score }),
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<u32>(), any::<u64>(), any::<i64>()).prop_map(|(origin, source, made_ms)| Stamp {
        origin,
        source,
        made_ms,
    })
}

/// One change of what is said of an item.
#[derive(Clone, Debug)]
enum Said {
    Put(ItemNo, Evidence),
    Remove(EvidenceKind, ItemNo),
    Delete(ItemNo),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        6 => (0u64..12, stamp(), body())
            .prop_map(|(item, stamp, body)| Said::Put(item, Evidence { stamp, body })),
        2 => (0usize..3, 0u64..12)
            .prop_map(|(kind, item)| Said::Remove(EvidenceKind::ALL[kind], item)),
        1 => (0u64..12).prop_map(Said::Delete),
    ]
}

/// Compares every question about evidence with a plain sorted map.
fn says(view: &dyn View, naive: &BTreeMap<(EvidenceKind, ItemNo), Evidence>) {
    for kind in EvidenceKind::ALL {
        let of_kind = || naive.range((kind, 0)..=(kind, u64::MAX));
        assert_eq!(evidence::count(view, kind).unwrap(), of_kind().count() as u64);
        for from in [0, 5, u64::MAX] {
            let expected = of_kind().filter(|((_, item), _)| *item >= from);
            let expected: Vec<_> = expected.map(|((_, item), one)| (*item, one.clone())).collect();
            let found = evidence::scan(view, kind, from).unwrap().map(Result::unwrap);
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
        for item in 0..12 {
            let found = evidence::get(view, kind, item).unwrap();
            assert_eq!(found.as_ref(), naive.get(&(kind, item)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn evidence_comes_back(changes in prop::collection::vec(said(), 0..60)) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        for no in 0..12 {
            items::insert(&write, &Item { id: format!("{no}"), fields: vec![] }).unwrap();
        }
        let mut naive = BTreeMap::new();
        for change in changes {
            match change {
                // Nothing is said of an item that is gone.
                Said::Put(item, _) if items::get(&write, item).unwrap().is_none() => {}
                Said::Put(item, one) => {
                    evidence::put(&write, item, &one).unwrap();
                    naive.insert((one.body.kind(), item), one);
                }
                Said::Remove(kind, item) => prop_assert_eq!(
                    evidence::remove(&write, kind, item).unwrap(),
                    naive.remove(&(kind, item)).is_some()
                ),
                Said::Delete(item) => {
                    items::delete(&write, item).unwrap();
                    naive.retain(|(_, of), _| *of != item);
                }
            }
        }
        says(&write, &naive);
        write.commit().unwrap();
        says(&store.read().unwrap(), &naive);
    }

    #[test]
    fn what_cannot_be_is_refused(confidence in any::<f32>(), score in any::<f32>()) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let put = |body| {
            let put = evidence::put(&write, 0, &Evidence { stamp: Stamp::default(), body });
            !matches!(put, Err(Error::Invalid(_)))
        };
        let sound = |figure: f32| figure.is_finite() && (0.0..=1.0).contains(&figure);
        let one = Descriptor { text: "x".into(), confidence: Some(confidence) };
        prop_assert_eq!(put(Body::Descriptors(vec![one])), sound(confidence));
        prop_assert_eq!(put(Body::Quality { labels: vec![true], score }), sound(score));
        prop_assert!(!put(Body::Descriptors(vec![])));
        prop_assert!(!put(Body::Descriptors(vec![Descriptor::default()])));
        prop_assert!(!put(Body::Caption(String::new())));
    }

    #[test]
    fn stamps_and_failures_come_back(
        stamped in prop::collection::btree_map(0u64..1000, stamp(), 0..50),
        failed in prop::collection::btree_map((1u64..4, 0u64..20), (any::<String>(), 1u32..9), 0..40),
        gone in prop::collection::vec(0u64..20, 0..4),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        for no in 0..20 {
            items::insert(&write, &Item { id: format!("{no}"), fields: vec![] }).unwrap();
        }
        let space = |name: &str| Space { name: name.into(), dim: 1, ..Space::default() };
        let first = spaces::create(&write, &space("first")).unwrap();
        let other = spaces::create(&write, &space("other")).unwrap();
        stamps::put_many(&write, &first, stamped.clone()).unwrap();
        stamps::put_many(&write, &other, [(3, Stamp::default())]).unwrap();
        let failure = |(answer, attempts): &(String, u32)| Failure {
            answer: answer.clone(),
            attempts: *attempts,
            ..Failure::default()
        };
        for ((job, item), what) in &failed {
            failures::put(&write, *job, *item, &failure(what)).unwrap();
        }
        spaces::rename(&write, "first", "renamed").unwrap();
        items::delete_many(&write, &gone).unwrap();
        spaces::drop(&write, "other").unwrap();
        write.commit().unwrap();
        let read = store.read().unwrap();
        for from in [0, 10, 2000] {
            let expected = stamped.iter().filter(|(item, _)| **item >= from && !gone.contains(item));
            let found = stamps::scan(&read, &first, from).unwrap().map(Result::unwrap);
            prop_assert!(found.eq(expected.map(|(item, stamp)| (*item, *stamp))));
        }
        prop_assert_eq!(stamps::get(&read, &other, 3).unwrap(), None);
        for job in 0..5 {
            let expected: Vec<_> = failed
                .iter()
                .filter(|((of, item), _)| *of == job && !gone.contains(item))
                .map(|((_, item), what)| (*item, failure(what)))
                .collect();
            prop_assert_eq!(failures::count_of(&read, job).unwrap(), expected.len() as u64);
            let found = failures::of_job(&read, job).unwrap().map(Result::unwrap);
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn origins_are_shared(
        asked in prop::collection::vec(("[ab]{0,1}", "[ab]{0,1}", "[ab]{0,1}", any::<i64>()), 1..40),
        model in any::<(String, String, String)>(),
    ) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        let mut naive: Vec<(String, String, String)> = Vec::new();
        for (stage, prompt, parameters, created_ms) in asked {
            let key = (stage.clone(), prompt.clone(), parameters.clone());
            let at = naive.iter().position(|known| *known == key).unwrap_or_else(|| {
                naive.push(key);
                naive.len() - 1
            });
            let origin =
                Origin { number: 77, stage, prompt, parameters, created_ms, ..Origin::default() };
            prop_assert_eq!(origins::intern(&write, &origin).unwrap(), at as u32 + 1);
            let kept = origins::get(&write, at as u32 + 1).unwrap().unwrap();
            prop_assert!(kept.is_same(&origin) && kept.number == at as u32 + 1);
        }
        prop_assert_eq!(origins::all(&write).unwrap().len(), naive.len());
        let (name, kind, config) = model;
        let model = Model { name: name.clone(), kind, config, ..Model::default() };
        models::create(&write, &model).unwrap();
        prop_assert!(matches!(models::create(&write, &model), Err(Error::Conflict(_))));
        prop_assert_eq!(models::get(&write, &name).unwrap(), Some(model));
    }
}
