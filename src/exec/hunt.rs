//! The search behind NEAR: candidates by an index or by comparing all, then what the predicate accepts of them.
//!
//! A predicate whose access path leaves few items is evaluated first. Any other is asked of the candidates, the nearest
//! first; more of them are fetched, with more effort, until enough are accepted. Where that does not come to an end the
//! predicate refuses most items, and is evaluated on all. So it is once the questions under it have cost as much as that
//! would. What it accepts is remembered until the file changes: few items are compared exactly, of many the index finds
//! the nearest. As many rows come back as were asked for whenever so many qualify.

use std::collections::HashMap;
use std::sync::Arc;

use sidql_storage::{GenerationNo, ItemNo, Space, embeddings};

use super::filter::holds;
use super::row::{Fetch, Known};
use super::select::{self, Reading};
use crate::cache::held::Opened;
use crate::cache::{Ground, IndexSet};
use crate::count::counted;
use crate::error::{Error, Result};
use crate::index::sid::{Cells, Effort};
use crate::index::vectors::{self, Delta, Nearest};
use crate::index::{Accepted, Allowed, Look, product};
use crate::plan::near::Near;
use crate::plan::search::{FEW_ITEMS, Index, asks_score, is_narrow};
use crate::plan::select::Select;
use crate::quantize::Vectors;

/// Where no more vectors than this are wanted, they may be read from the file one by one.
const FEW: usize = 1024;
/// Candidates for each row wanted, and at least, that a predicate is asked of first …
const FIRST_EACH: usize = 4;
const FIRST_LEAST: usize = 64;
/// … how many times as many in each round after …
const GROWTH: usize = 4;
/// … and at most: then the predicate is evaluated on all items.
const MOST_ASKED: usize = 1 << 14;
/// To evaluate a predicate on an item costs about as much as to compare so many vectors.
const VECTORS_A_ROW: usize = 4;

/// The neighbours, by what they were found, and why by that.
type Found = (Nearest, &'static str, String);

/// One search.
pub(super) struct Hunt<'a> {
    reading: Reading<'a>,
    plan: &'a Select,
    near: &'a Near,
    /// As it was given.
    query: Vec<f32>,
    /// Of length 1.
    unit: Vec<f32>,
    /// The item that the query is the vector of.
    own: Option<ItemNo>,
    wanted: usize,
    /// Vectors compared.
    scanned: usize,
    /// Rows that the predicate was asked of.
    asked: usize,
}

/// What is searched, made ready.
enum Engine {
    Flat,
    Sid { index: Arc<IndexSet>, effort: Effort, latent: Vec<f32> },
    Built { opened: Arc<Opened>, delta: Arc<Delta>, look: Look },
}

impl Engine {
    fn mode(&self) -> &'static str {
        match self {
            Engine::Flat => "flat",
            Engine::Sid { .. } => "sid",
            Engine::Built { .. } => "faiss",
        }
    }
}

impl<'a> Hunt<'a> {
    pub(super) fn new(
        reading: Reading<'a>,
        plan: &'a Select,
        near: &'a Near,
        query: Vec<f32>,
        own: Option<ItemNo>,
        wanted: usize,
    ) -> Self {
        let mut unit = query.clone();
        product::normalise(&mut unit);
        Hunt { reading, plan, near, query, unit, own, wanted, scanned: 0, asked: 0 }
    }

    pub(super) fn run(mut self) -> Result<Found> {
        if self.plan.filter.is_none() || asks_score(self.plan) {
            return self.unaided();
        }
        let predicate = select::predicate(self.plan);
        let Reading { cache, moment, .. } = self.reading;
        let known = match cache.known(moment, &predicate) {
            None if is_narrow(self.plan) => Some(self.accepted(&predicate)?),
            known => known,
        };
        if let Some(accepted) = known {
            return self.of_accepted(&accepted, &predicate);
        }
        let (engine, why) = self.engine()?;
        let found = self.asked_up_to(&engine, MOST_ASKED)?;
        let cost = self.scanned + VECTORS_A_ROW * self.asked;
        let all = VECTORS_A_ROW * self.near.space.count as usize;
        let Some(found) = found else {
            let accepted = self.accepted(&predicate)?;
            return self.of_accepted(&accepted, &predicate);
        };
        if cache.spent(moment, &predicate, cost) >= all && moment.is_some() {
            self.accepted(&predicate)?;
        }
        Ok(self.end(found, engine.mode(), why))
    }

