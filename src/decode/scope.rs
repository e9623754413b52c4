//! What is left of the allowed items for one user: what the user has seen is a handful of ranks; a [`Scope`] subtracts
//! those that fall into the range of a node.

use std::ops::Range;

use crate::index::{Allowed, Trie};

/// What one user may be answered: the allowed items, less those already seen, within a range of ranks.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    trie: &'a Trie,
    allowed: &'a Allowed,
    /// The ranks of allowed items that were seen, ascending.
    seen: Vec<u32>,
    ranks: Range<u32>,
}

impl<'a> Scope<'a> {
    /// The scope of a user who has seen these positions.
    pub(crate) fn new(trie: &'a Trie, allowed: &'a Allowed, seen: &[u32]) -> Self {
        let mut seen: Vec<u32> =
            seen.iter().filter(|at| allowed.contains(**at)).map(|at| trie.rank(*at)).collect();
        seen.sort_unstable();
        seen.dedup();
        Scope { trie, allowed, seen, ranks: 0..trie.len() as u32 }
    }

    /// The part of the scope within a range of ranks.
    pub(super) fn part(&self, ranks: Range<u32>) -> Self {
        Scope { ranks, ..self.clone() }
    }

    /// The number of qualifying items under a node.
    pub(crate) fn under(&self, node: u32) -> u32 {
        let Range { start, end } = self.trie.items_under(node);
        let ranks = start.max(self.ranks.start)..end.min(self.ranks.end);
        if ranks.is_empty() {
            return 0;
        }
        let first = self.seen.partition_point(|rank| *rank < ranks.start);
        let seen = self.seen[first..].iter().take_while(|rank| **rank < ranks.end).count();
        self.allowed.within(&ranks) - seen as u32
    }

    /// The qualifying positions under a node, in SID order.
    pub(crate) fn items(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let Range { start, end } = self.trie.items_under(node);
        let ranks = start.max(self.ranks.start)..end.min(self.ranks.end);
        ranks
            .filter(|rank| self.seen.binary_search(rank).is_err())
            .map(|rank| self.trie.order()[rank as usize])
            .filter(|position| self.allowed.contains(*position))
    }
}
