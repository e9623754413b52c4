//! The prefix trie over the SIDs of one generation, as flat arrays.
//!
//! Items are sorted by SID; their place in that order is their *rank*. Nodes are numbered level by level
//! (the root is 0), in SID order within a level, so that
//!
//! - the children of a node are consecutive nodes, and their codes a slice;
//! - the items under a node are consecutive ranks.
//!
//! The first level, and the second where it pays, also has a dense table from codes to node; below, a child
//! is found by binary search among its siblings (the layout of STATIC, arXiv 2602.22647). A leaf is a whole
//! SID; several positions of the catalogue may share it and form a *bucket*.

use std::ops::Range;

use sidql_storage::{ItemNo, sids::Columns};

use super::Catalogue;

/// A table from a pair of codes to its node is always kept up to this many cells (256 KiB) …
const DENSE_CELLS: usize = 1 << 16;
/// … and beyond that while it has at most so many cells for each node of the second level.
const DENSE_CELLS_PER_NODE: usize = 8;
/// In a dense table: there is no such node.
const NONE: u32 = u32::MAX;

/// The trie of one generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trie {
    /// The first node of each level, from the root to one past the leaves.
    begins: Vec<u32>,
    /// The code that leads to a node; 0 for the root.
    codes: Vec<u16>,
    /// The first child of a node, and one more entry: the children end where those of the next node begin.
    first_child: Vec<u32>,
    /// The first rank under a node, and a 0 at the end.
    first_rank: Vec<u32>,
    /// Positions of the catalogue in SID order.
    order: Vec<u32>,
    /// The rank of each position.
    ranks: Vec<u32>,
    /// The leaf of each position.
    leaves: Vec<u32>,
    /// Code to node of the first level.
    first: Vec<u32>,
    /// Pair of codes, row-major, to node of the second level; empty where it does not pay.
    second: Vec<u32>,
    /// The number of codes of the second level.
    second_size: usize,
}

impl Trie {
    /// The node above all others.
    pub(crate) const ROOT: u32 = 0;

    /// The trie of a catalogue.
    #[cfg(test)]
    pub(crate) fn build(catalogue: &Catalogue) -> Self {
        let mut order: Vec<u32> = (0..catalogue.len() as u32).collect();
        order.sort_by_key(|position| catalogue.codes_of(*position));
        let codes: Vec<u16> =
            order.iter().flat_map(|position| catalogue.codes_of(*position)).copied().collect();
        Trie::of_order(&catalogue.sizes, &codes, order)
    }

    /// The catalogue and the trie of SIDs that stand in their order already, as a file has them. Linear in items
    /// and levels.
    pub(crate) fn of_columns(columns: &Columns, sizes: Vec<usize>) -> (Catalogue, Self) {
        let (items, order) = ranked(&columns.items);
        let mut codes = vec![0; columns.codes.len()];
        if !sizes.is_empty() {
            for (row, &position) in columns.codes.chunks_exact(sizes.len()).zip(&order) {
                let at = position as usize * sizes.len();
                codes[at..at + sizes.len()].copy_from_slice(row);
            }
        }
        let trie = Trie::of_order(&sizes, &columns.codes, order);
        (Catalogue::new(items, sizes, codes), trie)
    }

    /// The number of levels below the root.
    pub(crate) fn levels(&self) -> usize {
        self.begins.len().saturating_sub(2)
    }

    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The number of nodes, the root included.
    pub(crate) fn nodes(&self) -> usize {
        self.codes.len()
    }

    /// The nodes of prefixes of so many codes, in their order.
    ///
    /// # Panics
    /// If there are fewer levels.
    pub(crate) fn nodes_at(&self, length: usize) -> Range<u32> {
        self.begins[length]..self.begins[length + 1]
    }

    /// The code that leads to a node from its parent; 0 for the root.
    pub(crate) fn code(&self, node: u32) -> u16 {
        self.codes[node as usize]
    }

