//! `hybrid`: a transformer over items that generates SIDs and scores the catalogue, mixed with the item graph. Ours.
//!
//! ```text
//! item:      e(i) = id(i) + Σ over levels of code embeddings + W · content(i)        (`items.rs`)
//! timeline:  h(t) = blocks(start, e(i1), …, e(it))                     one position for each item
//! item head: p(i | h) = softmax over items of cos(h, e(i)) / temperature
//! SID head:  p(c1 | h) · p(c2 | c1, h) · …                             blocks down the levels, as `decoder` has them
//! loss:      − log p(i | h) − sid_weight · mean over levels of log p(c_l | …), for every position
//! score:     (1 − a − b) · p(i | h) + a · graph(i | history) + b · alike(i | history)
//! alike:     softmax over items of cos(u, content(i)) / 0.05, where u is the mean of the contents of the history,
//!            the latest first, each step back weighing less
//! ```
//!
//! Both heads stand on one state, and both tie the answer to the vectors that the history is read by. What is known only
//! of an item (`id`) carries what was learned of popular items; codes and content carry what is shared, so that an item
//! that comes after training is scored at once. Generative retrieval is the better at what it has to generalise, item
//! models at what they have seen (arXiv 2603.19809); and a graph that only counts beats either on small data
//! (arXiv 2605.07125), hence the mixture; a and b are those with the best NDCG@10 on validation. Cosines under a temperature keep popular items from winning by their length
//! (as in HSTU, arXiv 2402.17152).
//!
//! The softmax runs over the items of the batch and `negatives` others, drawn evenly. Where an item is in it with
//! probability q, its logit is lessened by log q, so that the expectation of the sum is that over the whole catalogue
//! (Bengio and Senécal 2008).

mod config;
mod items;
mod mix;

use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use self::config::Config;
use self::items::{IDS, Items};
use self::mix::{Mix, Parts};
use super::item_graph::ItemGraph;
use super::sid_head::{Codes, Depth, Row};
use super::state::{Reader, Writer, damaged};
use super::timeline::{Lesson, Timeline, ends, latest};
use super::{
    Answers, Completion, Decoding, Fit, Generate, History, Kind, Learn, Material, Policy, Reads,
    Score, Targets, Training,
};
use crate::device::source;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{
    Dropout, Params, RmsNorm, Segments, Shape, cross_entropy_over, log_softmax, rows_times,
    sum_rows,
};
use crate::options;
use crate::progress::Progress;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "hybrid",
    summary: "transformer over items with a head for SIDs and one for items, mixed with the item graph",
    needs_codebook: true,
    reads: &[Reads::Content],
    answers: Answers::Both,
    objectives: &["sft", "grpo", "s_dpo"],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    build: |config, material, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        Ok(Policy::Hybrid(Box::new(Hybrid::new(config, *material, device, seed)?)))
    },
};

/// Of the part that looks at content alone: what cosines are divided by, the weight of each step back, and how many
/// items it looks at.
const ALIKE_TEMPERATURE: f64 = 0.05;
const ALIKE_DECAY: f32 = 0.8;
const ALIKE_HISTORY: usize = 20;

/// The model.
struct Hybrid {
    config: Config,
    params: Params,
    codes: Codes,
    items: Items,
    /// What made the content.
    made_by: u64,
    timeline: Timeline,
    item_norm: RmsNorm,
    depth: Depth,
    graph: ItemGraph,
    /// How often each item occurs in the histories that are learned; empty before.
    touched: Vec<u32>,
    mix: Mix,
    /// What scoring needs; none while the variables move.
    settled: Option<Settled>,
}

/// What scoring needs.
struct Settled {
    /// The vectors of all items as histories read them. Items × width.
    vectors: Tensor,
    /// The same, normalised, as answers are compared with. Items × width.
    table: Tensor,
    /// Content alone, of unit length. Items × components; none where there is none.
    content: Option<Tensor>,
}

