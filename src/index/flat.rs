//! Exact nearest neighbours: every row is compared with the query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Kind;
use super::product::dot;
use crate::options::{self, Given};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "flat",
    summary: "exact: every vector is compared, in memory where the space fits its budget",
    meanings: Vec::new,
    config: |given: &[Given]| options::checked(given, |_: &Nothing| Ok(())),
    made: None,
};

/// It has no options.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Rows that one core compares before it takes the next block.
const BLOCK_ROWS: usize = 4096;

/// A candidate; the heap keeps the worst on top.
#[derive(Clone, Copy, PartialEq)]
struct Found {
    score: f32,
    row: u32,
}

impl Eq for Found {}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` rows of a row-major matrix whose inner products with the query are highest, the best first. Rows and query
/// have length 1 or 0, so that the products are cosines, and 0 where either vector is zero.
///
/// `allowed` has a bit for each row (bit `row % 64` of word `row / 64`); rows past its end are left out.
/// Equal scores are ordered by row. Rows whose score is not a number are left out.
pub(crate) fn nearest(
    rows: &[f32],
    query: &[f32],
    k: usize,
    allowed: Option<&[u64]>,
) -> Vec<(u32, f32)> {
    let dim = query.len();
    if dim == 0 || k == 0 {
        return Vec::new();
    }
    debug_assert_eq!(rows.len() % dim, 0);
    let search = |(block, rows): (usize, &[f32])| {
        let first = block * BLOCK_ROWS;
        Arch::new().dispatch(Search { rows, first, query, k, allowed })
    };
    let merge = |mut left: BinaryHeap<Found>, right: BinaryHeap<Found>| {
        for found in right {
            keep(&mut left, found, k);
        }
        left
    };
    let best =
        rows.par_chunks(BLOCK_ROWS * dim).enumerate().map(search).reduce(BinaryHeap::new, merge);
    best.into_sorted_vec().into_iter().map(|found| (found.row, found.score)).collect()
}

/// The search of one block, with the widest vector registers that the processor has. Sums are taken in the same order
/// on all of them, and scores are the same.
struct Search<'a> {
    rows: &'a [f32],
    /// The row that the block begins with, a multiple of 64.
    first: usize,
    query: &'a [f32],
    k: usize,
    allowed: Option<&'a [u64]>,
}

impl NullaryFnOnce for Search<'_> {
    type Output = BinaryHeap<Found>;

    #[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
    #[inline(always)]
    fn call(self) -> BinaryHeap<Found> {
        let mut best: BinaryHeap<Found> = BinaryHeap::new();
        let dim = self.query.len();
        for (word, rows) in self.rows.chunks(64 * dim).enumerate() {
            let first = self.first + word * 64;
            let all = u64::MAX >> (64 - rows.len() / dim);
            let mut bits = match self.allowed {
                Some(words) => all & words.get(first / 64).copied().unwrap_or(0),
                None => all,
            };
            while bits != 0 {
                let at = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let score = dot(&rows[at * dim..(at + 1) * dim], self.query);
                if !score.is_nan() {
                    keep(&mut best, Found { score, row: (first + at) as u32 }, self.k);
                }
            }
        }
        best
    }
}

/// Adds a candidate to the best `k`.
fn keep(best: &mut BinaryHeap<Found>, found: Found, k: usize) {
    if best.len() < k {
        best.push(found);
    } else if best.peek().is_some_and(|worst| found < *worst) {
        best.pop();
        best.push(found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::product::normalise;
    use super::*;

    fn unit(mut rows: Vec<f32>, dim: usize) -> Vec<f32> {
        rows.chunks_exact_mut(dim).for_each(normalise);
        rows
    }

    fn naive(
        rows: &[f32],
        query: &[f32],
        k: usize,
        allowed: impl Fn(usize) -> bool,
    ) -> Vec<(u32, f32)> {
        let mut all: Vec<(u32, f32)> = rows
            .chunks_exact(query.len())
            .enumerate()
            .filter(|(row, _)| allowed(*row))
            .map(|(row, vector)| (row as u32, dot(vector, query)))
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(
            data in prop::collection::vec(-3i8..4, 0..400),
            query in prop::collection::vec(-3i8..4, 4),
            words in prop::collection::vec(any::<u64>(), 0..3),
            k in 0usize..30,
            masked: bool,
        ) {
            let mut rows: Vec<f32> = data.iter().map(|x| f32::from(*x)).collect();
            rows.truncate(rows.len() / 4 * 4);
            let rows = unit(rows, 4);
            let query = unit(query.iter().map(|x| f32::from(*x)).collect(), 4);
            let is_allowed =
                |row: usize| !masked || row / 64 < words.len() && words[row / 64] >> (row % 64) & 1 == 1;
            let found = nearest(&rows, &query, k, masked.then_some(&words[..]));
            prop_assert_eq!(found, naive(&rows, &query, k, is_allowed));
        }
    }

    #[test]
    fn blocks_are_merged() {
        let rows: Vec<f32> =
            (0..3 * BLOCK_ROWS).flat_map(|row| [(row % 1000) as f32, 1000.0]).collect();
        let rows = unit(rows, 2);
        let found: Vec<u32> =
            nearest(&rows, &[1.0, 0.0], 3, None).into_iter().map(|(row, _)| row).collect();
        assert_eq!(found, [999, 1999, 2999]);
    }
}
