//! Which items may be answered: the predicate of a statement, as positions and as ranks of the SID tree.
//!
//! Items under a node are consecutive in SID order, so the number of allowed items under any node is the
//! difference of two running counts: `Allowed` is computed once for a predicate and serves every question.

use std::ops::Range;

use super::Trie;

/// The items that a predicate allows.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    len: usize,
    filter: Option<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    /// One bit for each position.
    bits: Vec<u64>,
    count: usize,
    /// How many allowed items come before each rank, and the total at the end. Empty without a trie.
    before: Vec<u32>,
}

impl Allowed {
    /// Every item of a catalogue of `len` items.
    pub(crate) fn all(len: usize) -> Self {
        Allowed { len, filter: None }
    }

    /// Only these positions of a catalogue of `len` items, in any order. The trie, where there is one, must be
    /// that of the same catalogue.
    pub(crate) fn only(
        len: usize,
        trie: Option<&Trie>,
        positions: impl IntoIterator<Item = u32>,
    ) -> Self {
        let mut bits = vec![0_u64; len.div_ceil(64)];
        for position in positions {
            bits[position as usize / 64] |= 1 << (position % 64);
        }
        let count = bits.iter().map(|word| word.count_ones() as usize).sum();
        let mut filter = Filter { bits, count, before: Vec::new() };
        if let Some(trie) = trie {
            filter.before.reserve(len + 1);
            let mut total = 0;
            filter.before.push(total);
            for &position in trie.order() {
                total += u32::from(filter.contains(position));
                filter.before.push(total);
            }
        }
        Allowed { len, filter: Some(filter) }
    }

    /// Whether an item is allowed.
    pub(crate) fn contains(&self, position: u32) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.contains(position))
    }

    /// Whether every item is allowed.
    pub(crate) fn is_all(&self) -> bool {
        self.filter.is_none()
    }

    /// The number of allowed items.
    pub(crate) fn count(&self) -> usize {
        self.filter.as_ref().map_or(self.len, |filter| filter.count)
    }

    /// The number of allowed items within a range of ranks.
    pub(crate) fn within(&self, ranks: &Range<u32>) -> u32 {
        match &self.filter {
            None => ranks.end - ranks.start,
            Some(filter) => filter.before[ranks.end as usize] - filter.before[ranks.start as usize],
        }
    }

    /// Ranges of ranks that together hold every allowed item, each with about `limit` of them; no bucket is
    /// cut in two.
    pub(crate) fn cut(&self, trie: &Trie, limit: usize) -> Vec<Range<u32>> {
        let mut cuts = Vec::new();
        let mut begin = 0;
        while begin < self.len {
            let end = match &self.filter {
                None => (begin + limit).min(self.len),
                Some(filter) if filter.before[begin] == filter.before[self.len] => break,
                // The first rank before which the limit is reached.
                Some(filter) => {
                    let full = filter.before[begin] + limit as u32;
                    filter.before.partition_point(|before| *before < full).min(self.len)
                }
            };
            let end = trie.items_under(trie.leaf(trie.order()[end - 1])).end as usize;
            cuts.push(begin as u32..end as u32);
            begin = end;
        }
        cuts
    }
}

impl Filter {
    fn contains(&self, position: u32) -> bool {
        self.bits[position as usize / 64] >> (position % 64) & 1 == 1
    }
}
