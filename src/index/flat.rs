//! Exact nearest neighbours: every row is compared with the query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use super::product::dot;

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

/// The `k` rows of a row-major matrix whose cosines to the query are highest, the
/// nearest first, with the cosines (0 where either vector is zero).
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
    let query_norm = dot(query, query).sqrt();
    let score = |row: &[f32]| {
        let norm = dot(row, row).sqrt() * query_norm;
        if norm > 0.0 { dot(row, query) / norm } else { 0.0 }
    };
    let is_allowed = |row: usize| {
        allowed
            .is_none_or(|words| words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1))
    };
    let search = |(block, rows): (usize, &[f32])| {
        let mut best: BinaryHeap<Found> = BinaryHeap::new();
        for (at, vector) in rows.chunks_exact(dim).enumerate() {
            let row = block * BLOCK_ROWS + at;
            if !is_allowed(row) {
                continue;
            }
            let score = score(vector);
            if !score.is_nan() {
                keep(&mut best, Found { score, row: row as u32 }, k);
            }
        }
        best
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

    use super::*;

    fn naive(
        rows: &[f32],
        query: &[f32],
        k: usize,
        allowed: impl Fn(usize) -> bool,
    ) -> Vec<(u32, f32)> {
        let norm = |v: &[f32]| dot(v, v).sqrt();
        let mut all: Vec<(u32, f32)> = rows
            .chunks_exact(query.len())
            .enumerate()
            .filter(|(row, _)| allowed(*row))
            .map(|(row, vector)| {
                let inner = dot(vector, query);
                let norms = norm(vector) * norm(query);
                let score = if norms == 0.0 { 0.0 } else { inner / norms };
                (row as u32, score)
            })
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
            let query: Vec<f32> = query.iter().map(|x| f32::from(*x)).collect();
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
        let found: Vec<u32> =
            nearest(&rows, &[1.0, 0.0], 3, None).into_iter().map(|(row, _)| row).collect();
        assert_eq!(found, [999, 1999, 2999]);
    }
}
