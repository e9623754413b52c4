//! `decoder`: a decoder-only transformer over Semantic IDs with random weights.
//!
//! The stack is that of the RQ-Transformer (Lee et al. 2022, arXiv 2203.01941), brought to
//! recommendation by MARIUS (arXiv 2508.14910), with the blocks of Qwen2 (RMS norm first, rotary
//! positions, SwiGLU):
//!
//! ```text
//! item:      e(i) = Σ over levels of code embeddings (codes are residual: their sum is the item)
//! timeline:  h(t) = blocks(start, e(i1), …, e(it))           one position for each item
//! depth:     blocks(h, h + e(c1), h + e(c1) + e(c2))         one position and head for each level
//! loss:      − Σ over levels of log p(c_l | c_1 … c_l−1, h(t)) for the codes of item t + 1
//! ```
//!
//! MiniOneRec feeds the same codes to one flat decoder, a token for each level. Here a history
//! takes one position for each item, which makes sequences as many times shorter as there are
//! levels; every item of a history is a target in the same pass; and a user is encoded once for all
//! beams, whose own caches hold at most one position for each level. Deviations from the papers:
//! the history vector is added to every depth position (one depth block is then enough), and linear
//! maps have no biases.
//!
//! Hashed embeddings of longer prefixes (Singh et al. 2023, arXiv 2306.08121) are added to the sums,
//! so that what is learned of one item need not be shared with all that have a code in common. The
//! logits of a level are products with the embeddings of its codes, so that input and output speak of
//! the same vectors.

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Completion, Decoding, Generate, History, Kind, Policy, Targets, Training};
use crate::device::source;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{
    Block, Cache, Dropout, Init, NONE, Params, RmsNorm, Segments, Shape, cross_entropy, log_prob,
    log_softmax, sum_rows,
};
use crate::options;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "decoder",
    summary: "causal transformer over items, then over the codes of the next (RQ-Transformer)",
    needs_codebook: true,
    objectives: &["sft", "grpo"],
    config: |given| options::checked(given, Config::check),
    build: |config, catalogue, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        let decoder = Decoder::new(config, &catalogue.sizes, device, seed)?;
        Ok(Policy::Generate(Box::new(decoder)))
    },
};

/// What can be set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Blocks over the items of a history.
    layers: usize,
    /// Blocks over the codes of the next item.
    depth_layers: usize,
    /// Attention heads of each block.
    heads: usize,
    /// Numbers in each row.
    width: usize,
    /// Units of each feed-forward layer.
    hidden: usize,
    /// Share of the numbers dropped while training.
    dropout: f64,
    /// Items of a history that are read, the latest.
    history: usize,
    /// Hashed embeddings for prefixes of two and more codes; 0 for none.
    buckets: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            layers: 2,
            depth_layers: 1,
            heads: 4,
            width: 128,
            hidden: 256,
            dropout: 0.3,
            history: 50,
            buckets: 16_384,
        }
    }
}

/// The largest of each size: a wrong option should not exhaust the memory.
const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_HISTORY: usize = 1024;
const MAX_BUCKETS: usize = 1 << 24;

impl Config {
    fn check(&self) -> Result<()> {
        let in_range = [
            ("layers", self.layers, 1..=MAX_LAYERS),
            ("depth_layers", self.depth_layers, 1..=MAX_LAYERS),
            ("heads", self.heads, 1..=self.width.max(1) / 2),
            ("width", self.width, 2..=MAX_WIDTH),
            ("hidden", self.hidden, 1..=4 * MAX_WIDTH),
            ("history", self.history, 1..=MAX_HISTORY),
            ("buckets", self.buckets, 0..=MAX_BUCKETS),
        ];
        for (name, value, range) in in_range {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return Err(bad(format!("`{name}` must be {low} to {high}, not {value}")));
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            let (width, heads) = (self.width, self.heads);
            return Err(bad(format!(
                "`width` must be a multiple of 2 · `heads` = {}, not {width}",
                2 * heads
            )));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(bad(format!(
                "`dropout` must be at least 0 and below 1, not {}",
                self.dropout
            )));
        }
        Ok(())
    }
}

fn bad(message: String) -> Error {
    Error::input("bad-option", message)
}

/// The row of the start token in the table of embeddings.
const START: u32 = 0;

