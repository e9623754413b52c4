//! Approximate neighbours over the SID tree: its prefixes are the cells, and codewords tell how far each of them is.
//!
//! A SID stands for the sum of its codewords, `c₁ + … + c_L`. With the residual `r` of the query before a level,
//! `‖r − c‖² = ‖r‖² − 2 r·c + ‖c‖²` is the distance after it, where the query itself is compared, not its codes
//! (asymmetric distances; Jégou, Douze and Schmid 2011, Babenko and Lempitsky 2012 for cells of two codes). Prefixes
//! of two codes are visited in the order of their distance, by a heap that opens a first code no sooner than its
//! nearest prefix could come next. Levels below those with codewords, such as a suffix level, tell nothing apart.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::product::dot;
use super::{Kind, Trie};
use crate::error::{Error, Result};
use crate::options::{self, Given};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "sid",
    summary: "approximate: the prefixes of a published codebook are visited, their nearest items compared exactly",
    options: &[
        ("nprobe", "prefixes that are visited"),
        (
            "rerank",
            "items that are compared exactly; by itself ten for each row wanted, at least 200",
        ),
    ],
    config: |given: &[Given]| options::checked(given, check),
    made: None,
};

/// What can be said of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Prefixes visited.
    nprobe: usize,
    /// Items compared exactly.
    rerank: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Config { nprobe: NPROBE, rerank: None }
    }
}

fn check(config: &Config) -> Result<()> {
    if config.nprobe == 0 || config.rerank == Some(0) {
        return Err(Error::input("bad-option", "`nprobe` and `rerank` are at least 1"));
    }
    Ok(())
}

/// Prefixes that are visited unless told.
pub(crate) const NPROBE: usize = 64;

/// The levels of a visited prefix, where there are so many with codewords.
const CELL_LEVELS: usize = 2;

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Items that must come back wherever so many are kept.
    pub(crate) wanted: usize,
    /// Prefixes to visit; more while fewer items than wanted were found.
    pub(crate) nprobe: usize,
    /// Items to give back at most, unless more are wanted.
    pub(crate) rerank: usize,
}

/// A tree of SIDs, and the codewords that its codes stand for.
pub(crate) struct Cells<'a> {
    trie: &'a Trie,
    levels: Vec<Level<'a>>,
    dim: usize,
}

/// The codewords of one level.
struct Level<'a> {
    /// Row-major, `codes × dim`.
    codewords: &'a [f32],
    /// The squared length of each.
    squares: Vec<f32>,
    /// The greatest length.
    longest: f32,
}

