//! `tiger`: an encoder-decoder over Semantic IDs (TIGER, Rajput et al. 2023, arXiv 2305.05065).
//!
//! A history is read as the codes of its items, a token for each code and level, and an end token; the decoder begins with
//! a start token and gives the codes of the next item, level by level. The stack is T5's (`t5.rs`), with the sizes that
//! the reproductions agree on.
//!
//! Each epoch draws one item of every history as its target, for an encoder that reads both ways reads one history for one
//! answer. With `causal` it reads an item with those before it alone, so that one pass trains all items of a history; the
//! end token then comes first, for what is answered before the first item. Deviations: no token for the user, which brings
//! nothing in the reproductions; a level's softmax runs over the codes of the level; no end token is learned, since all
//! SIDs of a codebook are as long.

mod t5;

use candle_core::{Device, Tensor};
use documented::DocumentedFieldsOpt;
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::t5::{Encoded, Past, Shape, Sight, T5};
use super::timeline::latest;
use super::{
    Answers, Completion, Decoding, Generate, History, Kind, Learn, Policy, Targets, Training,
};
use crate::device::source;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::nn::{Dropout, Params, log_prob, log_softmax, sum_rows};
use crate::options;

/// The record of this policy.
pub(super) const KIND: Kind = Kind {
    name: "tiger",
    summary: "encoder-decoder over the codes of a history (T5), a token for each code (TIGER)",
    needs_codebook: true,
    reads: &[],
    answers: Answers::Beams,
    objectives: &["sft", "grpo", "s_dpo"],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    build: |config, material, device, seed| {
        let config: Config = serde_json::from_value(config.clone())?;
        let tiger = Tiger::new(config, &material.catalogue.sizes, device, seed)?;
        Ok(Policy::Generate(Box::new(tiger)))
    },
};

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Layers of the encoder.
    layers: usize,
    /// Layers of the decoder.
    decoder_layers: usize,
    /// Attention heads of each layer.
    heads: usize,
    /// Numbers of a head; heads need not divide the width.
    head_width: usize,
    /// Numbers in each row.
    width: usize,
    /// Units of each feed-forward layer.
    hidden: usize,
    /// Share of the numbers dropped while training.
    dropout: f64,
    /// Items of a history that are read, the latest.
    history: usize,
    /// Distances that attention tells apart.
    distances: usize,
    /// From how many tokens on they are all alike.
    max_distance: usize,
    /// Whether an item is encoded with those before it alone; training then learns from every item of a history in one
    /// pass. The paper's encoder reads both ways.
    causal: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            layers: 4,
            decoder_layers: 4,
            heads: 6,
            head_width: 64,
            width: 128,
            hidden: 1024,
            dropout: 0.1,
            history: 20,
            distances: 32,
            max_distance: 128,
            causal: false,
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
            ("decoder_layers", self.decoder_layers, 1..=MAX_LAYERS),
            ("heads", self.heads, 1..=MAX_WIDTH),
            ("head_width", self.head_width, 1..=MAX_WIDTH),
            ("width", self.width, 1..=MAX_WIDTH),
            ("hidden", self.hidden, 1..=4 * MAX_WIDTH),
            ("history", self.history, 1..=MAX_HISTORY),
            ("distances", self.distances, 4..=1024),
            ("max_distance", self.max_distance, self.distances..=1 << 20),
        ];
        for (name, value, range) in in_range {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                return bad(format!("`{name}` must be {low} to {high}, not {value}"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return bad(format!("`dropout` must be at least 0 and below 1, not {}", self.dropout));
        }
        Ok(())
    }

    fn shape(&self) -> Shape {
        Shape {
            width: self.width,
            heads: self.heads,
            head_width: self.head_width,
            hidden: self.hidden,
            encoder_layers: self.layers,
            decoder_layers: self.decoder_layers,
            buckets: self.distances,
            max_distance: self.max_distance,
        }
    }
}

/// The token before the first code of an answer, which also fills up short sequences.
const START: u32 = 0;
/// The token behind the last code of a history, or before the first.
const END: u32 = 1;
/// The token of the first code.
const CODES: usize = 2;

/// The model.
struct Tiger {
    config: Config,
    params: Params,
    /// Codes per level.
    sizes: Vec<usize>,
    /// The token of the first code of each level.
    offsets: Vec<usize>,
    t5: T5,
}

