//! A seeded catalogue with clustered SIDs.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The levels of a SID.
pub const LEVELS: usize = 3;
/// The codes of a level.
pub const SIZE: u16 = 256;
/// The mean number of items under two codes.
const UNDER_TWO: usize = 40;

/// Items with SIDs, in the order of their numbers.
///
/// Only some pairs of first codes occur, and the items under them differ in number by a log-normal law, as
/// under a trained codebook; items that are neighbours in the catalogue have SIDs far apart.
pub struct World {
    /// The SID of each item.
    pub sids: Vec<[u16; LEVELS]>,
}

impl World {
    /// As many items, from a seed.
    pub fn new(items: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let pairs = (items / UNDER_TWO).max(1);
        let mut ends = Vec::with_capacity(pairs);
        let mut total = 0.0;
        let mut heads = Vec::with_capacity(pairs);
        for _ in 0..pairs {
            heads.push([random.random_range(0..SIZE), random.random_range(0..SIZE)]);
            total += normal(&mut random).exp();
            ends.push(total);
        }
        let sids = (0..items)
            .map(|_| {
                let at = random.random_range(0.0..total);
                let [a, b] = heads[ends.partition_point(|end| *end <= at).min(pairs - 1)];
                [a, b, random.random_range(0..SIZE)]
            })
            .collect();
        World { sids }
    }

    /// The text key of an item.
    pub fn id(item: usize) -> String {
        format!("B{item:09}")
    }

    /// The title of an item.
    pub fn title(item: usize) -> String {
        format!("Item {item} of a catalogue, with a title of the length that shops give")
    }

    /// The brand of an item.
    pub fn brand(item: usize) -> String {
        format!("Brand {}", item % 997)
    }

    /// The price of an item.
    pub fn price(item: usize) -> f64 {
        (item * 7919 % 10_000) as f64 / 100.0
    }

    /// Prefixes of so many codes that hold items, drawn uniformly from those that occur.
    pub fn prefixes(&self, codes: usize, count: usize, seed: u64) -> Vec<Vec<u16>> {
        let mut occurring: Vec<&[u16]> = self.sids.iter().map(|sid| &sid[..codes]).collect();
        occurring.sort_unstable();
        occurring.dedup();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| occurring[random.random_range(0..occurring.len())].to_vec()).collect()
    }
}

/// A standard normal number, by Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_world() {
        let world = World::new(5000, 7);
        assert_eq!(world.sids, World::new(5000, 7).sids);
        assert_ne!(world.sids, World::new(5000, 8).sids);
    }

    #[test]
    fn prefixes_hold_items() {
        let world = World::new(40_000, 1);
        let prefixes = world.prefixes(2, 500, 2);
        let held: usize = prefixes
            .iter()
            .map(|prefix| world.sids.iter().filter(|sid| sid.starts_with(prefix)).count())
            .sum();
        assert!((30..60).contains(&(held / prefixes.len())), "{held}");
    }
}
