//! Beam search along the trie, batched over users.
//!
//! A beam is a node of the trie with the sum of the log-probabilities of its codes. At each level every child
//! under which at least one qualifying item lies is a candidate, and the best `width` of a user go on.
//!
//! **The answer is full.** Every kept node has a qualifying item below it, hence a candidate at every further
//! level: the number of candidates never falls below the number of beams. So a level either keeps `width`
//! nodes, and from there on every level does, or it keeps all that qualify. In the end there are `width`
//! SIDs or all of them, each with one item at least: with `width >= k` there are k items whenever k qualify.
//! With a width of the number of qualifying items nothing is ever dropped and the search is exhaustive.

use std::cmp::Ordering;

use super::rank::{number, tie};
use super::scope::Scope;
use super::variety::Variety;
use crate::error::{Error, Result};
use crate::index::{Catalogue, Trie};
use crate::policy::{Generate, History};
use crate::progress::Progress;

/// What a search is made of, the same for every batch.
pub(super) struct Search<'a> {
    pub(super) generate: &'a dyn Generate,
    pub(super) catalogue: &'a Catalogue,
    pub(super) trie: &'a Trie,
    /// Beams kept for each user at each level.
    pub(super) width: usize,
    /// Orders beams of equal score.
    pub(super) seed: u64,
    /// At most so many beams under one prefix.
    pub(super) variety: Option<&'a Variety>,
    pub(super) progress: &'a Progress,
}

/// A whole SID that was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leaf {
    /// The leaf of the trie.
    pub(super) node: u32,
    /// The sum of the log-probabilities of its codes.
    pub(super) score: f32,
}

/// What happened at each level for one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trace {
    /// From the first level to the last.
    pub(crate) levels: Vec<TraceLevel>,
}

/// One level of a search.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TraceLevel {
    /// Children of the beams in the trie.
    pub(crate) children: usize,
    /// Children left out because no qualifying item lies below them.
    pub(crate) masked: usize,
    /// Candidates dropped because the beam, or what is wanted of a prefix, was full.
    pub(crate) dropped: usize,
    /// The beams that went on, the best first.
    pub(crate) kept: Vec<TraceBeam>,
}

/// One beam that went on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraceBeam {
    /// Its codes so far.
    pub(crate) prefix: Vec<u16>,
    /// The sum of their log-probabilities.
    pub(crate) score: f32,
    /// The qualifying items under it.
    pub(crate) items: u32,
}

/// A node that is alive, and the row of the decoding state that ends in it or in its parent.
#[derive(Clone, Copy)]
pub(super) struct Beam {
    pub(super) node: u32,
    pub(super) score: f32,
    pub(super) row: u32,
}

/// The beams of one user at one level, and what was left behind.
#[derive(Default)]
struct Grown {
    beams: Vec<Beam>,
    children: usize,
    masked: usize,
    dropped: usize,
}