    /// The codes of the children of a node, ascending, and the first child; the others follow it.
    pub(crate) fn children(&self, node: u32) -> (&[u16], u32) {
        let begin = self.first_child[node as usize];
        let end = self.first_child[node as usize + 1];
        (&self.codes[begin as usize..end as usize], begin)
    }

    /// The child of a node by a code.
    pub(crate) fn child(&self, node: u32, code: u16) -> Option<u32> {
        let known = |child: &u32| *child != NONE;
        if node == Trie::ROOT {
            return self.first.get(usize::from(code)).copied().filter(known);
        }
        if !self.second.is_empty() && node < self.begins[2] {
            if usize::from(code) >= self.second_size {
                return None;
            }
            let cell = usize::from(self.code(node)) * self.second_size + usize::from(code);
            return Some(self.second[cell]).filter(known);
        }
        let (codes, begin) = self.children(node);
        codes.binary_search(&code).ok().map(|at| begin + at as u32)
    }

    /// The node of a prefix of codes; the root for the empty prefix.
    pub(crate) fn node_of(&self, prefix: &[u16]) -> Option<u32> {
        prefix.iter().try_fold(Trie::ROOT, |node, code| self.child(node, *code))
    }

    /// The ranks under a node: a range of `order`.
    pub(crate) fn items_under(&self, node: u32) -> Range<u32> {
        let begin = self.first_rank[node as usize];
        // Only the first node of a level begins at rank 0, so a 0 says that `node` is the last of its level.
        let end = match self.first_rank[node as usize + 1] {
            0 => self.order.len() as u32,
            next => next,
        };
        begin..end
    }

    /// The number of items under a node.
    pub(crate) fn count(&self, node: u32) -> usize {
        self.items_under(node).len()
    }

    /// The positions of the catalogue in SID order; a rank is an index into it.
    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }

    /// The rank of a position.
    pub(crate) fn rank(&self, position: u32) -> u32 {
        self.ranks[position as usize]
    }

    /// The leaf of a position.
    pub(crate) fn leaf(&self, position: u32) -> u32 {
        self.leaves[position as usize]
    }

    /// The arrays over positions that are in SID order already, each with its row of `codes`.
    fn of_order(sizes: &[usize], codes: &[u16], order: Vec<u32>) -> Self {
        let levels = sizes.len();
        let mut grown: Vec<Level> = vec![Level::default(); levels + 1];
        grown[0].push(0, 0, 0);
        let mut leaves = vec![0; order.len()];
        let mut ranks = vec![0; order.len()];
        let mut before: &[u16] = &[];
        for (rank, &position) in order.iter().enumerate() {
            let codes = &codes[rank * levels..(rank + 1) * levels];
            let common = before.iter().zip(codes).take_while(|(a, b)| a == b).count();
            // The empty catalogue row of a database without a codebook has no level to grow.
            let common = if rank == 0 { 0 } else { common };
            for level in common + 1..=levels {
                let child = grown.get(level + 1).map_or(0, |next| next.codes.len() as u32);
                grown[level].push(codes[level - 1], child, rank as u32);
            }
            leaves[position as usize] = grown[levels].codes.len() as u32 - 1;
            ranks[position as usize] = rank as u32;
            before = codes;
        }
        let mut trie = Trie { order, ranks, ..Trie::default() };
        trie.join(&grown);
        let leaf_begin = trie.begins[levels];
        trie.leaves = leaves.into_iter().map(|leaf| leaf + leaf_begin).collect();
        trie.fill_dense(sizes);
        trie
    }

    /// Puts the levels one after the other, numbering nodes through.
    fn join(&mut self, grown: &[Level]) {
        let mut begin = 0;
        self.begins.push(begin);
        for level in grown {
            begin += level.codes.len() as u32;
            self.begins.push(begin);
            self.codes.extend_from_slice(&level.codes);
            // Leaves have no next level: their children begin and end at the number of nodes.
            self.first_child.extend(level.first_child.iter().map(|child| child + begin));
            self.first_rank.extend_from_slice(&level.first_rank);
        }
        self.first_child.push(begin);
        self.first_rank.push(0);
    }

    fn fill_dense(&mut self, sizes: &[usize]) {
        let Some(&size) = sizes.first() else { return };
        self.first = vec![NONE; size];
        let (codes, begin) = self.children(Trie::ROOT);
        let found: Vec<_> = codes.iter().copied().zip(begin..).collect();
        for &(code, node) in &found {
            self.first[usize::from(code)] = node;
        }
        let Some(&second_size) = sizes.get(1) else { return };
        let cells = size * second_size;
        let nodes = (self.begins[3] - self.begins[2]) as usize;
        if cells > DENSE_CELLS && cells > DENSE_CELLS_PER_NODE * nodes {
            return;
        }
        let mut second = vec![NONE; cells];
        for (first, parent) in found {
            let (codes, begin) = self.children(parent);
            for (code, node) in codes.iter().zip(begin..) {
                second[usize::from(first) * second_size + usize::from(*code)] = node;
            }
        }
        self.second = second;
        self.second_size = second_size;
    }
}

