//! Variety: at most so many items of an answer under one prefix.
//!
//! **The answer stays full.** While a search is above the length of the prefix nothing changes. From there on it
//! keeps the best `most` beams of each prefix; every beam has a qualifying item below it, so that a prefix ends with
//! `most` items or with all it has, unless the width was filled before, and the width is never below `k`.

use std::collections::HashMap;
use std::sync::Arc;

use super::Hit;
use super::beam::Beam;
use super::rank::Best;
use crate::index::{Catalogue, Trie};

/// An item without a SID stands for itself.
const ALONE: u32 = u32::MAX;

/// At most `most` items of an answer may share their first `length` codes.
#[derive(Clone, Debug)]
pub(crate) struct Variety {
    length: usize,
    most: usize,
    /// For each position of the catalogue the number of its prefix.
    groups: Arc<[u32]>,
}

impl Variety {
    /// Of a catalogue by its own trie.
    pub(crate) fn of_trie(trie: &Trie, length: usize, most: usize) -> Self {
        let mut groups = vec![ALONE; trie.len()];
        for node in trie.nodes_at(length) {
            let ranks = trie.items_under(node);
            for position in &trie.order()[ranks.start as usize..ranks.end as usize] {
                groups[*position as usize] = node;
            }
        }
        Variety { length, most, groups: groups.into() }
    }

    /// Of a catalogue without SIDs, by those that another has for the same items.
    pub(crate) fn of_others(
        items: &Catalogue,
        coded: &Catalogue,
        trie: &Trie,
        length: usize,
        most: usize,
    ) -> Self {
        let theirs = Variety::of_trie(trie, length, most).groups;
        let group = |item: &u64| coded.position(*item).map_or(ALONE, |at| theirs[at as usize]);
        Variety { length, most, groups: items.items.iter().map(group).collect() }
    }

    /// Leaves the best `most` beams of each prefix, of beams with the best first that have read `length` codes.
    pub(super) fn thin(&self, trie: &Trie, length: usize, beams: &mut Vec<Beam>) {
        if length < self.length {
            return;
        }
        let mut counts: HashMap<u32, usize> = HashMap::new();
        beams.retain(|beam| {
            let first = trie.order()[trie.items_under(beam.node).start as usize];
            let count = counts.entry(self.groups[first as usize]).or_default();
            *count += 1;
            *count <= self.most
        });
    }
}

/// Collects the best items of an answer, varied where that is asked for.
pub(super) struct Varied<'a> {
    variety: &'a Variety,
    k: usize,
    seed: u64,
    groups: HashMap<u32, Best>,
    alone: Best,
}

impl<'a> Varied<'a> {
    pub(super) fn new(variety: &'a Variety, k: usize, seed: u64) -> Self {
        Varied { variety, k, seed, groups: HashMap::new(), alone: Best::new(k, seed) }
    }

    /// Considers one item.
    pub(super) fn offer(&mut self, position: u32, item: u64, score: f32) {
        match self.variety.groups[position as usize] {
            ALONE => self.alone.offer(position, item, score),
            group => {
                let (most, seed) = (self.variety.most, self.seed);
                let best = self.groups.entry(group).or_insert_with(|| Best::new(most, seed));
                best.offer(position, item, score);
            }
        }
    }

    /// What was best, the best first.
    pub(super) fn into_hits(self, catalogue: &Catalogue) -> Vec<Hit> {
        let mut best = Best::new(self.k, self.seed);
        let each = self.groups.into_values().chain([self.alone]);
        for hit in each.flat_map(Best::into_hits) {
            best.offer(hit.position, catalogue.items[hit.position as usize], hit.score);
        }
        best.into_hits()
    }
}