impl Hybrid {
    fn new(config: Config, material: Material<'_>, device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        let mut params = Params::new(device);
        let random = &mut source(seed, 0);
        let (catalogue, width) = (material.catalogue, config.width);
        let codes = Codes::new(&mut params, &catalogue.sizes, (width, 0), random)?;
        let size = (catalogue.len(), width);
        let items = Items::new(&mut params, size, material.content, random)?;
        let shape = config.shape();
        let timeline = Timeline::new(&mut params, shape, random)?;
        let item_norm = RmsNorm::new(&mut params, "items.norm".to_owned(), width, random)?;
        let positions = catalogue.levels();
        let shape = Shape { positions, depth: config.depth_layers, ..shape };
        let depth = Depth::new(&mut params, shape, random)?;
        let (graph, content) = (config.graph_weight as f32, config.content_weight as f32);
        let mix = Mix { graph, content };
        let graph = ItemGraph::new(config.graph());
        let (touched, settled) = (Vec::new(), None);
        Ok(Hybrid {
            config,
            params,
            codes,
            items,
            made_by: material.made_by,
            timeline,
            item_norm,
            depth,
            graph,
            touched,
            mix,
            settled,
        })
    }

    fn dropout<'a>(&self, training: &'a mut Training<'_>) -> Dropout<'a> {
        let random = training.train.then_some(&mut *training.random);
        Dropout { share: self.config.dropout, random }
    }

    /// Reads histories: the start token, then the items. `vectors` are those of the items at `positions` (ascending),
    /// among which all of the histories are. Gives positions × width, packed.
    fn encode<'h>(
        &self,
        (positions, vectors): (&[u32], &Tensor),
        histories: impl Iterator<Item = History<'h>>,
        segments: &Segments,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let start = self.codes.embed(std::iter::once(Row::Start))?; // 1 × width
        let mut rows = Vec::new();
        for history in histories {
            rows.push(0);
            rows.extend(history.iter().map(|item| 1 + place(positions, *item)));
        }
        let x = sum_rows(&Tensor::cat(&[&start, vectors], 0)?, rows, 1)?;
        self.timeline.forward(&x, segments, dropout)
    }

    /// The states behind whole histories. Histories × width.
    fn states(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let read: Vec<_> = histories.iter().map(|h| latest(h, self.config.history)).collect();
        let positions = distinct(read.iter().copied().flatten().copied());
        let vectors = self.items.embed(&self.codes, catalogue, &positions)?;
        let segments = Segments::of_lengths(read.iter().map(|history| history.len() + 1));
        let known = (&positions[..], &vectors);
        let x = self.encode(known, read.iter().copied(), &segments, dropout)?;
        sum_rows(&x, ends(&segments), 1)
    }

    /// What cosines are multiplied with; rows of unit mean square have products that are as many times larger as they
    /// are wide.
    fn sharpness(&self) -> f64 {
        1.0 / (self.config.temperature * self.config.width as f64)
    }

    /// The items that a softmax for these histories runs over, ascending.
    fn drawn(&self, histories: &[History<'_>], random: &mut ChaCha8Rng) -> Vec<u32> {
        let of_batch = histories.iter().copied().flatten().copied();
        let known = || (0..).zip(&self.touched).filter(|(_, count)| **count > 0);
        if self.config.negatives == 0 {
            return distinct(known().map(|(at, _)| at).chain(of_batch));
        }
        let known: Vec<u32> = known().map(|(at, _)| at).collect();
        let draw = |_| known[random.random_range(0..known.len())];
        let count = if known.is_empty() { 0 } else { self.config.negatives };
        distinct((0..count).map(draw).chain(of_batch))
    }

    /// The logarithm of the probability that each of these items is in a softmax for `targets` targets.
    fn log_drawn(&self, positions: &[u32], targets: usize) -> Vec<f32> {
        let known = self.touched.iter().filter(|count| **count > 0).count().max(1) as f64;
        let all = self.touched.iter().map(|count| f64::from(*count)).sum::<f64>().max(1.0);
        let missed = (1.0 - 1.0 / known).powf(self.config.negatives as f64);
        let log = |at: &u32| {
            let share = f64::from(self.touched.get(*at as usize).copied().unwrap_or(0)) / all;
            (1.0 - missed * (1.0 - share).powf(targets as f64)).max(1e-9).ln() as f32
        };
        positions.iter().map(log).collect()
    }

    /// Computes what scoring needs.
    fn prepare(&mut self, catalogue: &Catalogue) -> Result<()> {
        self.items.standardise()?;
        let all: Vec<u32> = (0..catalogue.len() as u32).collect();
        let vectors = self.items.embed(&self.codes, catalogue, &all)?.detach();
        let table = self.item_norm.forward(&vectors)?.detach();
        let content = self.items.directions()?;
        self.settled = Some(Settled { vectors, table, content });
        Ok(())
    }
}