/// What one row of an input stands for.
enum Row<'a> {
    /// Before the first item.
    Start,
    /// A prefix of codes; all of them make an item.
    Prefix(&'a [u16]),
}

/// The model.
struct Decoder {
    config: Config,
    params: Params,
    /// Codes per level.
    sizes: Vec<usize>,
    /// The row of the first code of each level.
    offsets: Vec<usize>,
    /// The start token, then the codes level by level. Rows × width.
    codes: Var,
    /// Hashed prefixes. Buckets × width.
    buckets: Option<Var>,
    timeline: Vec<Block>,
    timeline_norm: RmsNorm,
    depth: Vec<Block>,
    depth_norm: RmsNorm,
}

impl Decoder {
    fn new(config: Config, sizes: &[usize], device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        if sizes.is_empty() {
            return Err(Error::internal("a decoder needs the codes of a codebook"));
        }
        let mut params = Params::new(device);
        let random = &mut source(seed, 0);
        let width = config.width;
        let init = Init::Embedding(1.0 / (width as f32).sqrt());
        let rows = 1 + sizes.iter().sum::<usize>();
        let codes = params.create("codes", &[rows, width], init, random)?;
        let buckets = match config.buckets {
            0 => None,
            rows => Some(params.create("buckets", &[rows, width], init, random)?),
        };
        let (layers, positions) = (config.layers, config.history + 1);
        let timeline = blocks(&mut params, "timeline", layers, positions, &config, random)?;
        let timeline_norm = RmsNorm::new(&mut params, "timeline.norm".to_owned(), width, random)?;
        let depth =
            blocks(&mut params, "depth", config.depth_layers, sizes.len(), &config, random)?;
        let depth_norm = RmsNorm::new(&mut params, "depth.norm".to_owned(), width, random)?;
        let offsets = (0..sizes.len()).map(|level| 1 + sizes[..level].iter().sum::<usize>());
        let (offsets, sizes) = (offsets.collect(), sizes.to_vec());
        Ok(Decoder {
            config,
            params,
            sizes,
            offsets,
            codes,
            buckets,
            timeline,
            timeline_norm,
            depth,
            depth_norm,
        })
    }

    fn levels(&self) -> usize {
        self.sizes.len()
    }

