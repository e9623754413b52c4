//! How far two groupings of the same items agree, beyond what chance would give.
//!
//! The adjusted mutual information is that of Vinh, Epps and Bailey (JMLR 11, 2010) with the arithmetic mean of
//! the entropies: `(MI − E[MI]) / (mean(H, H') − E[MI])`, where the expectation is over all groupings with the same
//! group sizes (the hypergeometric model). It is exact, not sampled. What it costs depends on the group *sizes*: a
//! term of the expectation depends on two sizes only, so that it is computed once for every pair of different sizes,
//! and its sum runs outward from the likeliest overlap until nothing is left to add.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::progress::Progress;

/// Probabilities below this add nothing that a double can hold.
const NOTHING: f64 = 1e-20;

/// Below this, relative to the entropies, there is no room between chance and agreement.
const NO_ROOM: f64 = 1e-9;

/// The groups of row-major codes by their first `depth` codes, numbered from 0 in the order of their first rows.
pub(crate) fn groups(codes: &[u16], width: usize, depth: usize) -> Vec<u32> {
    let mut known: HashMap<&[u16], u32> = HashMap::new();
    let number = |row: &[u16], known: &mut HashMap<_, u32>, key| {
        debug_assert!(depth <= row.len(), "no prefix is longer than its sid");
        let next = known.len() as u32;
        *known.entry(key).or_insert(next)
    };
    codes.chunks_exact(width).map(|row| number(row, &mut known, &row[..depth])).collect()
}

/// How many items two groupings put together how.
#[derive(Clone, Debug)]
pub(crate) struct Contingency {
    left: Vec<u64>,
    right: Vec<u64>,
    cells: Vec<(u32, u32, u64)>,
    total: u64,
}

impl Contingency {
    /// Counts the groups of each item: `left[i]` and `right[i]` are those of item i.
    pub(crate) fn new(left: &[u32], right: &[u32]) -> Self {
        debug_assert_eq!(left.len(), right.len(), "both group the same items");
        let sizes = |groups: &[u32]| {
            let mut sizes = vec![0u64; groups.iter().max().map_or(0, |most| *most as usize + 1)];
            for group in groups {
                sizes[*group as usize] += 1;
            }
            sizes
        };
        let mut pairs: Vec<(u32, u32)> = left.iter().copied().zip(right.iter().copied()).collect();
        pairs.sort_unstable();
        let cells = pairs.chunk_by(|a, b| a == b).map(|run| (run[0].0, run[0].1, run.len() as u64));
        Contingency {
            cells: cells.collect(),
            left: sizes(left),
            right: sizes(right),
            total: left.len() as u64,
        }
    }

    /// Groups of the left and of the right that have items.
    pub(crate) fn groups(&self) -> (usize, usize) {
        let count = |sizes: &[u64]| sizes.iter().filter(|size| **size > 0).count();
        (count(&self.left), count(&self.right))
    }

    /// Pairs of items that are together on the left, on the right, and on both sides.
    pub(crate) fn pairs(&self) -> (u64, u64, u64) {
        let of = |size: u64| size * size.saturating_sub(1) / 2;
        let all = |sizes: &[u64]| sizes.iter().map(|size| of(*size)).sum();
        (all(&self.left), all(&self.right), self.cells.iter().map(|(_, _, count)| of(*count)).sum())
    }

    /// The share of items in the commonest right group of their left group.
    pub(crate) fn purity(&self) -> f64 {
        let mut most = vec![0u64; self.left.len()];
        for (left, _, count) in &self.cells {
            most[*left as usize] = most[*left as usize].max(*count);
        }
        most.iter().sum::<u64>() as f64 / self.total.max(1) as f64
    }

    /// The adjusted Rand index: 1 for the same groups, 0 on average for groups by chance; none where chance alone
    /// decides, as where every item is a group of its own.
    pub(crate) fn rand_index(&self) -> Option<f64> {
        let (left, right, both) = self.pairs();
        let all = self.total as f64 * (self.total as f64 - 1.0) / 2.0;
        let chance = left as f64 * right as f64 / all.max(1.0);
        let most = f64::midpoint(left as f64, right as f64);
        (most - chance > NO_ROOM * most.max(1.0)).then(|| (both as f64 - chance) / (most - chance))
    }

    /// The adjusted mutual information: 1 for the same groups, 0 on average for groups by chance; none where chance
    /// alone decides, as where every item is a group of its own on both sides.
    pub(crate) fn mutual_information(&self, progress: &Progress) -> Result<Option<f64>> {
        let mean = f64::midpoint(self.entropy(&self.left), self.entropy(&self.right));
        let chance = self.expected(progress)?;
        let room = mean - chance;
        Ok((room > NO_ROOM * mean.max(1.0)).then(|| (self.information() - chance) / room))
    }

    fn entropy(&self, sizes: &[u64]) -> f64 {
        let shares =
            sizes.iter().filter(|size| **size > 0).map(|size| *size as f64 / self.total as f64);
        -shares.map(|share| share * share.ln()).sum::<f64>()
    }

    fn information(&self) -> f64 {
        let total = self.total as f64;
        let of = |(left, right, count): &(u32, u32, u64)| {
            let by_chance =
                self.left[*left as usize] as f64 * self.right[*right as usize] as f64 / total;
            *count as f64 / total * (*count as f64 / by_chance).ln()
        };
        self.cells.iter().map(of).sum()
    }

