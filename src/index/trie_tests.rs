//! The trie against naive maps.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// A catalogue of items numbered 10, 20, … with these SIDs.
fn catalogue(sizes: &[usize], sids: &[Vec<u16>]) -> Catalogue {
    let items = (1..=sids.len() as u64).map(|item| item * 10).collect();
    Catalogue::new(items, sizes.to_vec(), sids.concat())
}

/// One to four levels of one to six codes, and SIDs that often collide.
fn sids() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<u16>>)> {
    prop::collection::vec(1_usize..6, 1..5).prop_flat_map(|sizes| {
        let sid: Vec<_> = sizes.iter().map(|size| 0..*size as u16).collect();
        (Just(sizes), prop::collection::vec(sid, 0..60))
    })
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_prefixes((sizes, sids) in sids(), probe: [u16; 4]) {
        let catalogue = catalogue(&sizes, &sids);
        let trie = Trie::build(&catalogue);
        prop_assert_eq!(trie.levels(), sizes.len());
        prop_assert_eq!(trie.len(), sids.len());

        let mut prefixes: BTreeMap<&[u16], BTreeSet<u32>> = BTreeMap::new();
        prefixes.entry(&[]).or_default();
        for (position, sid) in (0..).zip(&sids) {
            for length in 0..=sid.len() {
                prefixes.entry(&sid[..length]).or_default().insert(position);
            }
        }
        prop_assert_eq!(trie.nodes(), prefixes.len());
        for (prefix, items) in &prefixes {
            let node = trie.node_of(prefix).unwrap();
            let ranks = trie.items_under(node);
            prop_assert_eq!(trie.count(node), items.len());
            let under: Vec<u32> = ranks.map(|rank| trie.order()[rank as usize]).collect();
            prop_assert_eq!(&under.iter().copied().collect::<BTreeSet<_>>(), items);
            prop_assert!(under.is_sorted_by_key(|at| (&sids[*at as usize], *at)));

            let (codes, first) = trie.children(node);
            let expected: Vec<u16> = prefixes
                .keys()
                .filter(|longer| longer.len() == prefix.len() + 1 && longer.starts_with(prefix))
                .map(|longer| longer[prefix.len()])
                .collect();
            prop_assert_eq!(codes, &expected);
            for (code, child) in codes.iter().zip(first..) {
                prop_assert_eq!(trie.child(node, *code), Some(child));
                prop_assert_eq!(trie.code(child), *code);
            }
        }
        let probe = &probe.map(|code| code % 8)[..sizes.len()];
        prop_assert_eq!(trie.node_of(probe).is_some(), prefixes.contains_key(probe));
        for (position, sid) in (0..).zip(&sids) {
            prop_assert_eq!(trie.order()[trie.rank(position) as usize], position);
            prop_assert_eq!(Some(trie.leaf(position)), trie.node_of(sid));
        }
    }

    #[test]
    fn changes_give_the_trie_of_the_new_catalogue(
        (sizes, sids) in sids(),
        fates in prop::collection::vec(0..3_u8, 60),
    ) {
        // Of all items, some were there and leave, some enter, the others stay.
        let fate = |fate: u8| (0..sids.len()).filter(move |at| fates[*at] == fate).collect();
        let (leave, enter): (Vec<usize>, Vec<usize>) = (fate.clone()(0), fate(1));
        let side = |without: &[usize]| {
            let stay = (0..sids.len()).filter(|at| !without.contains(at));
            stay.collect::<Vec<usize>>()
        };
        let (before, after) = (side(&enter), side(&leave));
        let make = |kept: &[usize]| {
            let items = kept.iter().map(|at| *at as u64).collect();
            let codes = kept.iter().flat_map(|at| sids[*at].clone()).collect();
            Catalogue::new(items, sizes.clone(), codes)
        };
        let positions = |of: &[usize], side: &[usize]| -> Vec<u32> {
            of.iter().map(|at| side.binary_search(at).unwrap() as u32).collect()
        };
        let removed = positions(&leave, &before);
        let added = positions(&enter, &after);
        let after = make(&after);
        let trie = Trie::build(&make(&before)).with_changes(&after, &removed, &added);
        prop_assert_eq!(trie, Trie::build(&after));
    }
}

#[test]
fn without_a_codebook_there_is_only_the_root() {
    let trie = Trie::build(&Catalogue::new(vec![1, 2, 3], Vec::new(), Vec::new()));
    assert_eq!((trie.levels(), trie.nodes(), trie.count(Trie::ROOT)), (0, 1, 3));
    assert_eq!(trie.child(Trie::ROOT, 0), None);
}

#[test]
fn a_wide_second_level_has_no_table() {
    let sizes = [2048, 2048];
    let sids: Vec<Vec<u16>> = (0..100_u16).map(|n| vec![n % 10, n * 7]).collect();
    let trie = Trie::build(&catalogue(&sizes, &sids));
    assert!(trie.second.is_empty());
    assert!(sids.iter().all(|sid| trie.node_of(sid).is_some()));
    assert_eq!(trie.node_of(&[3, 4]), None);
}

#[test]
#[ignore = "a measurement; run it with --nocapture"]
#[allow(clippy::print_stderr, reason = "a measurement")]
fn a_million_items() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u16
    };
    let sids: Vec<Vec<u16>> = (0..1_000_000).map(|_| vec![next(), next(), next()]).collect();
    let catalogue = catalogue(&[256; 3], &sids);
    let begun = Instant::now();
    let trie = Trie::build(&catalogue);
    eprintln!("built: {:?}, {} nodes", begun.elapsed(), trie.nodes());
    let begun = Instant::now();
    let changed = trie.with_changes(&catalogue, &[5], &[5]);
    eprintln!("changed: {:?}", begun.elapsed());
    assert_eq!(changed, trie);
}
