//! The best k of many scores.
//!
//! Equal scores are ordered by a seeded hash of the item number, so that no item gains by its position and the
//! same seed gives the same answer. A score that is not a number counts as the lowest.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use sidql_storage::ItemNo;

use super::Hit;

/// Collects the best `k` of what it is offered.
pub(crate) struct Best {
    k: usize,
    seed: u64,
    heap: BinaryHeap<Reverse<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    score: f32,
    tie: u64,
    position: u32,
}

impl Best {
    /// A collector of the best `k`.
    pub(crate) fn new(k: usize, seed: u64) -> Self {
        Best { k, seed, heap: BinaryHeap::new() }
    }

    /// Considers one item.
    pub(crate) fn offer(&mut self, position: u32, item: ItemNo, score: f32) {
        let score = number(score);
        if self.heap.len() == self.k && self.heap.peek().is_none_or(|Reverse(w)| score < w.score) {
            return;
        }
        let entry = Entry { score, tie: tie(self.seed, item), position };
        if self.heap.len() < self.k {
            self.heap.push(Reverse(entry));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry > worst.0
        {
            *worst = Reverse(entry);
        }
    }

    /// What was best, the best first.
    pub(crate) fn into_hits(self) -> Vec<Hit> {
        let sorted = self.heap.into_sorted_vec();
        sorted.iter().map(|Reverse(e)| Hit { position: e.position, score: e.score }).collect()
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores are numbers here, so the total order is the usual one up to the sign of zero.
        self.score
            .partial_cmp(&other.score)
            .unwrap_or(Ordering::Equal)
            .then(self.tie.cmp(&other.tie))
            .then(self.position.cmp(&other.position))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

/// The score, or the lowest where it is not a number.
pub(super) fn number(score: f32) -> f32 {
    if score.is_nan() { f32::NEG_INFINITY } else { score }
}

/// What orders equal scores: a hash of seed and number (the finaliser of SplitMix64).
pub(super) fn tie(seed: u64, number: u64) -> u64 {
    let mut hash = number.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(1);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn best(scores: &[f32], k: usize, seed: u64) -> Vec<Hit> {
        let mut best = Best::new(k, seed);
        for (at, score) in scores.iter().enumerate() {
            best.offer(at as u32, at as u64, *score);
        }
        best.into_hits()
    }

    proptest! {
        #[test]
        fn is_the_head_of_the_sorted_list(
            scores in prop::collection::vec(
                prop_oneof![3 => (0..4_i8).prop_map(f32::from), 1 => Just(f32::NAN)], 0..50),
            k in 0_usize..60,
            seed: u64,
        ) {
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            sorted.sort_by(|a, b| {
                let key = |at: usize| (number(scores[at]), tie(seed, at as u64));
                key(*b).partial_cmp(&key(*a)).unwrap()
            });
            let expected: Vec<u32> = sorted.iter().take(k).map(|at| *at as u32).collect();
            let got: Vec<u32> = best(&scores, k, seed).iter().map(|hit| hit.position).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn ties_follow_the_seed_and_not_the_position() {
        let scores = [1.0; 100];
        assert_eq!(best(&scores, 10, 7), best(&scores, 10, 7));
        assert_ne!(best(&scores, 10, 7), best(&scores, 10, 8));
        let mean = best(&scores, 50, 7).iter().map(|hit| hit.position).sum::<u32>() / 50;
        assert!((35..65).contains(&mean), "{mean}");
    }
}