    /// The search where no predicate is, or one that asks the score and so cannot be evaluated before.
    fn unaided(mut self) -> Result<Found> {
        let (engine, why) = self.engine()?;
        let found = if self.plan.filter.is_some() {
            self.asked_up_to(&engine, MOST_ASKED)?
        } else {
            let own = usize::from(self.own.is_some());
            let mut found = self.ranked(&engine, self.wanted.saturating_add(own), 1)?;
            let all = found.len() as u64 >= self.near.space.count || matches!(engine, Engine::Flat);
            self.strip(&mut found);
            (all || found.len() >= self.wanted).then_some(found)
        };
        if let Some(found) = found {
            return Ok(self.end(found, engine.mode(), why));
        }
        if asks_score(self.plan) {
            let found = self.asked_up_to(&Engine::Flat, self.near.space.count as usize)?;
            return Ok(self.end(
                found.unwrap_or_default(),
                "flat",
                "the filter asks the score".into(),
            ));
        }
        let own = usize::from(self.own.is_some());
        let found = self.ranked(&Engine::Flat, self.wanted.saturating_add(own), 1)?;
        let why = format!("{} found too few", engine.mode());
        Ok(self.end(found, "flat", why))
    }

    fn end(&mut self, mut found: Vec<(ItemNo, f32)>, mode: &'static str, why: String) -> Found {
        self.strip(&mut found);
        (Nearest { found, scanned: self.scanned }, mode, why)
    }

    /// An item is not its own neighbour, and no more rows are given than wanted.
    fn strip(&self, found: &mut Vec<(ItemNo, f32)>) {
        found.retain(|(item, _)| Some(*item) != self.own);
        found.truncate(self.wanted);
    }

    /// What is searched, and why that. An index that cannot be read is left aside.
    fn engine(&self) -> Result<(Engine, String)> {
        let search = &self.near.search;
        let why = search.why.clone();
        Ok(match &search.by {
            Index::Flat => (Engine::Flat, why),
            Index::Sid { generation, effort, .. } => (self.cells(*generation, *effort)?, why),
            Index::Built { index, look } => {
                let (view, space) = (self.reading.view, &self.near.space);
                match self.reading.cache.built(view, index, space) {
                    Ok((_, delta)) if !search.said && delta.len() as u64 > space.count / 4 => {
                        let why = format!("much changed since index `{}` was built", index.name);
                        (Engine::Flat, why)
                    }
                    Ok((opened, delta)) => (Engine::Built { opened, delta, look: *look }, why),
                    Err(error) => {
                        let why = format!("index `{}` cannot be used: {error}", index.name);
                        (Engine::Flat, why)
                    }
                }
            }
        })
    }

    /// The SID tree, and the query in the space of its codewords.
    fn cells(&self, generation: GenerationNo, effort: Effort) -> Result<Engine> {
        let (view, space) = (self.reading.view, &self.near.space);
        let index = self.reading.cache.index(view, generation)?;
        let Some(artefact) = &index.artefact else {
            return Err(Error::internal("a codebook without codewords is not searched"));
        };
        let mut query = self.query.clone();
        // A cosine knows no length, but codewords do: the query gets that of a vector of the space.
        if let Some(item) = index.catalogue.items.first()
            && let Some(other) = embeddings::get(view, space, *item)?
        {
            let length = product::dot(&other, &other).sqrt();
            query = self.unit.iter().map(|x| x * length).collect();
        }
        let vectors = Vectors::new(&query, query.len())?;
        let latent = artefact.encode(&vectors, self.reading.progress)?.into_owned();
        Ok(Engine::Sid { index, effort, latent })
    }