    /// Embeds rows, each the start token or a prefix of codes (the empty one is zeros). Gives
    /// rows × width.
    fn embed<'p>(&self, rows: impl Iterator<Item = Row<'p>>) -> Result<Tensor> {
        let levels = self.levels();
        let mut codes = Vec::new(); // a row of the table for each level
        let mut hashed = Vec::new(); // a bucket for each length from 2 on
        for row in rows {
            let Row::Prefix(prefix) = row else {
                codes.push(START);
                codes.resize(codes.len() + levels - 1, NONE);
                hashed.resize(hashed.len() + levels - 1, NONE);
                continue;
            };
            for (level, &offset) in self.offsets.iter().enumerate() {
                let row = prefix.get(level).map(|&code| offset as u32 + u32::from(code));
                codes.push(row.unwrap_or(NONE));
            }
            for length in 2..=levels {
                let bucket = prefix.get(..length).map(|prefix| self.bucket(prefix));
                hashed.push(bucket.unwrap_or(NONE));
            }
        }
        let x = sum_rows(&self.codes, codes, levels)?;
        match &self.buckets {
            Some(buckets) if levels > 1 => Ok((x + sum_rows(buckets, hashed, levels - 1)?)?),
            _ => Ok(x),
        }
    }

    fn bucket(&self, prefix: &[u16]) -> u32 {
        (hash(prefix) % self.config.buckets.max(1) as u64) as u32
    }

    /// Logits over the codes of a level: products with their embeddings, which are shared between
    /// input and output. `x`: rows × width. Gives rows × codes.
    fn logits(&self, x: &Tensor, level: usize) -> Result<Tensor> {
        let codes = self.codes.narrow(0, self.offsets[level], self.sizes[level])?;
        Ok(x.matmul(&codes.t()?)?)
    }

    /// Reads histories: the start token, then the items. Gives positions × width, packed.
    fn encode(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        dropout: &mut Dropout<'_>,
    ) -> Result<(Tensor, Segments)> {
        let segments = Segments::of_lengths(histories.iter().map(|history| history.len() + 1));
        let rows = histories.iter().flat_map(|history| {
            let items = history.iter().map(|&item| Row::Prefix(catalogue.codes_of(item)));
            std::iter::once(Row::Start).chain(items)
        });
        let x = self.embed(rows)?; // positions × width
        let mut x = dropout.apply(&x)?;
        for block in &self.timeline {
            x = block.forward(&x, &segments, dropout)?;
        }
        Ok((self.timeline_norm.forward(&x)?, segments))
    }

    /// Logits of the codes of SIDs, each after a position of `x`: for each level, SIDs × codes.
    fn after(
        &self,
        x: &Tensor,
        positions: &[u32],
        sids: &[&[u16]],
        dropout: &mut Dropout<'_>,
    ) -> Result<Vec<Tensor>> {
        let levels = self.levels();
        let of_history = positions.iter().flat_map(|&at| std::iter::repeat_n(at, levels)).collect();
        let prefixes = sids.iter().flat_map(|codes| (0..levels).map(|end| &codes[..end]));
        let prefix = self.embed(prefixes.map(Row::Prefix))?; // SIDs·levels × width
        let mut x = (sum_rows(x, of_history, 1)? + dropout.apply(&prefix)?)?;
        let segments = Segments::of_lengths(sids.iter().map(|_| levels));
        for block in &self.depth {
            x = block.forward(&x, &segments, dropout)?;
        }
        let x = self.depth_norm.forward(&x)?; // SIDs·levels × width
        let rows = |level| (0..sids.len()).map(|at| (at * levels + level) as u32).collect();
        (0..levels).map(|level| self.logits(&sum_rows(&x, rows(level), 1)?, level)).collect()
    }

    fn dropout<'a>(&self, training: &'a mut Training<'_>) -> Dropout<'a> {
        let random = training.train.then_some(&mut *training.random);
        Dropout { share: self.config.dropout, random }
    }

    /// The codes of a catalogue made for another codebook would read outside the table.
    fn check(&self, catalogue: &Catalogue) -> Result<()> {
        if catalogue.sizes == self.sizes {
            return Ok(());
        }
        let (found, wanted) = (&catalogue.sizes, &self.sizes);
        Err(Error::internal(format!(
            "the catalogue has levels of {found:?} codes, the decoder {wanted:?}"
        )))
    }
}

fn blocks(
    params: &mut Params,
    name: &str,
    count: usize,
    positions: usize,
    config: &Config,
    random: &mut ChaCha8Rng,
) -> Result<Vec<Block>> {
    let Config { width, heads, hidden, .. } = *config;
    let shape = Shape { width, heads, hidden, positions, depth: count };
    (0..count).map(|at| Block::new(params, &format!("{name}.{at}"), shape, random)).collect()
}