impl Tiger {
    fn new(config: Config, sizes: &[usize], device: &Device, seed: u64) -> Result<Self> {
        config.check()?;
        if sizes.is_empty() {
            return Err(Error::internal("a generating policy needs the codes of a codebook"));
        }
        let mut params = Params::new(device);
        let tokens = CODES + sizes.iter().sum::<usize>();
        let t5 = T5::new(&mut params, tokens, config.shape(), &mut source(seed, 0))?;
        let offsets = (0..sizes.len()).map(|level| CODES + sizes[..level].iter().sum::<usize>());
        Ok(Tiger { config, params, offsets: offsets.collect(), sizes: sizes.to_vec(), t5 })
    }

    fn check(&self, catalogue: &Catalogue) -> Result<()> {
        if catalogue.sizes == self.sizes {
            return Ok(());
        }
        let (found, wanted) = (&catalogue.sizes, &self.sizes);
        let message = format!("the catalogue has levels of {found:?} codes, the policy {wanted:?}");
        Err(Error::internal(message))
    }

    fn dropout<'a>(&self, training: &'a mut Training<'_>) -> Dropout<'a> {
        let random = training.train.then_some(&mut *training.random);
        Dropout { share: self.config.dropout, random }
    }

    fn tokens_of<'c>(&'c self, codes: &'c [u16]) -> impl Iterator<Item = u32> + 'c {
        codes.iter().zip(&self.offsets).map(|(code, offset)| *offset as u32 + u32::from(*code))
    }

    fn encode(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        dropout: &mut Dropout<'_>,
    ) -> Result<Encoded> {
        self.check(catalogue)?;
        let sequence = |history: &History<'_>| -> Vec<u32> {
            let items = latest(history, self.config.history).iter();
            let codes = items.flat_map(|at| self.tokens_of(catalogue.codes_of(*at)));
            if self.config.causal {
                std::iter::once(END).chain(codes).collect()
            } else {
                codes.chain([END]).collect()
            }
        };
        let sequences: Vec<Vec<u32>> = histories.iter().map(sequence).collect();
        let sight = if self.config.causal { self.earlier() } else { Sight::All };
        self.t5.encode(&sequences, sight, dropout)
    }

    /// A step for each item.
    fn earlier(&self) -> Sight {
        Sight::Earlier(self.sizes.len())
    }

    /// Log-probabilities of the codes of SIDs, each after one of the histories. SIDs × levels.
    fn likelihood(
        &self,
        encoded: &Encoded,
        owners: (&[u32], Sight),
        sids: &[&[u16]],
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let levels = self.sizes.len();
        let shifted = sids
            .iter()
            .flat_map(|codes| std::iter::once(START).chain(self.tokens_of(&codes[..levels - 1])));
        let shifted = shifted.collect();
        let x = self.t5.decode(encoded, owners, shifted, &mut Past::default(), dropout)?;
        let column = |level: usize| -> Result<Tensor> {
            let rows = (0..sids.len()).map(|at| (at * levels + level) as u32).collect();
            let logits = self.logits(&sum_rows(&x, rows, 1)?, level)?;
            log_prob(&logits, sids.iter().map(|codes| u32::from(codes[level])).collect())
        };
        let columns = (0..levels).map(column).collect::<Result<Vec<Tensor>>>()?;
        Ok(Tensor::stack(&columns, 1)?)
    }

    fn logits(&self, x: &Tensor, level: usize) -> Result<Tensor> {
        self.t5.logits(x, self.offsets[level], self.sizes[level])
    }
}

/// A range of one place.
fn one(at: usize) -> std::ops::Range<usize> {
    at..at + 1
}

impl Learn for Tiger {
    fn params(&self) -> &Params {
        &self.params
    }

    fn loss(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        let every = self.config.causal && matches!(training.targets, Targets::All);
        let (mut before, mut owners, mut sids) = (Vec::new(), Vec::new(), Vec::new());
        for history in histories.iter().filter(|history| !history.is_empty()) {
            let owner = before.len() as u32;
            let targets = match training.targets {
                Targets::All if every => {
                    // As much as is read at once; of longer histories another part each time.
                    let most = self.config.history + 1;
                    let end = training.random.random_range(most.min(history.len())..=history.len());
                    end.saturating_sub(most)..end
                }
                Targets::All => one(training.random.random_range(0..history.len())),
                Targets::Last => one(history.len() - 1),
            };
            before.push(&history[if every { targets.start } else { 0 }..targets.end - 1]);
            owners.extend(targets.clone().map(|_| owner));
            sids.extend(history[targets].iter().map(|item| catalogue.codes_of(*item)));
        }
        if before.is_empty() {
            return Err(Error::internal("a loss needs at least one item to predict"));
        }
        let mut dropout = self.dropout(training);
        let encoded = self.encode(catalogue, &before, &mut dropout)?;
        let sight = if every { self.earlier() } else { Sight::All };
        let logs = self.likelihood(&encoded, (&owners, sight), &sids, &mut dropout)?;
        Ok((logs.mean_all()? * -(self.sizes.len() as f64))?)
    }
}