/// One level while it grows; children are counted from the begin of the next level.
#[derive(Clone, Default)]
struct Level {
    codes: Vec<u16>,
    first_child: Vec<u32>,
    first_rank: Vec<u32>,
}

impl Level {
    fn push(&mut self, code: u16, first_child: u32, first_rank: u32) {
        self.codes.push(code);
        self.first_child.push(first_child);
        self.first_rank.push(first_rank);
    }
}

/// The items in ascending order, and for each of the given ones its place in that order.
fn ranked(items: &[ItemNo]) -> (Vec<ItemNo>, Vec<u32>) {
    let Some(last) = items.iter().max() else { return Default::default() };
    let words = last / 64 + 1;
    // A bit for each number that there could be, unless the items are too few for that.
    if words > items.len() as u64 {
        let mut sorted = items.to_vec();
        sorted.sort_unstable();
        let place = |item: &ItemNo| sorted.partition_point(|other| other < item) as u32;
        let order = items.iter().map(place).collect();
        return (sorted, order);
    }
    let mut bits = vec![0_u64; words as usize];
    for item in items {
        bits[(item / 64) as usize] |= 1 << (item % 64);
    }
    // The count of bits before each word.
    let mut before = Vec::with_capacity(bits.len());
    let mut sorted = Vec::with_capacity(items.len());
    for (word, mut rest) in (0_u64..).zip(bits.iter().copied()) {
        before.push(sorted.len() as u32);
        while rest != 0 {
            sorted.push(word * 64 + u64::from(rest.trailing_zeros()));
            rest &= rest - 1;
        }
    }
    let place = |item: &ItemNo| {
        let (word, below) = ((item / 64) as usize, (1_u64 << (item % 64)) - 1);
        before[word] + (bits[word] & below).count_ones()
    };
    let order = items.iter().map(place).collect();
    (sorted, order)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::{BTreeMap, BTreeSet};

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
            let columns = Columns {
                items: trie.order().iter().map(|at| catalogue.items[*at as usize]).collect(),
                codes: trie.order().iter().flat_map(|at| &sids[*at as usize]).copied().collect(),
            };
            let (again, same) = Trie::of_columns(&columns, sizes.clone());
            prop_assert_eq!(&same, &trie);
            prop_assert_eq!((&again.items, &again.codes), (&catalogue.items, &catalogue.codes));
            let probe = &probe.map(|code| code % 8)[..sizes.len()];
            prop_assert_eq!(trie.node_of(probe).is_some(), prefixes.contains_key(probe));
            for (position, sid) in (0..).zip(&sids) {
                prop_assert_eq!(trie.order()[trie.rank(position) as usize], position);
                prop_assert_eq!(Some(trie.leaf(position)), trie.node_of(sid));
            }
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
}