/// FNV-1a over the codes of a prefix. Part of what a trained policy means: never change it.
fn hash(prefix: &[u16]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in prefix.iter().flat_map(|code| code.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^ (hash >> 29)
}

/// The latest `count` items.
fn latest(history: History<'_>, count: usize) -> History<'_> {
    &history[history.len().saturating_sub(count)..]
}

impl Generate for Decoder {
    fn begin(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + '_>> {
        self.check(catalogue)?;
        let read: Vec<_> = histories.iter().map(|h| latest(h, self.config.history)).collect();
        let (x, segments) = self.encode(catalogue, &read, &mut Dropout::off())?;
        let last = segments.iter().map(|rows| rows.end as u32 - 1).collect();
        let history = sum_rows(&x, last, 1)?.detach(); // histories × width
        let caches = vec![Cache::default(); self.depth.len()];
        let prefixes = vec![Vec::new(); histories.len()];
        Ok(Box::new(Beams { decoder: self, history, caches, prefixes }))
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.check(catalogue)?;
        let read: Vec<_> = histories
            .iter()
            .filter(|history| !history.is_empty())
            .map(|history| latest(history, self.config.history + 1))
            .collect();
        if read.is_empty() {
            return Err(Error::internal("a loss needs at least one item to predict"));
        }
        let targets_of = training.targets;
        let mut dropout = self.dropout(training);
        let before: Vec<_> = read.iter().map(|history| &history[..history.len() - 1]).collect();
        let (x, segments) = self.encode(catalogue, &before, &mut dropout)?; // positions × width

        // Every position predicts the item that follows it.
        let mut positions = Vec::new();
        let mut targets = Vec::new();
        for (history, rows) in read.iter().zip(segments.iter()) {
            let first = if targets_of == Targets::All { 0 } else { history.len() - 1 };
            positions.extend((first..history.len()).map(|at| (rows.start + at) as u32));
            targets.extend(history[first..].iter().map(|&item| catalogue.codes_of(item)));
        }
        let mut sum: Option<Tensor> = None;
        let logits = self.after(&x, &positions, &targets, &mut dropout)?;
        for (level, logits) in logits.iter().enumerate() {
            let loss = cross_entropy(logits, codes_of(&targets, level))?;
            sum = Some(match sum {
                Some(sum) => (sum + loss)?,
                None => loss,
            });
        }
        sum.ok_or_else(|| Error::internal("a decoder has at least one level"))
    }

    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.check(catalogue)?;
        let read: Vec<_> = histories.iter().map(|h| latest(h, self.config.history)).collect();
        let mut dropout = self.dropout(training);
        let (x, segments) = self.encode(catalogue, &read, &mut dropout)?;
        let ends: Vec<u32> = segments.iter().map(|rows| rows.end as u32 - 1).collect();
        let positions: Vec<u32> =
            completions.iter().map(|one| ends[one.history as usize]).collect();
        let targets: Vec<&[u16]> = completions.iter().map(|one| one.codes).collect();
        let logits = self.after(&x, &positions, &targets, &mut dropout)?;
        let level = |(level, logits)| log_prob(logits, codes_of(&targets, level));
        let columns: Vec<Tensor> = logits.iter().enumerate().map(level).collect::<Result<_>>()?;
        Ok(Tensor::stack(&columns, 1)?)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        let copy = Decoder::new(self.config.clone(), &self.sizes, self.codes.device(), 0)?;
        copy.params.load(&self.params.save()?)?;
        Ok(Box::new(copy))
    }

    fn params(&self) -> &Params {
        &self.params
    }
}

/// The codes that SIDs have at a level.
fn codes_of(sids: &[&[u16]], level: usize) -> Vec<u32> {
    sids.iter().map(|codes| u32::from(codes[level])).collect()
}

/// The beams of a batch of histories.
struct Beams<'a> {
    decoder: &'a Decoder,
    /// What each row has read. Rows × width.
    history: Tensor,
    /// One for each block of the depth transformer.
    caches: Vec<Cache>,
    /// The codes that each row has emitted.
    prefixes: Vec<Vec<u16>>,
}

impl Beams<'_> {
    /// Feeds one depth position and gives the log-probabilities of the level that follows it.
    fn feed(&mut self, mut x: Tensor, level: usize) -> Result<Vec<f32>> {
        for (block, cache) in self.decoder.depth.iter().zip(&mut self.caches) {
            x = block.step(&x, cache)?; // rows × width
        }
        let x = self.decoder.depth_norm.forward(&x)?;
        log_softmax(&self.decoder.logits(&x, level)?)
    }
}

impl Decoding for Beams<'_> {
    fn first(&mut self) -> Result<Vec<f32>> {
        if self.prefixes.is_empty() {
            return Ok(Vec::new());
        }
        self.feed(self.history.clone(), 0)
    }

    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>> {
        let level = self.prefixes.first().map_or(0, Vec::len);
        let known = self.prefixes.len() as u32;
        let fits = parents.len() == codes.len()
            && level + 1 < self.decoder.levels()
            && parents.iter().all(|&parent| parent < known)
            && codes.iter().all(|&code| usize::from(code) < self.decoder.sizes[level]);
        if !fits {
            return Err(Error::internal(format!(
                "level {level} cannot be extended by these codes"
            )));
        }
        let extend = |(&parent, &code): (&u32, &u16)| {
            let mut prefix = self.prefixes[parent as usize].clone();
            prefix.push(code);
            prefix
        };
        self.prefixes = parents.iter().zip(codes).map(extend).collect();
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let parents = Tensor::new(parents, self.history.device())?;
        self.history = self.history.index_select(&parents, 0)?;
        for cache in &mut self.caches {
            *cache = cache.select(&parents)?;
        }
        let prefix = self.decoder.embed(self.prefixes.iter().map(|p| Row::Prefix(p)))?;
        self.feed((&self.history + prefix.detach())?, level + 1)
    }
}

#[cfg(test)]
mod tests;