impl<'a> Cells<'a> {
    /// The cells of a tree whose first levels have these codewords, row-major with `dim` components each.
    pub(crate) fn new(
        trie: &'a Trie,
        codewords: impl IntoIterator<Item = &'a [f32]>,
        dim: usize,
    ) -> Self {
        let level = |codewords: &'a [f32]| {
            let squares: Vec<f32> = codewords.chunks_exact(dim).map(|c| dot(c, c)).collect();
            let longest = squares.iter().copied().fold(0.0, f32::max).sqrt();
            Level { codewords, squares, longest }
        };
        let levels = codewords.into_iter().take(trie.levels()).map(level).collect();
        Cells { trie, levels, dim }
    }

    /// The positions of items that `keep` accepts, by the distance of the query to what their SIDs stand for, the
    /// nearest first and equal ones by position. The query has `dim` components.
    pub(crate) fn nearest(
        &self,
        query: &[f32],
        effort: Effort,
        keep: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        debug_assert_eq!(query.len(), self.dim);
        let mut found = Vec::new();
        let mut heap = BinaryHeap::new();
        let square = dot(query, query);
        heap.push(Open { key: 0.0, square, level: 0, node: Trie::ROOT, parent: Trie::ROOT });
        let cell_levels = self.levels.len().min(CELL_LEVELS);
        let mut visited = 0;
        while let Some(open) = heap.pop() {
            let mut residual = query.to_vec();
            self.subtract(&mut residual, 0, open.parent);
            self.subtract(&mut residual, open.level.saturating_sub(1), open.node);
            if open.level < cell_levels {
                let children = self.children(open.node, open.level, &residual, open.square);
                heap.extend(children.map(|(node, square)| {
                    let level = open.level + 1;
                    let key = self.bound(square, level, cell_levels);
                    Open { key, square, level, node, parent: open.node }
                }));
                continue;
            }
            if visited >= effort.nprobe && found.len() >= effort.wanted {
                break;
            }
            visited += 1;
            self.collect((open.node, open.level), &residual, open.square, &keep, &mut found);
        }
        found.sort_unstable_by(|l, r| l.0.total_cmp(&r.0).then(l.1.cmp(&r.1)));
        found.truncate(effort.rerank.max(effort.wanted));
        found.into_iter().map(|(_, position)| position).collect()
    }

    /// No prefix below a node at this squared distance is nearer than this, squared.
    fn bound(&self, square: f32, level: usize, cell_levels: usize) -> f32 {
        let below: f32 = self.levels[level..cell_levels].iter().map(|level| level.longest).sum();
        if below == 0.0 {
            return square;
        }
        let least = (square.max(0.0).sqrt() - below).max(0.0);
        least * least
    }

    /// Takes the codeword of a node at `level` away; the root has none, nor a code that was never trained.
    fn subtract(&self, residual: &mut [f32], level: usize, node: u32) {
        if node != Trie::ROOT
            && let Some((codeword, _)) = self.codeword(level, self.trie.code(node))
        {
            residual.iter_mut().zip(codeword).for_each(|(r, c)| *r -= c);
        }
    }

    /// A codeword with its squared length.
    fn codeword(&self, level: usize, code: u16) -> Option<(&[f32], f32)> {
        let level = self.levels.get(level)?;
        let square = *level.squares.get(usize::from(code))?;
        let at = usize::from(code) * self.dim;
        Some((&level.codewords[at..at + self.dim], square))
    }

    /// The children of a node, with the squared distance of the query to each, from the residual and the squared
    /// distance at the node.
    fn children<'c>(
        &'c self,
        node: u32,
        level: usize,
        residual: &'c [f32],
        square: f32,
    ) -> impl Iterator<Item = (u32, f32)> + 'c {
        let (codes, first) = self.trie.children(node);
        codes.iter().zip(first..).map(move |(code, child)| {
            let farther = self
                .codeword(level, *code)
                .map_or(0.0, |(codeword, own)| own - 2.0 * dot(residual, codeword));
            (child, square + farther)
        })
    }

    /// The kept items under a node, with the distances of their SIDs.
    fn collect(
        &self,
        (node, level): (u32, usize),
        residual: &[f32],
        square: f32,
        keep: &impl Fn(u32) -> bool,
        found: &mut Vec<(f32, u32)>,
    ) {
        if level == self.levels.len() {
            let ranks = self.trie.items_under(node);
            let positions = &self.trie.order()[ranks.start as usize..ranks.end as usize];
            found.extend(positions.iter().filter(|at| keep(**at)).map(|at| (square, *at)));
            return;
        }
        let last = level + 1 == self.levels.len();
        for (child, square) in self.children(node, level, residual, square) {
            if last {
                self.collect((child, level + 1), &[], square, keep, found);
            } else {
                let mut residual = residual.to_vec();
                self.subtract(&mut residual, level, child);
                self.collect((child, level + 1), &residual, square, keep, found);
            }
        }
    }
}

/// A node to be opened or visited; the heap gives the nearest first.
#[derive(Clone, Copy)]
struct Open {
    /// No prefix under the node is nearer than this, squared.
    key: f32,
    /// The squared distance of the query to the node.
    square: f32,
    level: usize,
    node: u32,
    parent: u32,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.total_cmp(&self.key).then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Catalogue;
    use super::*;

    const DIM: usize = 3;

    /// Codewords by level, SIDs, and whether each item is kept.
    type Tree = (Vec<Vec<f32>>, Vec<usize>, Vec<Vec<u16>>, Vec<bool>);

    /// One to four levels with codewords, at times a suffix level, and whole numbers, so that sums are exact.
    fn trees() -> impl Strategy<Value = Tree> {
        (prop::collection::vec(1_usize..6, 1..5), any::<bool>()).prop_flat_map(|(sizes, suffix)| {
            let words =
                |size: &usize| prop::collection::vec((-9_i8..10).prop_map(f32::from), size * DIM);
            let words: Vec<_> = sizes.iter().map(words).collect();
            let sizes: Vec<usize> = sizes.into_iter().chain(suffix.then_some(4)).collect();
            let sid: Vec<_> = sizes.iter().map(|size| 0..*size as u16).collect();
            let items = prop::collection::vec((sid, any::<bool>()), 0..60);
            (words, Just(sizes), items).prop_map(|(words, sizes, items)| {
                let (sids, kept) = items.into_iter().unzip();
                (words, sizes, sids, kept)
            })
        })
    }

