//! `parallel`: all codes of the next item at once, and exact scores of the whole catalogue (RPG, Hou et al. 2025,
//! arXiv 2506.05781). For codes that stand beside each other, as those of `opq` do.
//!
//! ```text
//! item:     e(i) = mean over digits of code embeddings
//! timeline: h(t) = blocks(start, e(i1), …, e(it))              one position for each item
//! digit d:  x = h + silu(W_d h);  p_d = softmax(cos(x, codes of d) / temperature)
//! loss:     − mean over digits of log p_d(c_d)
//! score(i): mean over digits of log p_d(c_d(i))                a sum of look-ups, no search
//! ```
//!
//! Deviations: the blocks are those of `decoder` (RMS norm first, rotary positions, SwiGLU) and not GPT-2's, and smaller;
//! the norms before the cosines have a learned scale for each column.

use candle_core::{Device, Tensor};
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};

use super::sid_head::{Codes, codes_of};
use super::timeline::{Lesson, Timeline, ends, latest};
use super::{Answers, History, Kind, Learn, Policy, Score, Training};
use crate::device::source;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{
    Dropout, Linear, Params, RmsNorm, Segments, Shape, cross_entropy, log_softmax, matmul, sum_rows,
};
use crate::options;
use crate::progress::Progress;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "parallel",
    summary: "all codes of the next item at once, every item scored exactly; for codes of opq (RPG)",
    needs_codebook: true,
    reads: &[],
    answers: Answers::Scores,
    objectives: &["sft"],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    build: |config, material, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        let parallel = Parallel::new(config, &material.catalogue.sizes, device, seed)?;
        Ok(Policy::Learned(Box::new(parallel)))
    },
};

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Blocks over the items of a history.
    layers: usize,
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
    /// What cosines are divided by.
    temperature: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            layers: 2,
            heads: 4,
            width: 128,
            hidden: 256,
            dropout: 0.3,
            history: 50,
            temperature: 0.05,
        }
    }
}

/// The largest of each size: a wrong option should not exhaust the memory.
const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_HISTORY: usize = 1024;

impl Config {
    fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::input("bad-option", message));
        let in_range = [
            ("layers", self.layers, 1..=MAX_LAYERS),
            ("heads", self.heads, 1..=self.width.max(1) / 2),
            ("width", self.width, 2..=MAX_WIDTH),
            ("hidden", self.hidden, 1..=4 * MAX_WIDTH),
            ("history", self.history, 1..=MAX_HISTORY),
        ];
        for (name, value, range) in in_range {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return bad(format!("`{name}` must be {low} to {high}, not {value}"));
            }
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            let (width, even) = (self.width, 2 * self.heads);
            return bad(format!("`width` must be a multiple of 2 · `heads` = {even}, not {width}"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad(format!("`dropout` must be at least 0 and below 1, not {}", self.dropout));
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return bad(format!("`temperature` must be above 0, not {}", self.temperature));
        }
        Ok(())
    }
}

/// The model.
struct Parallel {
    config: Config,
    params: Params,
    codes: Codes,
    timeline: Timeline,
    /// One for each digit.
    heads: Vec<Linear>,
    head_norm: RmsNorm,
    code_norm: RmsNorm,
    /// The codes of every item, items × digits; empty until it is settled.
    items: Vec<u16>,
}

impl Parallel {
    fn new(config: Config, sizes: &[usize], device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        let mut params = Params::new(device);
        let random = &mut source(seed, 0);
        let Config { width, heads, hidden, .. } = config;
        let codes = Codes::new(&mut params, sizes, (width, 0), random)?;
        let positions = config.history + 1;
        let shape = Shape { width, heads, hidden, positions, depth: config.layers };
        let timeline = Timeline::new(&mut params, shape, random)?;
        let heads = (0..sizes.len())
            .map(|digit| {
                Linear::new(&mut params, format!("heads.{digit}"), (width, width), 1.0, random)
            })
            .collect::<Result<_>>()?;
        let head_norm = RmsNorm::new(&mut params, "heads.norm".to_owned(), width, random)?;
        let code_norm = RmsNorm::new(&mut params, "codes.norm".to_owned(), width, random)?;
        let items = Vec::new();
        Ok(Parallel { config, params, codes, timeline, heads, head_norm, code_norm, items })
    }

