//! A language model whose vocabulary was extended by codes, as MiniOneRec has it (arXiv 2510.24431): what `decoder` over a
//! base and `lc_rec` share.
//!
//! A SID is a token for each level. Tokens of words keep the numbers that the base gave them; behind them come those of
//! the codes, level by level, with rows of their own:
//!
//! ```text
//! embed:  words, as they came; for a code a row that begins like a word, drawn column by column
//! blocks: y = x + out(attend(norm(x))), then y + down(silu(gate(norm(y))) · up(norm(y)))
//! logits: of a level's codes by rows that begin with zeros, so that at first all are alike; of words by the base's head
//! ```
//!
//! Blocks learn either by all their numbers or by small matrices beside them (`nn::Adapted`). Words stay as they came,
//! unless the base is random.

mod layer;
mod learn;
mod sequences;

use std::sync::Arc;

use candle_core::{D, Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use self::layer::Layer;
pub(super) use self::sequences::{Lesson, Speaker, Speech};
use crate::device::source;
use crate::error::{Error, Result};
use crate::model::base::Base;
use crate::nn::{
    Cache, Dropout, Grouped, Init, Moves, NONE, Params, Segments, Texts, Weight, matmul, normal,
    rms_norm, rows_times, sum_rows,
};
use crate::options::{self, Given};

/// Dropout over a base where none is given: it has learned much more than it is now taught.
const BASE_DROPOUT: f64 = 0.05;

/// All options of a policy that may stand on a base; those that say nothing of it are refused: `of_random` with a base,
/// `of_base` without.
pub(super) fn configured<T: Default + Serialize + DeserializeOwned>(
    given: &[Given],
    check: impl FnOnce(&T) -> Result<()>,
    of_random: &[&str],
    of_base: &[&str],
) -> Result<Map<String, Json>> {
    let mut config = options::checked(given, check)?;
    let has_base = config["base"] != "";
    let (needless, why) = if has_base {
        (of_random, "the base has its own sizes")
    } else {
        (of_base, "it is for a policy over a `base`")
    };
    if let Some(option) = given.iter().find(|option| needless.contains(&option.name.as_str())) {
        let message = format!("option `{}` does not apply: {why}", option.name);
        return Err(Error::input("bad-option", message).at(option.span.clone()));
    }
    if has_base && !given.iter().any(|option| option.name == "dropout") {
        config.insert("dropout".to_owned(), BASE_DROPOUT.into());
    }
    Ok(config)
}

/// The model.
pub(super) struct Language {
    pub(super) params: Params,
    base: Arc<Base>,
    moves: Moves,
    /// Codes per level.
    sizes: Vec<usize>,
    /// The row of the first code of each level.
    offsets: Vec<usize>,
    /// Embeddings of words: vocabulary × width.
    words: Weight,
    /// From a state to words, where these are not the embeddings.
    head: Option<Weight>,
    /// Embeddings of codes: codes of all levels × width.
    codes: Var,
    /// From a state to codes: codes of all levels × width.
    code_head: Var,
    layers: Vec<Layer>,
    norm: Weight,
    attention: Grouped,
    positions: usize,
}

/// What a batch of texts was read to.
pub(super) struct Read {
    /// The state behind each text: texts × width.
    pub(super) states: Tensor,
    /// What rows that go on need of each layer.
    texts: Vec<Texts>,
}

impl Language {
    /// Over a base, for codes of these sizes and texts of at most `positions` tokens.
    pub(super) fn new(
        base: &Arc<Base>,
        (moves, positions): (Moves, usize),
        sizes: &[usize],
        device: &Device,
        seed: u64,
    ) -> Result<Self> {
        if sizes.is_empty() {
            return Err(Error::internal("a generating policy needs the codes of a codebook"));
        }
        if positions > base.sizes.positions {
            let most = base.sizes.positions;
            let message = format!("texts of {positions} tokens, but the base reads {most}");
            return Err(Error::input("bad-option", message).help("lower `history`"));
        }
        let (mut params, random) = (Params::new(device), &mut source(seed, 0));
        let (weights, shape) = (&base.weights, &base.sizes);
        // Words learn only where nobody has taught them.
        let untaught = (base.is_random(), false);
        let words = Weight::new(&mut params, "words".to_owned(), &weights.words, untaught)?;
        let head = weights.head.as_ref().map(|head| Weight::Fixed(head.clone()));
        let count = sizes.iter().sum::<usize>();
        let codes = params.adopt("codes", &alike(&weights.words, count, random)?, false)?;
        let shape_of_codes = [count, shape.width];
        let code_head = params.create("code_head", &shape_of_codes, Init::Zeros, random)?;
        let layers = weights.layers.iter().enumerate().map(|(at, layer)| {
            Layer::new(&mut params, &format!("layers.{at}"), layer, (moves, shape.epsilon), random)
        });
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let moved = (moves == Moves::All, false);
        let norm = Weight::new(&mut params, "norm".to_owned(), &weights.norm, moved)?;
        let attention = Grouped::new((shape.heads, shape.kv_heads), &shape.angles, positions);
        let offsets = (0..sizes.len()).map(|level| sizes[..level].iter().sum()).collect();
        let base = Arc::clone(base);
        let sizes = sizes.to_vec();
        Ok(Language {
            params,
            base,
            moves,
            sizes,
            offsets,
            words,
            head,
            codes,
            code_head,
            layers,
            norm,
            attention,
            positions,
        })
    }

    /// The same with variables of its own.
    pub(super) fn copy(&self) -> Result<Language> {
        let given = (self.moves, self.positions);
        let copy = Language::new(&self.base, given, &self.sizes, self.codes.device(), 0)?;
        copy.params.load(&self.params.save()?)?;
        Ok(copy)
    }

    /// What it stands on.
    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    /// Codes per level.
    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The token of a code.
    pub(super) fn token(&self, level: usize, code: u16) -> u32 {
        (self.base.tokens() + self.offsets[level]) as u32 + u32::from(code)
    }

    /// The tokens of codes from the first level on.
    pub(super) fn tokens_of<'c>(&'c self, codes: &'c [u16]) -> impl Iterator<Item = u32> + 'c {
        codes.iter().enumerate().map(|(level, code)| self.token(level, *code))
    }

    /// The state behind every token of packed texts, with gradient: tokens × width.
    pub(super) fn forward(
        &self,
        tokens: &[u32],
        segments: &Segments,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let mut x = self.embed(tokens, true)?;
        for layer in &self.layers {
            let [q, k, v] = layer.parts(&x, true)?;
            let mixed = self.attention.forward((&q, &k, &v), segments)?;
            x = layer.rest(&x, &mixed, true, dropout)?;
        }
        rms_norm(&x, &self.norm.tensor(true), self.base.sizes.epsilon)
    }

    /// Reads packed texts that others go on from. Without gradient.
    pub(super) fn read(&self, tokens: &[u32], segments: &Segments) -> Result<Read> {
        let mut x = self.embed(tokens, false)?;
        let mut texts = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let [q, k, v] = layer.parts(&x, false)?;
            texts.push(self.attention.keep((&k, &v), segments)?);
            let mixed = self.attention.forward((&q, &k, &v), segments)?;
            x = layer.rest(&x, &mixed, false, &mut Dropout::off())?;
        }
        let ends = segments.iter().map(|rows| rows.end as u32 - 1).collect();
        let x = sum_rows(&x, ends, 1)?;
        let states = rms_norm(&x, &self.norm.tensor(false), self.base.sizes.epsilon)?;
        Ok(Read { states, texts })
    }

    /// One token more for each row, which goes on from the text that `owners` names. Without gradient. Gives the state
    /// behind it: rows × width.
    pub(super) fn step(
        &self,
        tokens: &[u32],
        (read, owners): (&Read, &[u32]),
        caches: &mut [Cache],
    ) -> Result<Tensor> {
        let mut x = self.embed(tokens, false)?;
        for ((layer, texts), cache) in self.layers.iter().zip(&read.texts).zip(caches) {
            let [q, k, v] = layer.parts(&x, false)?;
            let mixed = self.attention.step((&q, &k, &v), (texts, owners), cache)?;
            x = layer.rest(&x, &mixed, false, &mut Dropout::off())?;
        }
        rms_norm(&x, &self.norm.tensor(false), self.base.sizes.epsilon)
    }

    /// Caches of rows that have gathered nothing.
    pub(super) fn caches(&self) -> Vec<Cache> {
        vec![Cache::default(); self.layers.len()]
    }

    /// Logits over the codes of a level. `x`: rows × width. Gives rows × codes.
    pub(super) fn code_logits(&self, x: &Tensor, level: usize, learn: bool) -> Result<Tensor> {
        let rows = (self.offsets[level], self.sizes[level]);
        if learn {
            return Ok(matmul(x, &self.code_head.narrow(0, rows.0, rows.1)?.t()?)?);
        }
        let head = self.code_head.as_detached_tensor().narrow(0, rows.0, rows.1)?;
        Ok(rows_times(x, &head)?)
    }

    /// Logits over the words, with gradient. `x`: rows × width. Gives rows × vocabulary.
    pub(super) fn word_logits(&self, x: &Tensor) -> Result<Tensor> {
        self.head.as_ref().unwrap_or(&self.words).times(x, true)
    }

    /// Tokens × width.
    fn embed(&self, tokens: &[u32], learn: bool) -> Result<Tensor> {
        let first = self.base.tokens() as u32;
        let words = tokens.iter().map(|&token| if token < first { token } else { NONE }).collect();
        let codes = tokens.iter().map(|&token| token.checked_sub(first).unwrap_or(NONE)).collect();
        let rows =
            if learn { self.codes.as_tensor().clone() } else { self.codes.as_detached_tensor() };
        Ok((sum_rows(&self.words.tensor(learn), words, 1)? + sum_rows(&rows, codes, 1)?)?)
    }
}

/// Rows that are distributed as those of a table, column by column.
fn alike(table: &Tensor, count: usize, random: &mut ChaCha8Rng) -> Result<Tensor> {
    let (mean, width) = (table.mean_keepdim(0)?, table.dim(D::Minus1)?); // 1 × width
    let deviation = table.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()?;
    let numbers = normal(count * width, 1.0, random);
    let numbers = Tensor::from_vec(numbers, (count, width), table.device())?;
    Ok(numbers.broadcast_mul(&deviation)?.broadcast_add(&mean)?)
}

#[cfg(test)]
mod tests;
