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
//! The codes, the depth blocks and the beams are in `sid_head.rs`, for other policies have them too.
//!
//! With a `base` it is MiniOneRec's decoder after all (arXiv 2510.24431): a pretrained language model whose vocabulary the
//! codes extend (`language/`), by all numbers of its blocks or by low-rank matrices beside them. Deviations: a level's
//! softmax runs over the codes of the level, and a history stands behind the prompt, not within, so that every item of a
//! history is a target in the same pass here too.

use candle_core::{Device, Tensor};
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};

use super::language::{self, Speaker, Speech};
use super::sid_head::{Codes, Depth};
use super::timeline::{Lesson, Timeline, ends, latest};
use super::{
    Answers, Completion, Decoding, Generate, History, Kind, Learn, Material, Policy, Reads,
    Training,
};
use crate::device::source;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{Dropout, Moves, Params, Segments, Shape, sum_rows};
use crate::options::meanings;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "decoder",
    summary: "causal transformer over items, then over the codes of the next (RQ-Transformer), or a pretrained `base`",
    needs_codebook: true,
    reads: &[Reads::Base],
    answers: Answers::Beams,
    objectives: &["sft", "grpo", "s_dpo"],
    meanings: meanings::<Config>,
    config: |given| language::configured(given, Config::check, OF_RANDOM, OF_BASE),
    build: |config, material, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        Ok(Policy::Generate(match material.base {
            Some(_) => Box::new(over_base(&config, material, device, seed)?),
            None => Box::new(Decoder::new(config, &material.catalogue.sizes, device, seed)?),
        }))
    },
};

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
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
    /// A model of kind `causal_lm` to begin with; none if empty. Its sizes take the place of those above.
    base: String,
    /// With a base: the rank of the matrices that learn beside those of its blocks; 0 to move the blocks themselves.
    lora: usize,
    /// With a base: divided by the rank, what products of these matrices are multiplied with.
    lora_alpha: f64,
    /// With a base: the words before a history.
    prompt: String,
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
            base: String::new(),
            lora: 8,
            lora_alpha: 16.0,
            prompt: "Items that somebody chose, in their order:".to_owned(),
        }
    }
}

/// Options that only random weights have, and those that only a base has.
const OF_RANDOM: &[&str] = &["layers", "depth_layers", "heads", "width", "hidden", "buckets"];
const OF_BASE: &[&str] = &["lora", "lora_alpha", "prompt"];

/// The decoder over a pretrained base.
fn over_base(
    config: &Config,
    material: &Material<'_>,
    device: &Device,
    seed: u64,
) -> Result<Speaker> {
    config.check()?;
    let base = material.base.ok_or_else(|| Error::internal("a decoder over no base"))?;
    let moves = match config.lora {
        0 => Moves::All,
        rank => Moves::LowRank { rank, alpha: config.lora_alpha },
    };
    let Config { history, dropout, .. } = *config;
    let speech = Speech { moves, prompt: &config.prompt, history, more: 0, dropout };
    Speaker::new(base, &speech, &material.catalogue.sizes, device, seed)
}

/// The largest of each size: a wrong option should not exhaust the memory.
const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_HISTORY: usize = 1024;
const MAX_BUCKETS: usize = 1 << 24;
const MAX_RANK: usize = 1024;

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
            ("lora", self.lora, 0..=MAX_RANK),
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
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Err(bad(format!("`lora_alpha` must be above 0, not {}", self.lora_alpha)));
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

/// The model.
struct Decoder {
    config: Config,
    params: Params,
    codes: Codes,
    timeline: Timeline,
    depth: Depth,
}

impl Decoder {
    fn new(config: Config, sizes: &[usize], device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        let mut params = Params::new(device);
        let random = &mut source(seed, 0);
        let Config { width, heads, hidden, .. } = config;
        let codes = Codes::new(&mut params, sizes, (width, config.buckets), random)?;
        let positions = config.history + 1;
        let shape = Shape { width, heads, hidden, positions, depth: config.layers };
        let timeline = Timeline::new(&mut params, shape, random)?;
        let shape = Shape { positions: sizes.len(), depth: config.depth_layers, ..shape };
        let depth = Depth::new(&mut params, shape, random)?;
        Ok(Decoder { config, params, codes, timeline, depth })
    }

    /// The states behind whole histories. Histories × width.
    fn states(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        self.codes.check(catalogue)?;
        let read: Vec<_> = histories.iter().map(|h| latest(h, self.config.history)).collect();
        let segments = Segments::of_lengths(read.iter().map(|history| history.len() + 1));
        let x = self.codes.embed_histories(|at| catalogue.codes_of(at), read.iter().copied())?;
        let x = self.timeline.forward(&x, &segments, dropout)?; // positions × width
        sum_rows(&x, ends(&segments), 1)
    }

    fn dropout<'a>(&self, training: &'a mut Training<'_>) -> Dropout<'a> {
        let random = training.train.then_some(&mut *training.random);
        Dropout { share: self.config.dropout, random }
    }
}

impl Learn for Decoder {
    fn params(&self) -> &Params {
        &self.params
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        self.codes.check(catalogue)?;
        let lesson = Lesson::new(histories, self.config.history, training.targets)?;
        let mut dropout = self.dropout(training);
        let x = self.codes.embed_histories(|at| catalogue.codes_of(at), lesson.before())?;
        let x = self.timeline.forward(&x, &lesson.segments, &mut dropout)?; // positions × width
        let sids: Vec<&[u16]> = lesson.targets.iter().map(|&at| catalogue.codes_of(at)).collect();
        self.depth.loss(&self.codes, (&x, &lesson.rows), &sids, &mut dropout)
    }
}

impl Generate for Decoder {
    fn begin(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + '_>> {
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
        let mut dropout = self.dropout(training);
        let states = self.states(catalogue, histories, &mut dropout)?;
        let rows: Vec<u32> = completions.iter().map(|one| one.history).collect();
        let sids: Vec<&[u16]> = completions.iter().map(|one| one.codes).collect();
        self.depth.log_probs(&self.codes, (&states, &rows), &sids, &mut dropout)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        let copy = Decoder::new(self.config.clone(), self.codes.sizes(), self.codes.device(), 0)?;
        copy.params.load(&self.params.save()?)?;
        Ok(Box::new(copy))
    }
}

#[cfg(test)]
mod tests;