impl Search<'_> {
    /// The SIDs that a batch of users ends with, the best first; the trace is that of the first user.
    pub(super) fn leaves(
        &self,
        histories: &[History<'_>],
        scopes: &[Scope<'_>],
        mut trace: Option<&mut Trace>,
    ) -> Result<Vec<Vec<Leaf>>> {
        let mut beams: Vec<Vec<Beam>> = (0..).zip(scopes).map(|(row, s)| roots(row, s)).collect();
        if beams.iter().all(Vec::is_empty) {
            return Ok(vec![Vec::new(); histories.len()]);
        }
        let sizes = &self.catalogue.sizes;
        let mut decoding = self.generate.begin(self.catalogue, histories)?;
        let mut rows = histories.len();
        let mut logits = decoding.first()?;
        for (level, &size) in sizes.iter().enumerate() {
            self.progress.check()?;
            if logits.len() != rows * size {
                let message = format!("{} logits for {rows} rows of {size} codes", logits.len());
                return Err(Error::internal(message));
            }
            let grown: Vec<Grown> = beams
                .iter()
                .zip(scopes)
                .map(|(beams, scope)| self.grow(beams, scope, &logits[..], level + 1))
                .collect();
            if let (Some(trace), Some(first), Some(scope)) =
                (trace.as_deref_mut(), grown.first(), scopes.first())
            {
                trace.levels.push(self.traced(first, scope, level + 1));
            }
            beams = grown.into_iter().map(|grown| grown.beams).collect();
            if level + 1 < sizes.len() {
                let (parents, codes) = self.renumber(&mut beams);
                rows = parents.len();
                logits = decoding.step(&parents, &codes)?;
            }
        }
        let leaf = |beam: &Beam| Leaf { node: beam.node, score: beam.score };
        Ok(beams.iter().map(|beams| beams.iter().map(leaf).collect()).collect())
    }

    /// The best children of the beams of one user, which then have `length` codes.
    fn grow(&self, beams: &[Beam], scope: &Scope<'_>, logits: &[f32], length: usize) -> Grown {
        let size = self.catalogue.sizes[length - 1];
        let mut grown = Grown::default();
        for beam in beams {
            let row = &logits[beam.row as usize * size..][..size];
            let (codes, begin) = self.trie.children(beam.node);
            grown.children += codes.len();
            for (code, node) in codes.iter().zip(begin..) {
                if scope.under(node) == 0 {
                    grown.masked += 1;
                    continue;
                }
                let score = beam.score + number(row[usize::from(*code)]);
                grown.beams.push(Beam { node, score, row: beam.row });
            }
        }
        let best = |a: &Beam, b: &Beam| self.order(a, b);
        let candidates = grown.beams.len();
        if let Some(variety) = self.variety {
            grown.beams.sort_unstable_by(best);
            variety.thin(self.trie, length, &mut grown.beams);
            grown.beams.truncate(self.width);
        } else {
            if candidates > self.width {
                grown.beams.select_nth_unstable_by(self.width, best);
                grown.beams.truncate(self.width);
            }
            grown.beams.sort_unstable_by(best);
        }
        grown.dropped = candidates - grown.beams.len();
        grown
    }

    fn order(&self, a: &Beam, b: &Beam) -> Ordering {
        let hash = |beam: &Beam| tie(self.seed, beam.node.into());
        b.score.total_cmp(&a.score).then_with(|| hash(a).cmp(&hash(b)))
    }

    /// Gives the beams the rows of the next step, and says from which rows and by which codes they come.
    pub(super) fn renumber(&self, beams: &mut [Vec<Beam>]) -> (Vec<u32>, Vec<u16>) {
        let (mut parents, mut codes) = (Vec::new(), Vec::new());
        for beam in beams.iter_mut().flatten() {
            let parent = std::mem::replace(&mut beam.row, parents.len() as u32);
            parents.push(parent);
            codes.push(self.trie.code(beam.node));
        }
        (parents, codes)
    }

    fn traced(&self, grown: &Grown, scope: &Scope<'_>, length: usize) -> TraceLevel {
        let kept = grown.beams.iter().map(|beam| {
            let rank = self.trie.items_under(beam.node).start;
            let codes = self.catalogue.codes_of(self.trie.order()[rank as usize]);
            let prefix = codes[..length].to_vec();
            TraceBeam { prefix, score: beam.score, items: scope.under(beam.node) }
        });
        TraceLevel {
            children: grown.children,
            masked: grown.masked,
            dropped: grown.dropped,
            kept: kept.collect(),
        }
    }
}

/// The beam that a user begins with; none where nothing qualifies.
pub(super) fn roots(row: u32, scope: &Scope<'_>) -> Vec<Beam> {
    if scope.under(Trie::ROOT) == 0 {
        return Vec::new();
    }
    vec![Beam { node: Trie::ROOT, score: 0.0, row }]
}