/// Where a position stands among others, which are ascending and hold it.
fn place(positions: &[u32], position: u32) -> u32 {
    positions.partition_point(|other| *other < position) as u32
}

/// In ascending order and once each.
fn distinct(positions: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut all: Vec<u32> = positions.collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Learn for Hybrid {
    fn params(&self) -> &Params {
        &self.params
    }

    fn count(
        &mut self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        progress: &Progress,
    ) -> Result<()> {
        let histories: Vec<Vec<u32>> = histories.iter().map(|history| history.to_vec()).collect();
        self.touched = vec![0; catalogue.len()];
        for position in histories.iter().flatten() {
            self.touched[*position as usize] += 1;
        }
        self.graph.fit(catalogue, &histories, progress)?;
        self.items.measure(&self.touched)
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.codes.check(catalogue)?;
        let lesson = Lesson::new(histories, self.config.history, training.targets)?;
        let all = training.targets == Targets::All;
        let positions = if all {
            self.drawn(&lesson.read, training.random)
        } else {
            (0..catalogue.len() as u32).collect()
        };
        let mut dropout = self.dropout(training);
        let vectors = self.items.embed(&self.codes, catalogue, &positions)?;
        let known = (&positions[..], &vectors);
        let x = self.encode(known, lesson.before(), &lesson.segments, &mut dropout)?;
        let Lesson { rows, targets, .. } = &lesson;
        let state = sum_rows(&x, rows.clone(), 1)?;
        let less = if all && self.config.negatives > 0 {
            self.log_drawn(&positions, targets.len())
        } else {
            Vec::new()
        };
        let state = (state * self.sharpness())?;
        let table = self.item_norm.forward(&vectors)?;
        let places = targets.iter().map(|target| place(&positions, *target)).collect();
        let of_items = cross_entropy_over(&state, &table, less, places)?;
        if !all || self.config.sid_weight == 0.0 {
            return Ok(of_items);
        }
        let sids: Vec<&[u16]> = targets.iter().map(|&item| catalogue.codes_of(item)).collect();
        let of_sids = self.depth.loss(&self.codes, (&x, rows), &sids, &mut dropout)?;
        let weight = self.config.sid_weight / catalogue.levels() as f64;
        Ok((of_items + (of_sids * weight)?)?)
    }

    fn settle(
        &mut self,
        catalogue: &Catalogue,
        validated: &[History<'_>],
        progress: &Progress,
    ) -> Result<()> {
        self.prepare(catalogue)?;
        if let Some(mix) = mix::chosen(self, validated, progress)? {
            self.mix = mix;
        }
        Ok(())
    }

    fn save(&self, catalogue: &Catalogue) -> Result<Vec<u8>> {
        let mut state = Writer::default();
        state
            .u64s(&[self.made_by])
            .u64s(&catalogue.items)
            .bytes(&self.params.save()?)
            .bytes(&self.graph.save(catalogue)?)
            .f32s(&[self.mix.graph, self.mix.content]);
        Ok(state.finish())
    }

    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        let mut state = Reader::new(state);
        let (made_by, items, weights) = (state.u64s()?, state.u64s()?, state.bytes()?);
        let (graph, mix) = (state.bytes()?, state.f32s()?);
        state.finish()?;
        if made_by != [self.made_by] {
            let message = "the vectors that the policy learned to read have been made anew since";
            return Err(Error::input("stale-content", message).help("train the policy again"));
        }
        self.params.load_with(&weights, |name, value| match name {
            IDS => self.items.moved(&value, &items, catalogue),
            _ => Ok(value),
        })?;
        self.graph.load(catalogue, &graph)?;
        let [graph, content] = mix[..] else { return Err(damaged()) };
        self.mix = Mix { graph, content };
        self.prepare(catalogue)
    }
}

impl Score for Hybrid {
    fn score(&self, history: History<'_>, scores: &mut [f32]) -> Result<()> {
        self.mix.apply(&self.parts(history)?, scores);
        Ok(())
    }
}

impl Hybrid {
    fn has_content(&self) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.content.is_some())
    }

    /// What each part says of every item.
    fn parts(&self, history: History<'_>) -> Result<Parts> {
        let Some(Settled { vectors, table, content }) = &self.settled else {
            return Err(Error::internal("a policy is asked for scores before it is settled"));
        };
        let read = latest(history, self.config.history);
        let positions = distinct(read.iter().copied());
        let read_vectors = sum_rows(vectors, positions.clone(), 1)?;
        let segments = Segments::of_lengths([read.len() + 1]);
        let known = (&positions[..], &read_vectors);
        let x = self.encode(known, [read].into_iter(), &segments, &mut Dropout::off())?;
        let state = x.narrow(0, read.len(), 1)?.detach();
        let mut parts = Parts::new(table.dim(0)?);
        parts.model = shares(&(rows_times(&state, table)? * self.sharpness())?)?;
        self.graph.score(history, &mut parts.graph)?;
        let sum: f32 = parts.graph.iter().sum();
        if sum > 0.0 {
            parts.graph.iter_mut().for_each(|share| *share /= sum);
        }
        if let Some(content) = content.as_ref().filter(|_| !history.is_empty()) {
            let rows: Vec<u32> = history.iter().rev().take(ALIKE_HISTORY).copied().collect();
            let weights: Vec<f32> = (0..rows.len() as i32).map(|at| ALIKE_DECAY.powi(at)).collect();
            let sum: f32 = weights.iter().sum();
            let weights = Tensor::from_vec(weights, (1, rows.len()), content.device())?;
            let mean = (weights.matmul(&sum_rows(content, rows, 1)?)? / f64::from(sum))?;
            parts.content = shares(&(rows_times(&mean, content)? / ALIKE_TEMPERATURE)?)?;
        }
        Ok(parts)
    }
}

