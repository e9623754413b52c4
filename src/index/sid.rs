//! Approximate neighbours over the SID tree: its prefixes are the cells, and codewords tell how far each of them is.
//!
//! A SID stands for the sum of its codewords, and `‖q − Σ c_l‖² = ‖q‖² + Σ (‖c_l‖² − 2 q·c_l) + 2 Σ c_l·c_m` over the
//! levels `l` and the pairs `l < m`, where the query itself is compared, not its codes (asymmetric distances; Jégou, Douze
//! and Schmid 2011, Babenko and Lempitsky 2012 for cells of two codes). The terms of single codes are computed once for a
//! query and those of pairs once for a generation, so that a distance is a few additions. Prefixes of two codes are visited in the order of their distance, by a heap that opens a first code no sooner than its
//! nearest prefix could come next. Levels below those with codewords, such as a suffix level, tell nothing apart.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::product::{Transposed, dot, dots};
use super::{Allowed, Kind, Trie};
use crate::error::{Error, Result};
use crate::options::{self, Given};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "sid",
    summary: "approximate: the prefixes of a published codebook are visited, their nearest items compared exactly",
    meanings: options::meanings::<Config>,
    config: |given: &[Given]| options::checked(given, check),
    made: None,
};

/// What can be said of a search.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Prefixes that are visited.
    nprobe: usize,
    /// Items that are compared exactly; by itself ten for each row wanted, at least 200.
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
/// A path of no codes yet.
const NO_PATH: [u16; CELL_LEVELS] = [0; CELL_LEVELS];
/// Products of the codewords of two levels that are kept at most: 16 MiB of them.
const MOST_CROSSED: usize = 1 << 22;

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

/// The codewords of a generation, and what can be known of them before there is a query.
pub(crate) struct Codewords {
    levels: Vec<Level>,
    dim: usize,
}

/// The codewords of one level.
struct Level {
    /// Row-major, `codes × dim`.
    words: Vec<f32>,
    codes: usize,
    /// The squared length of each.
    squares: Vec<f32>,
    /// The greatest length.
    longest: f32,
    /// For each level above, twice the inner product of each of its codewords (a row) with each of this level; nothing
    /// where that would be too large, and products are taken when they are needed.
    crossed: Vec<Option<Vec<f32>>>,
}

impl Codewords {
    /// Codewords level by level, row-major with `dim` components each.
    pub(crate) fn new<'a>(levels: impl IntoIterator<Item = &'a [f32]>, dim: usize) -> Self {
        let mut all: Vec<Level> = Vec::new();
        for words in levels {
            let squares: Vec<f32> = words.chunks_exact(dim).map(|c| dot(c, c)).collect();
            let longest = squares.iter().copied().fold(0.0, f32::max).sqrt();
            let crossed = all.iter().map(|above| crossed(above, words, dim)).collect();
            let codes = squares.len();
            all.push(Level { words: words.to_vec(), codes, squares, longest, crossed });
        }
        Codewords { levels: all, dim }
    }
}

/// Twice the inner products of the codewords of one level with those of a level below.
fn crossed(above: &Level, words: &[f32], dim: usize) -> Option<Vec<f32>> {
    let codes = words.len() / dim;
    if above.codes * codes > MOST_CROSSED {
        return None;
    }
    let mut products = vec![0.0; above.codes * codes];
    dots(&above.words, &Transposed::new(words, dim), &mut products);
    for product in &mut products {
        *product *= 2.0;
    }
    Some(products)
}

impl Level {
    /// A codeword; nothing for a code that was never trained.
    fn word(&self, code: u16, dim: usize) -> Option<&[f32]> {
        let at = usize::from(code) * dim;
        self.words.get(at..at + dim)
    }
}

/// A tree of SIDs, the codewords that its codes stand for, and a query.
pub(crate) struct Cells<'a> {
    trie: &'a Trie,
    codewords: &'a Codewords,
    allowed: &'a Allowed,
    /// The levels that have codewords.
    depth: usize,
    /// The squared length of the query.
    square: f32,
    /// For each level and code, `‖c‖² − 2 q·c`.
    own: Vec<Vec<f32>>,
}

impl<'a> Cells<'a> {
    /// The cells of a tree as they lie around a query, which has as many components as a codeword. Counted are the
    /// allowed items alone.
    pub(crate) fn new(
        trie: &'a Trie,
        codewords: &'a Codewords,
        allowed: &'a Allowed,
        query: &[f32],
    ) -> Self {
        debug_assert_eq!(query.len(), codewords.dim);
        let depth = codewords.levels.len().min(trie.levels());
        let own = |level: &Level| {
            let words = level.words.chunks_exact(codewords.dim);
            words.zip(&level.squares).map(|(word, own)| own - 2.0 * dot(query, word)).collect()
        };
        let own = codewords.levels[..depth].iter().map(own).collect();
        Cells { trie, codewords, allowed, depth, square: dot(query, query), own }
    }

    /// The positions of the allowed items whose SIDs stand for what is nearest to the query, in no order.
    pub(crate) fn nearest(&self, effort: Effort) -> Vec<u32> {
        let mut found: Vec<(f32, u32)> = Vec::new();
        let mut heap = BinaryHeap::new();
        heap.push(Open {
            key: 0.0,
            square: self.square,
            level: 0,
            node: Trie::ROOT,
            path: NO_PATH,
        });
        let cell_levels = self.depth.min(CELL_LEVELS);
        let mut visited = 0;
        while let Some(open) = heap.pop() {
            let path = &open.path[..open.level];
            if open.level < cell_levels {
                heap.extend(self.children(open.node, path, open.square).map(|child| {
                    let level = open.level + 1;
                    let mut path = open.path;
                    path[open.level] = child.code;
                    let key = self.bound(child.square, level, cell_levels);
                    Open { key, square: child.square, level, node: child.node, path }
                }));
                continue;
            }
            if visited >= effort.nprobe && found.len() >= effort.wanted {
                break;
            }
            visited += 1;
            self.collect(open.node, &mut path.to_vec(), open.square, &mut found);
        }
        let most = effort.rerank.max(effort.wanted);
        if found.len() > most {
            found.select_nth_unstable_by(most, |l, r| l.0.total_cmp(&r.0).then(l.1.cmp(&r.1)));
            found.truncate(most);
        }
        found.into_iter().map(|(_, position)| position).collect()
    }

