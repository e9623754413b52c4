//! The item graph: what follows what, without training by gradient.
//!
//! Two items of one history are linked when at most `window` steps lie between them: by 1/gap from the earlier
//! to the later, by 0.5/gap back. With co(i, j) the sum over all histories and pop(i) the number of times that
//! i occurs in them,
//!
//! score(j) = Σ_r decay^r · co(i_r, j) / (pop(i_r)^α · pop(j)^α)
//!
//! over the last `history` items i_0, i_1, … of a user, the most recent first. Everything is counted over the
//! training part alone (`eval/tests.rs` has the figures that this gives on Amazon Beauty). Graph heuristics of
//! this kind beat many trained models on small data (arXiv 2605.07125), which makes this one the floor that
//! every evaluation prints.

use documented::DocumentedFieldsOpt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::state::{Reader, Writer, damaged};
use super::{Answers, Fit, History, Kind, Policy, Score};
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::options;
use crate::progress::Progress;

/// Options of the item graph.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The exponent of popularity: 0 favours popular items, 1 rare ones.
    pub(crate) alpha: f64,
    /// The weight of each step back in the history, relative to the step after it.
    pub(crate) decay: f64,
    /// The most steps between two linked items.
    pub(crate) window: usize,
    /// How many of the last items of a history count.
    pub(crate) history: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { alpha: 0.3, decay: 0.6, window: 10, history: 20 }
    }
}

pub(super) const KIND: Kind = Kind {
    name: "item_graph",
    summary: "co-occurrence within a few steps, damped by popularity: the floor of every evaluation",
    needs_codebook: false,
    reads: &[],
    answers: Answers::Scores,
    objectives: &["fit"],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    build: |config, _, _, _| {
        let config: Config = serde_json::from_value(config.clone())?;
        config.check()?;
        Ok(Policy::Score(Box::new(ItemGraph::new(config))))
    },
};

impl Config {
    /// Refuses what cannot be counted.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |message: &str| Err(Error::input("bad-option", message));
        if !(0.0..=1.0).contains(&self.alpha) {
            return bad("option `alpha` must be between 0 and 1");
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return bad("option `decay` must be above 0 and at most 1");
        }
        if self.window == 0 || self.history == 0 {
            return bad("options `window` and `history` must be at least 1");
        }
        Ok(())
    }
}

/// The policy.
pub(super) struct ItemGraph {
    config: Config,
    graph: Graph,
}

impl ItemGraph {
    /// A graph without links.
    pub(super) fn new(config: Config) -> Self {
        ItemGraph { config, graph: Graph::default() }
    }
}