    fn distance(words: &[Vec<f32>], sid: &[u16], query: &[f32]) -> f32 {
        let mut rest = query.to_vec();
        for (words, code) in words.iter().zip(sid) {
            let word = &words[usize::from(*code) * DIM..];
            rest.iter_mut().zip(word).for_each(|(r, c)| *r -= c);
        }
        dot(&rest, &rest)
    }

    fn brute((words, _, sids, kept): &Tree, query: &[f32]) -> Vec<u32> {
        let mut all: Vec<u32> = (0..sids.len() as u32).filter(|at| kept[*at as usize]).collect();
        all.sort_by(|l, r| {
            let of = |at: &u32| distance(words, &sids[*at as usize], query);
            of(l).total_cmp(&of(r)).then(l.cmp(r))
        });
        all
    }

    fn search(tree: &Tree, query: &[f32], effort: Effort) -> Vec<u32> {
        let (words, sizes, sids, kept) = tree;
        let items = (1..=sids.len() as u64).collect();
        let catalogue = Catalogue::new(items, sizes.clone(), sids.concat());
        let trie = Trie::build(&catalogue);
        let cells = Cells::new(&trie, words.iter().map(Vec::as_slice), DIM);
        cells.nearest(query, effort, |at| kept[at as usize])
    }

    fn query() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-20_i8..20).prop_map(f32::from), DIM)
    }

    proptest! {
        #[test]
        fn visiting_all_is_brute_force(tree in trees(), query in query(), rerank in 0_usize..70) {
            let effort = Effort { wanted: 0, nprobe: usize::MAX, rerank };
            let mut expected = brute(&tree, &query);
            expected.truncate(rerank);
            prop_assert_eq!(search(&tree, &query, effort), expected);
        }

        #[test]
        fn as_many_as_wanted_come_back(
            tree in trees(), query in query(), wanted in 0_usize..70, nprobe in 0_usize..4,
        ) {
            let found = search(&tree, &query, Effort { wanted, nprobe, rerank: 0 });
            let kept = tree.3.iter().filter(|kept| **kept).count();
            prop_assert_eq!(found.len(), wanted.min(kept));
            prop_assert!(found.iter().all(|at| tree.3[*at as usize]));
        }

        #[test]
        fn the_nearest_prefixes_are_visited(tree in trees(), query in query(), nprobe in 1_usize..9) {
            let found = search(&tree, &query, Effort { wanted: 0, nprobe, rerank: usize::MAX });
            let (words, _, sids, kept) = &tree;
            let depth = words.len().min(CELL_LEVELS);
            let mut cells: Vec<&[u16]> = sids.iter().map(|sid| &sid[..depth]).collect();
            cells.sort_unstable();
            cells.dedup();
            let of = |cell: &[u16]| distance(words, cell, &query);
            cells.sort_by(|l, r| of(l).total_cmp(&of(r)));
            // Prefixes at equal distance may be visited in any order.
            let Some(last) = cells.get(nprobe.min(cells.len()).wrapping_sub(1)) else {
                prop_assert!(found.is_empty());
                return Ok(());
            };
            for (at, sid) in (0_u32..).zip(sids).filter(|(at, _)| kept[*at as usize]) {
                let (own, edge) = (of(&sid[..depth]), of(last));
                if own < edge {
                    prop_assert!(found.contains(&at), "{at} is missing");
                } else if own > edge {
                    prop_assert!(!found.contains(&at), "{at} is too far");
                }
            }
        }
    }

    #[test]
    fn no_item_and_one() {
        let effort = Effort { wanted: 3, nprobe: 1, rerank: 3 };
        let mut tree: Tree = (vec![vec![1.0; DIM]], vec![1], Vec::new(), Vec::new());
        assert!(search(&tree, &[0.0; DIM], effort).is_empty());
        (tree.2, tree.3) = (vec![vec![0]], vec![true]);
        assert_eq!(search(&tree, &[0.0; DIM], effort), [0]);
    }
}