    /// The nearest so many of all items, fewer when the engine finds no more. `times` as far as usual is looked.
    fn ranked(
        &mut self,
        engine: &Engine,
        count: usize,
        times: usize,
    ) -> Result<Vec<(ItemNo, f32)>> {
        self.reading.progress.check()?;
        let nearest = match engine {
            Engine::Flat => exact(self.reading, &self.near.space, &self.unit, count, None)?,
            Engine::Sid { index, effort, latent } => {
                let effort = Effort {
                    wanted: count,
                    nprobe: effort.nprobe.saturating_mul(times),
                    rerank: effort.rerank.saturating_mul(times).max(count),
                };
                self.by_tree(index, effort, latent, count, None)?
            }
            Engine::Built { opened, delta, look } => {
                self.by_built(opened, delta, *look, count, times)?
            }
        };
        self.scanned += nearest.scanned;
        Ok(nearest.found)
    }

    /// The candidates of the tree compared exactly, and the items that have no SID; of what is accepted alone.
    fn by_tree(
        &self,
        index: &IndexSet,
        effort: Effort,
        latent: &[f32],
        count: usize,
        accepted: Option<(&Accepted, &Allowed)>,
    ) -> Result<Nearest> {
        let Some(codewords) = index.codewords() else { return Ok(Nearest::default()) };
        let (catalogue, space) = (&index.catalogue, &self.near.space);
        let all = Allowed::all(catalogue.len());
        let allowed = accepted.map_or(&all, |(_, allowed)| allowed);
        let found = Cells::new(&index.trie, codewords, allowed, latent).nearest(effort);
        let mut among: Vec<ItemNo> = found.iter().map(|at| catalogue.items[*at as usize]).collect();
        // A SID of the generation was made from a vector of the space, so that equal counts are the same items.
        if space.count != catalogue.len() as u64 {
            for block in embeddings::scan(self.reading.view, space, 0)? {
                let block = block?;
                let items = block.iter().map(|(item, _)| item);
                let bare = items.filter(|item| catalogue.position(*item).is_none());
                among.extend(
                    bare.filter(|item| accepted.is_none_or(|(set, _)| set.contains(*item))),
                );
            }
        }
        among.sort_unstable();
        exact(self.reading, space, &self.unit, count, Some(&among))
    }

    /// What an index finds of the vectors that are still as they were, and the others compared one by one.
    fn by_built(
        &self,
        opened: &Opened,
        delta: &Delta,
        look: Look,
        count: usize,
        times: usize,
    ) -> Result<Nearest> {
        // As many more as could be out of date, up to a few times what is wanted.
        let spare = delta.places().min(count.saturating_mul(GROWTH));
        let asked = count.saturating_add(spare);
        let mut candidates = opened.built.nearest(&self.unit, asked, look, times)?;
        candidates.found.retain(|(item, _)| !delta.covers(*item));
        let scanned = candidates.scanned;
        let mut best = if candidates.exact {
            candidates.found.sort_by(vectors::order);
            candidates.found.truncate(count);
            Nearest { found: candidates.found, scanned }
        } else {
            let mut among: Vec<ItemNo> = candidates.found.iter().map(|(item, _)| *item).collect();
            among.sort_unstable();
            let best = exact(self.reading, &self.near.space, &self.unit, count, Some(&among))?;
            Nearest { scanned: best.scanned + scanned, ..best }
        };
        best.join(delta.nearest(&self.unit, count, None), count);
        Ok(best)
    }

    /// The predicate asked of candidates, the nearest first; nothing where more than `most` would have to be asked.
    fn asked_up_to(&mut self, engine: &Engine, most: usize) -> Result<Option<Vec<(ItemNo, f32)>>> {
        let fetch = Fetch::new(self.reading.view, &self.plan.sources)?;
        let filter = self.plan.filter.as_ref();
        let mut known: HashMap<ItemNo, bool> = HashMap::new();
        let mut count = self.wanted.saturating_mul(FIRST_EACH).max(FIRST_LEAST);
        let mut times = 1;
        if matches!(engine, Engine::Flat) {
            // All are compared anyway, so that more candidates cost next to nothing.
            count = count.max(most / GROWTH);
        }
        // One more than there are shows that there are no more.
        let all = self.near.space.count as usize;
        while count <= most || count / GROWTH < all && most >= all {
            let ranked = self.ranked(engine, count, times)?;
            let came = ranked.len();
            let mut accepted = Vec::new();
            for (item, score) in ranked {
                if accepted.len() == self.wanted {
                    break;
                }
                let score = Some(score);
                let holds = if let Some(holds) = known.get(&item) {
                    *holds
                } else {
                    self.asked += 1;
                    let row = fetch.row(item, &Known { score, ..Known::default() })?;
                    *known.entry(item).or_insert(holds(filter, &row))
                };
                if holds && Some(item) != self.own {
                    accepted.extend(score.map(|score| (item, score)));
                }
            }
            let complete = came >= all || came < count && matches!(engine, Engine::Flat);
            if accepted.len() == self.wanted || complete {
                return Ok(Some(accepted));
            }
            (count, times) = (count.saturating_mul(GROWTH), times.saturating_mul(GROWTH));
        }
        Ok(None)
    }