    /// The mutual information that groups of these sizes have by chance.
    fn expected(&self, progress: &Progress) -> Result<f64> {
        let sizes = |sizes: &[u64]| {
            let mut different: BTreeMap<u64, u64> = BTreeMap::new();
            for size in sizes.iter().filter(|size| **size > 0) {
                *different.entry(*size).or_default() += 1;
            }
            different
        };
        let (left, right) = (sizes(&self.left), sizes(&self.right));
        let mut sum = 0.0;
        for (a, times) in &left {
            progress.check()?;
            for (b, more) in &right {
                sum += (*times * *more) as f64 * overlap(*a, *b, self.total);
            }
        }
        Ok(sum)
    }
}

/// What groups of `a` and `b` of `total` items add to the mutual information on average, when `b` is drawn at random.
fn overlap(a: u64, b: u64, total: u64) -> f64 {
    let (x, y, n) = (a as f64, b as f64, total as f64);
    let (least, most) = ((a + b).saturating_sub(total), a.min(b));
    let likeliest = (((x + 1.0) * (y + 1.0) / (n + 2.0)) as u64).clamp(least, most);
    let ways = |of: u64, take: u64| ln_factorial(of) - ln_factorial(take) - ln_factorial(of - take);
    let peak = (ways(a, likeliest) + ways(total - a, b - likeliest) - ways(total, b)).exp();
    let term = |k: f64| if k > 0.0 { k / n * (n * k / (x * y)).ln() } else { 0.0 };
    let mut sum = peak * term(likeliest as f64);
    let (mut k, mut p) = (likeliest as f64, peak);
    while k < most as f64 && p > NOTHING {
        p *= (x - k) * (y - k) / ((k + 1.0) * (n - x - y + k + 1.0));
        k += 1.0;
        sum += p * term(k);
    }
    let (mut k, mut p) = (likeliest as f64, peak);
    while k > least as f64 && p > NOTHING {
        p *= k * (n - x - y + k) / ((x - k + 1.0) * (y - k + 1.0));
        k -= 1.0;
        sum += p * term(k);
    }
    sum
}

/// The logarithm of n!: the product for small n, Stirling's series beyond, whose error is below 1e-15 there.
fn ln_factorial(n: u64) -> f64 {
    if n < 24 {
        return (2..=n).map(|factor| factor as f64).product::<f64>().ln();
    }
    let x = n as f64;
    let series = 1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * x * x)) / (x * x);
    x * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI * x).ln() + series / x
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn ami(left: &[u32], right: &[u32]) -> Option<f64> {
        Contingency::new(left, right).mutual_information(&Progress::silent()).unwrap()
    }

    /// Every order of a list.
    fn orders(list: &mut Vec<u32>, from: usize, seen: &mut impl FnMut(&[u32])) {
        if from == list.len() {
            return seen(list);
        }
        for at in from..list.len() {
            list.swap(from, at);
            orders(list, from + 1, seen);
            list.swap(from, at);
        }
    }

    #[test]
    fn factorials() {
        for n in [0u64, 1, 5, 23, 24, 25, 40, 170] {
            let summed: f64 = (1..=n).map(|factor| (factor as f64).ln()).sum();
            assert!((ln_factorial(n) - summed).abs() < 1e-11 * summed.max(1.0), "{n}");
        }
    }

    #[test]
    fn known_values() {
        // scikit-learn 1.9: adjusted_mutual_info_score and adjusted_rand_score of the same labels.
        let (left, right) = ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]);
        assert!((ami(&left, &right).unwrap() - 0.298_792_458_170_890_06).abs() < 1e-12);
        let rand = Contingency::new(&left, &right).rand_index().unwrap();
        assert!((rand - 0.242_424_242_424_242_43).abs() < 1e-12);
        assert!((Contingency::new(&left, &right).purity() - 4.0 / 6.0).abs() < 1e-12);
        assert!((ami(&left, &left).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(ami(&[0, 0, 0], &[0, 1, 2]), Some(0.0), "one group holds no information");
        assert_eq!(ami(&[0, 1, 2], &[2, 1, 0]), None, "single items agree by chance");
        assert_eq!(Contingency::new(&[], &[]).rand_index(), None);
        assert_eq!(Contingency::new(&left, &right).pairs(), (6, 3, 2));
        assert_eq!(groups(&[1, 1, 1, 2, 1, 1, 3, 3], 2, 1), [0, 0, 0, 1]);
        assert_eq!(groups(&[1, 1, 1, 2, 1, 1, 3, 3], 2, 2), [0, 1, 0, 2]);
    }

    proptest! {
        #[test]
        fn the_expectation_is_the_mean_over_all_orders(
            left in prop::collection::vec(0u32..3, 2..7),
            seed in prop::collection::vec(0u32..4, 6),
        ) {
            let right = &seed[..left.len().min(seed.len())];
            let left = &left[..right.len()];
            let known = Contingency::new(left, right);
            let (mut sum, mut count) = (0.0, 0.0);
            orders(&mut right.to_vec(), 0, &mut |right| {
                sum += Contingency::new(left, right).information();
                count += 1.0;
            });
            let expected = known.expected(&Progress::silent()).unwrap();
            prop_assert!((expected - sum / count).abs() < 1e-12, "{} {}", expected, sum / count);
        }

        #[test]
        fn agreement_has_no_direction(
            left in prop::collection::vec(0u32..9, 60),
            right in prop::collection::vec(0u32..5, 60),
        ) {
            let (there, back) = (ami(&left, &right), ami(&right, &left));
            prop_assert_eq!(there.is_some(), back.is_some());
            if let (Some(there), Some(back)) = (there, back) {
                prop_assert!((there - back).abs() < 1e-9 && there <= 1.0 + 1e-9);
            }
        }
    }
}