/// The softmax of one row of logits.
fn shares(logits: &Tensor) -> Result<Vec<f32>> {
    let mut shares = log_softmax(logits)?;
    for share in &mut shares {
        *share = share.exp();
    }
    Ok(shares)
}

impl Generate for Hybrid {
    fn begin(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + '_>> {
        self.codes.check(catalogue)?;
        let states = self.states(catalogue, histories, &mut Dropout::off())?.detach();
        Ok(Box::new(self.depth.beams(&self.codes, states)?))
    }

    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.codes.check(catalogue)?;
        let mut dropout = self.dropout(training);
        let states = self.states(catalogue, histories, &mut dropout)?;
        let rows: Vec<u32> = completions.iter().map(|one| one.history).collect();
        let sids: Vec<&[u16]> = completions.iter().map(|one| one.codes).collect();
        self.depth.log_probs(&self.codes, (&states, &rows), &sids, &mut dropout)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        let catalogue = Catalogue {
            items: (0..self.items.count()? as u64).collect(),
            sizes: self.codes.sizes().to_vec(),
            codes: Vec::new(),
        };
        let content = self.items.content()?;
        let made_by = self.made_by;
        let material = Material { content: &content, made_by, ..Material::from(&catalogue) };
        let mut copy = Hybrid::new(self.config.clone(), material, self.items.device(), 0)?;
        copy.params.load(&self.params.save()?)?;
        copy.items.standardise()?;
        Ok(Box::new(copy))
    }
}

#[cfg(test)]
mod tests;