    /// What the predicate accepts, evaluated on all that its access path reaches.
    fn accepted(&mut self, predicate: &str) -> Result<Arc<Accepted>> {
        let (reading, plan) = (self.reading, self.plan);
        reading.cache.accepted(reading.moment, predicate, || select::accepted(reading, plan))
    }

    /// The nearest of what the predicate accepts: few are compared exactly, of many the engine finds them.
    fn of_accepted(mut self, accepted: &Accepted, predicate: &str) -> Result<Found> {
        let left = counted(accepted.count(), "item");
        if accepted.count() as u64 > FEW_ITEMS {
            let (engine, why) = self.engine()?;
            if let Some(found) = self.found_of(&engine, accepted, predicate)? {
                let why = format!("{why}; the filter leaves {left}");
                return Ok(self.end(found, engine.mode(), why));
            }
        }
        let items: Vec<ItemNo> = accepted.iter().filter(|item| Some(*item) != self.own).collect();
        let (reading, space) = (self.reading, &self.near.space);
        let nearest = exact(reading, space, &self.unit, self.wanted, Some(&items))?;
        self.scanned += nearest.scanned;
        Ok(self.end(nearest.found, "flat", format!("the filter leaves {left}")))
    }

    /// What an engine finds of the accepted items; nothing where they are better compared exactly.
    fn found_of(
        &mut self,
        engine: &Engine,
        accepted: &Accepted,
        predicate: &str,
    ) -> Result<Option<Vec<(ItemNo, f32)>>> {
        let wanted = self.wanted.saturating_add(usize::from(self.own.is_some()));
        match engine {
            Engine::Flat => Ok(None),
            Engine::Sid { index, effort, latent } => {
                let reading = self.reading;
                let ground = Ground::Index(Arc::clone(index));
                let allowed = reading.cache.allowed(reading.moment, &ground, predicate, || {
                    select::accepted(reading, self.plan)
                })?;
                let effort = Effort { wanted, rerank: effort.rerank.max(wanted), ..*effort };
                let found =
                    self.by_tree(index, effort, latent, wanted, Some((accepted, &allowed)))?;
                self.scanned += found.scanned;
                Ok((found.found.len() >= wanted.min(accepted.count())).then_some(found.found))
            }
            Engine::Built { .. } => {
                // As many as hold what is wanted where the predicate has nothing to do with the vectors, and as far looked.
                let share = (self.near.space.count as usize).div_ceil(accepted.count()).max(1);
                let mut times = share;
                loop {
                    let count = wanted.saturating_mul(FIRST_EACH).saturating_mul(times);
                    if count > MOST_ASKED {
                        return Ok(None);
                    }
                    let mut found = self.ranked(engine, count, times)?;
                    found.retain(|(item, _)| accepted.contains(*item));
                    if found.len() >= wanted {
                        return Ok(Some(found));
                    }
                    times = times.saturating_mul(GROWTH);
                }
            }
        }
    }
}

/// Exact search for a query of length 1; of some items alone, which ascend.
pub(super) fn exact(
    reading: Reading<'_>,
    space: &Space,
    query: &[f32],
    count: usize,
    among: Option<&[ItemNo]>,
) -> Result<Nearest> {
    let (view, progress) = (reading.view, reading.progress);
    let few = among.is_some_and(|among| among.len() <= FEW);
    match reading.cache.vectors(view, space, few, progress)? {
        Some((held, delta)) => Ok(held.nearest(&delta, query, count, among)),
        None => vectors::nearest_in_file(view, space, query, count, among, progress),
    }
}
