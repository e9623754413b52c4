//! The limit: sorted columns in memory, searched in halves.

use std::ops::Range;

use sidql_bench::{LEVELS, World};

/// The SIDs in order, each packed into one number, with the items beside them.
pub(crate) struct Array {
    sids: Vec<u64>,
    items: Vec<u64>,
}

impl Array {
    /// The array of a catalogue.
    pub(crate) fn new(world: &World) -> Self {
        let mut sorted: Vec<(u64, u64)> =
            world.sids.iter().map(|sid| pack(sid)).zip(0_u64..).collect();
        sorted.sort_unstable();
        let (sids, items) = sorted.into_iter().unzip();
        Array { sids, items }
    }

    /// The items under a prefix, in the order of SID and item.
    pub(crate) fn under(&self, prefix: &[u16]) -> &[u64] {
        &self.items[self.range(prefix)]
    }

    fn range(&self, prefix: &[u16]) -> Range<usize> {
        let first = pack(prefix);
        let after = first + (1 << (16 * (LEVELS - prefix.len())));
        let start = self.sids.partition_point(|sid| *sid < first);
        // The end is near, so it is looked for in growing steps.
        let mut step = 16;
        while self.sids.get(start + step).is_some_and(|sid| *sid < after) {
            step *= 2;
        }
        let near = &self.sids[start..(start + step).min(self.sids.len())];
        start..start + near.partition_point(|sid| *sid < after)
    }
}

/// The codes in one number that is ordered as they are; those that a prefix lacks are 0.
fn pack(codes: &[u16]) -> u64 {
    (0..LEVELS).fold(0, |packed, at| packed << 16 | u64::from(codes.get(at).copied().unwrap_or(0)))
}