    /// The states behind every position of histories. `histories`: what sequences hold behind their start token.
    fn read<'c, 'h>(
        &self,
        codes_of: impl Fn(u32) -> &'c [u16],
        histories: impl Iterator<Item = History<'h>>,
        segments: &Segments,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let sums = self.codes.embed_histories(codes_of, histories)?;
        let means = (sums / self.heads.len() as f64)?;
        self.timeline.forward(&means, segments, dropout)
    }

    /// The logits of a digit. `x`: rows × width. Gives rows × codes.
    fn logits(&self, x: &Tensor, digit: usize) -> Result<Tensor> {
        let state = (x + self.heads[digit].forward(x)?.silu()?)?;
        let codes = self.code_norm.forward(&self.codes.of_level(digit)?)?;
        // Rows of unit mean square have products that are as many times larger as they are wide.
        let sharpness = 1.0 / (self.config.temperature * self.config.width as f64);
        Ok((matmul(&self.head_norm.forward(&state)?, &codes.t()?)? * sharpness)?)
    }
}

impl Learn for Parallel {
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
        let random = training.train.then_some(&mut *training.random);
        let mut dropout = Dropout { share: self.config.dropout, random };
        let codes = |at| catalogue.codes_of(at);
        let x = self.read(codes, lesson.before(), &lesson.segments, &mut dropout)?;
        let x = sum_rows(&x, lesson.rows, 1)?;
        let sids: Vec<&[u16]> = lesson.targets.iter().map(|&at| catalogue.codes_of(at)).collect();
        let digit = |digit| cross_entropy(&self.logits(&x, digit)?, codes_of(&sids, digit));
        let losses = (0..self.heads.len()).map(digit).collect::<Result<Vec<Tensor>>>()?;
        Ok(Tensor::stack(&losses, 0)?.mean_all()?)
    }

    fn settle(
        &mut self,
        catalogue: &Catalogue,
        _validated: &[History<'_>],
        _progress: &Progress,
    ) -> Result<()> {
        self.codes.check(catalogue)?;
        self.items.clone_from(&catalogue.codes);
        Ok(())
    }

    fn load(&mut self, catalogue: &Catalogue, state: &[u8]) -> Result<()> {
        self.params.load(state)?;
        self.codes.check(catalogue)?;
        self.items.clone_from(&catalogue.codes);
        Ok(())
    }
}

impl Score for Parallel {
    fn score(&self, history: History<'_>, scores: &mut [f32]) -> Result<()> {
        let digits = self.heads.len();
        if self.items.len() != scores.len() * digits {
            return Err(Error::internal("a policy is asked for scores before it is settled"));
        }
        let read = latest(history, self.config.history);
        let segments = Segments::of_lengths([read.len() + 1]);
        let codes = |at: u32| &self.items[at as usize * digits..][..digits];
        let histories = std::iter::once(read);
        let x = self.read(codes, histories, &segments, &mut Dropout::off())?;
        let x = sum_rows(&x, ends(&segments), 1)?.detach(); // 1 × width
        let logs: Vec<Vec<f32>> = (0..digits)
            .map(|digit| log_softmax(&self.logits(&x, digit)?))
            .collect::<Result<_>>()?;
        for (score, codes) in scores.iter_mut().zip(self.items.chunks_exact(digits)) {
            let sum: f32 = codes.iter().zip(&logs).map(|(code, log)| log[usize::from(*code)]).sum();
            *score = sum / digits as f32;
        }
        Ok(())
    }
}