impl Generate for Tiger {
    fn begin(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
    ) -> Result<Box<dyn Decoding + '_>> {
        let encoded = self.encode(catalogue, histories, &mut Dropout::off())?;
        let owners = (0..histories.len() as u32).collect();
        Ok(Box::new(Beams { tiger: self, encoded, owners, past: Past::default(), level: 0 }))
    }

    fn log_probs(
        &self,
        catalogue: &Catalogue,
        histories: &[History<'_>],
        completions: &[Completion<'_>],
        training: &mut Training<'_>,
    ) -> Result<Tensor> {
        let mut dropout = self.dropout(training);
        let encoded = self.encode(catalogue, histories, &mut dropout)?;
        let owners: Vec<u32> = completions.iter().map(|one| one.history).collect();
        let sids: Vec<&[u16]> = completions.iter().map(|one| one.codes).collect();
        self.likelihood(&encoded, (&owners, Sight::All), &sids, &mut dropout)
    }

    fn copy(&self) -> Result<Box<dyn Generate>> {
        let copy = Tiger::new(self.config.clone(), &self.sizes, self.t5.device(), 0)?;
        copy.params.load(&self.params.save()?)?;
        Ok(Box::new(copy))
    }
}

/// The beams of a batch of histories.
struct Beams<'a> {
    tiger: &'a Tiger,
    encoded: Encoded,
    /// The history of each row.
    owners: Vec<u32>,
    past: Past,
    /// Codes that each row has emitted.
    level: usize,
}

/// Rows up to which each thread takes some of them all the way: the products of so few are so small that waiting for the
/// other threads at each takes as long as they do. More rows have large products, which are shared out themselves.
const FEW: usize = 64;

impl Beams<'_> {
    /// One token more for each row, which continues one of `parents`; without these, for each history the first token.
    fn feed(&mut self, parents: Option<&[u32]>, tokens: &[u32]) -> Result<Vec<f32>> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let Beams { tiger, encoded, owners, past, level } = self;
        let (rows, device) = (owners.len(), tiger.t5.device());
        let shared = rows <= FEW && device.is_cpu();
        let most = if shared { rows.div_ceil(rayon::current_num_threads()) } else { rows };
        let part = |(at, (owners, tokens)): (usize, (&[u32], &[u32]))| {
            let mut past = match parents {
                Some(parents) => {
                    past.select(&Tensor::new(&parents[at * most..][..owners.len()], device)?)?
                }
                None => Past::default(),
            };
            let all = (owners, Sight::All);
            let x =
                tiger.t5.decode(encoded, all, tokens.to_vec(), &mut past, &mut Dropout::off())?;
            Ok((log_softmax(&tiger.logits(&x.detach(), *level)?)?, past))
        };
        let parts = owners.par_chunks(most).zip(tokens.par_chunks(most)).enumerate().map(part);
        let (logs, pasts): (Vec<Vec<f32>>, Vec<Past>) =
            parts.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        *past = Past::stack(&pasts)?;
        Ok(logs.concat())
    }
}

impl Decoding for Beams<'_> {
    fn first(&mut self) -> Result<Vec<f32>> {
        self.feed(None, &vec![START; self.owners.len()])
    }

    fn step(&mut self, parents: &[u32], codes: &[u16]) -> Result<Vec<f32>> {
        let (level, tiger) = (self.level, self.tiger);
        let fits = parents.len() == codes.len()
            && level + 1 < tiger.sizes.len()
            && parents.iter().all(|&parent| (parent as usize) < self.owners.len())
            && codes.iter().all(|&code| usize::from(code) < tiger.sizes[level]);
        if !fits {
            return Err(Error::internal(format!(
                "level {level} cannot be extended by these codes"
            )));
        }
        self.owners = parents.iter().map(|&parent| self.owners[parent as usize]).collect();
        self.level += 1;
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let offset = tiger.offsets[level] as u32;
        let tokens: Vec<u32> = codes.iter().map(|code| offset + u32::from(*code)).collect();
        self.feed(Some(parents), &tokens)
    }
}

#[cfg(test)]
mod tests;