/// The graph with its defaults, counted over histories.
pub(crate) fn counted(
    catalogue: &Catalogue,
    histories: &[History<'_>],
    progress: &Progress,
) -> Result<Box<dyn Score>> {
    let histories: Vec<Vec<u32>> = histories.iter().map(|history| history.to_vec()).collect();
    let mut graph = ItemGraph::new(Config::default());
    graph.fit(catalogue, &histories, progress)?;
    Ok(Box::new(graph))
}

/// Weighted links in rows; no rows before training.
#[derive(Debug, Default, PartialEq)]
struct Graph {
    /// Where the row of each position begins, and the end of the last.
    begins: Vec<u64>,
    /// The linked positions, ascending within a row.
    targets: Vec<u32>,
    /// Their weights.
    weights: Vec<f32>,
}

impl Graph {
    fn row(&self, position: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let at = position as usize;
        let range = match self.begins.get(at..at + 2) {
            Some(row) => row[0] as usize..row[1] as usize,
            None => 0..0,
        };
        self.targets[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    fn of_rows(rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Self {
        let mut graph = Graph { begins: vec![0], ..Graph::default() };
        for row in rows {
            let (targets, weights): (Vec<_>, Vec<_>) = row.into_iter().unzip();
            graph.targets.extend(targets);
            graph.weights.extend(weights);
            graph.begins.push(graph.targets.len() as u64);
        }
        graph
    }
}

impl Score for ItemGraph {
    fn score(&self, history: History<'_>, scores: &mut [f32]) -> Result<()> {
        let mut weight = 1.0;
        for &position in history.iter().rev().take(self.config.history) {
            for (to, link) in self.graph.row(position) {
                scores[to as usize] += weight * link;
            }
            weight *= self.config.decay as f32;
        }
        Ok(())
    }
}

impl Fit for ItemGraph {
    fn fit(
        &mut self,
        catalogue: &Catalogue,
        histories: &[Vec<u32>],
        progress: &Progress,
    ) -> Result<()> {
        progress.stage("link", catalogue.len() as u64);
        let occurrences = Occurrences::of(catalogue.len(), histories);
        let alpha = self.config.alpha as f32;
        let damp: Vec<f32> = (0..catalogue.len() as u32)
            .map(|at| (occurrences.of_item(at).len() as f32).powf(alpha))
            .collect();
        let window = self.config.window;
        let rows: Vec<Vec<(u32, f32)>> = (0..catalogue.len() as u32)
            .into_par_iter()
            .map_init(
                || Sums::new(catalogue.len()),
                |sums, from| {
                    progress.check()?;
                    for &(user, at) in occurrences.of_item(from) {
                        sums.link(&histories[user as usize], at as usize, window);
                    }
                    progress.advance(1);
                    Ok(sums.drain(|to, sum| sum / (damp[from as usize] * damp[to as usize])))
                },
            )
            .collect::<Result<_>>()?;
        self.graph = Graph::of_rows(rows);
        Ok(())
    }

    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        let rows = self.graph.begins.len().saturating_sub(1);
        let mut state = Writer::default();
        state
            .u64s(&catalogue.items[..rows])
            .u64s(&self.graph.begins)
            .u32s(&self.graph.targets)
            .f32s(&self.graph.weights);
        Ok(state.finish())
    }

    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        let mut state = Reader::new(state);
        let items = state.u64s()?;
        let saved = Graph { begins: state.u64s()?, targets: state.u32s()?, weights: state.f32s()? };
        state.finish()?;
        let links = saved.targets.len();
        let whole = saved.weights.len() == links
            && saved.begins.is_sorted()
            && saved.begins.last().is_none_or(|end| *end == links as u64)
            && saved.begins.len().saturating_sub(1) == items.len()
            && saved.targets.iter().all(|target| (*target as usize) < items.len());
        if !whole {
            return Err(damaged());
        }
        let now: Vec<Option<u32>> = items.iter().map(|item| catalogue.position(*item)).collect();
        let mut rows = vec![Vec::new(); catalogue.len()];
        for (old, new) in (0..).zip(&now) {
            let Some(new) = new else { continue };
            let kept = saved.row(old).filter_map(|(to, link)| Some((now[to as usize]?, link)));
            rows[*new as usize] = kept.collect();
        }
        self.graph = Graph::of_rows(rows);
        Ok(())
    }
}

/// Where each item occurs, as user and place in the history.
struct Occurrences {
    begins: Vec<usize>,
    places: Vec<(u32, u32)>,
}

impl Occurrences {
    fn of(items: usize, histories: &[Vec<u32>]) -> Self {
        let mut begins = vec![0; items + 1];
        for position in histories.iter().flatten() {
            begins[*position as usize + 1] += 1;
        }
        for at in 0..items {
            begins[at + 1] += begins[at];
        }
        let mut next = begins.clone();
        let mut places = vec![(0, 0); begins[items]];
        for (user, history) in (0..).zip(histories) {
            for (at, position) in (0..).zip(history) {
                places[next[*position as usize]] = (user, at);
                next[*position as usize] += 1;
            }
        }
        Occurrences { begins, places }
    }

    fn of_item(&self, position: u32) -> &[(u32, u32)] {
        let at = position as usize;
        &self.places[self.begins[at]..self.begins[at + 1]]
    }
}

/// The links of one item while they are summed; reused from item to item.
struct Sums {
    sums: Vec<f32>,
    touched: Vec<u32>,
}

impl Sums {
    fn new(items: usize) -> Self {
        Sums { sums: vec![0.0; items], touched: Vec::new() }
    }

    /// Adds the links of one occurrence, forward and back; an item is not linked to itself.
    fn link(&mut self, history: &[u32], at: usize, window: usize) {
        let from = history[at];
        let after =
            history[at + 1..].iter().take(window).zip(1_u32..).map(|(to, gap)| (to, gap, 1.0));
        let back =
            history[..at].iter().rev().take(window).zip(1_u32..).map(|(to, gap)| (to, gap, 0.5));
        for (to, gap, weight) in after.chain(back) {
            if *to == from {
                continue;
            }
            let sum = &mut self.sums[*to as usize];
            if *sum == 0.0 {
                self.touched.push(*to);
            }
            *sum += weight / gap as f32;
        }
    }

    /// The links as a row, leaving nothing behind.
    fn drain(&mut self, weight: impl Fn(u32, f32) -> f32) -> Vec<(u32, f32)> {
        self.touched.sort_unstable();
        let sums = &mut self.sums;
        let take = |to| (to, weight(to, std::mem::take(&mut sums[to as usize])));
        self.touched.drain(..).map(take).collect()
    }
}

#[cfg(test)]
#[path = "scorer_tests.rs"]
mod tests;