    /// No prefix below a node at this squared distance is nearer than this, squared.
    fn bound(&self, square: f32, level: usize, cell_levels: usize) -> f32 {
        let levels = &self.codewords.levels[level..cell_levels];
        let below: f32 = levels.iter().map(|level| level.longest).sum();
        if below == 0.0 {
            return square;
        }
        let least = (square.max(0.0).sqrt() - below).max(0.0);
        least * least
    }

    /// The children of a node at the end of a path of codes that have allowed items below them, with their distances.
    fn children<'c>(
        &'c self,
        node: u32,
        path: &[u16],
        square: f32,
    ) -> impl Iterator<Item = Child> + use<'c, 'a> {
        let at = path.len();
        let (level, own) = (&self.codewords.levels[at], &self.own[at]);
        // What each codeword of the path adds to the distance of a code: twice its product with that of the code.
        let added: SmallVec<[Added<'c>; 8]> = (path.iter().zip(&self.codewords.levels))
            .zip(&level.crossed)
            .filter_map(|((code, above), crossed)| match crossed {
                Some(table) => {
                    let from = usize::from(*code) * level.codes;
                    Some(Added::Table(table.get(from..from + level.codes)?))
                }
                None => Some(Added::Word(above.word(*code, self.codewords.dim)?)),
            })
            .collect();
        let (codes, first) = self.trie.children(node);
        let allowed = move |child: &u32| {
            self.allowed.is_all() || self.allowed.within(&self.trie.items_under(*child)) > 0
        };
        codes.iter().zip(first..).filter(move |(_, child)| allowed(child)).map(
            move |(code, node)| {
                // A code that was never trained stands for nothing.
                let farther = own.get(usize::from(*code)).map_or(0.0, |own| {
                    let added = added.iter().map(|added| match added {
                        Added::Table(row) => row[usize::from(*code)],
                        Added::Word(above) => {
                            let word = level.word(*code, self.codewords.dim);
                            word.map_or(0.0, |word| 2.0 * dot(above, word))
                        }
                    });
                    own + added.sum::<f32>()
                });
                Child { node, code: *code, square: square + farther }
            },
        )
    }

    /// The allowed items under a node at the end of a path of codes, with the distances of their SIDs.
    fn collect(&self, node: u32, path: &mut Vec<u16>, square: f32, found: &mut Vec<(f32, u32)>) {
        if path.len() == self.depth {
            let ranks = self.trie.items_under(node);
            let positions = &self.trie.order()[ranks.start as usize..ranks.end as usize];
            let allowed = positions.iter().filter(|at| self.allowed.contains(**at));
            found.extend(allowed.map(|at| (square, *at)));
            return;
        }
        for child in self.children(node, path, square) {
            path.push(child.code);
            self.collect(child.node, path, child.square, found);
            path.pop();
        }
    }
}

/// A node below another.
struct Child {
    node: u32,
    code: u16,
    /// The squared distance of the query to it.
    square: f32,
}

/// What a codeword on the path to a node adds to the distances of the codes below.
enum Added<'a> {
    /// By code.
    Table(&'a [f32]),
    /// Twice its product with each.
    Word(&'a [f32]),
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
    /// The codes that lead to it, as many as `level`.
    path: [u16; CELL_LEVELS],
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
        let kept = (0..sids.len() as u32).filter(|at| kept[*at as usize]);
        let allowed = Allowed::only(sids.len(), Some(&trie), kept);
        let codewords = Codewords::new(words.iter().map(Vec::as_slice), DIM);
        let mut found = Cells::new(&trie, &codewords, &allowed, query).nearest(effort);
        found.sort_unstable();
        found
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
            expected.sort_unstable();
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
            let kept_sids = sids.iter().zip(kept).filter(|(_, kept)| **kept);
            let mut cells: Vec<&[u16]> = kept_sids.map(|(sid, _)| &sid[..depth]).collect();
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

    #[test]
    fn products_that_are_not_kept_are_taken() {
        let words: Vec<Vec<f32>> = (0..3)
            .map(|level| (0..12).map(|at| ((at * 7 + level * 5) % 11) as f32 - 5.0).collect())
            .collect();
        let sids: Vec<Vec<u16>> = (0..64).map(|at| vec![at / 16, at / 4 % 4, at % 4]).collect();
        let trie = Trie::build(&Catalogue::new((0..64).collect(), vec![4; 3], sids.concat()));
        let allowed = Allowed::all(64);
        let mut codewords = Codewords::new(words.iter().map(Vec::as_slice), DIM);
        let effort = Effort { wanted: 9, nprobe: 5, rerank: 9 };
        let nearest = |codewords: &Codewords| {
            Cells::new(&trie, codewords, &allowed, &[1.0, -2.0, 3.0]).nearest(effort)
        };
        let kept = nearest(&codewords);
        for level in &mut codewords.levels {
            level.crossed.fill(None);
        }
        assert_eq!(nearest(&codewords), kept);
    }
}
