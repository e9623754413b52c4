//! Language models of four families, each a stack of causal blocks: Llama (arXiv 2302.13971; Mistral and SmolLM2
//! are laid out like it), Qwen 2 (2407.10671), Qwen 3 (2505.09388) and Gemma 3 (2503.19786).
//!
//! ```text
//! a block: y = x + out(attend(norm(x))), then y + down(act(gate(norm(y))) · up(norm(y)))
//! Qwen 2:  biases on queries, keys and values
//! Qwen 3:  queries and keys normed, head by head
//! Gemma 3: these too, norms behind both layers, GELU for SiLU, and most layers see a window of the past
//! ```
//!
//! Several heads of queries share one of keys and values (arXiv 2305.13245); positions are rotary (2104.09864).
//! Weights come from a folder or quantized from a GGUF file (`weights.rs`), sizes from its metadata (`shape.rs`).
//! Rows of several texts are packed without padding; a single text can be continued from what was kept of it.

mod shape;
mod weights;

use candle_core::{DType, Device, Tensor};
use candle_nn::ops::{rms_norm, softmax_last_dim};
use candle_nn::rotary_emb::{rope, rope_i};

use self::shape::{Family, Rotary};
use self::weights::{Linear, Name, Place};
use super::folder::{Folder, misfit};
use crate::error::{Error, Result};

pub(super) use self::shape::Shape;
pub(super) use self::weights::Gguf;

/// What the names of a folder's tensors begin with: those of the model, and that of its head.
const PREFIXES: &[(&str, &str)] = &[
    ("model", ""),
    ("", ""),
    ("language_model.model", "language_model"),
    ("model.language_model", ""),
];

/// A language model.
pub(super) struct Language {
    /// Its sizes.
    pub(super) shape: Shape,
    dtype: DType,
    /// Embeddings of tokens: vocabulary × width.
    words: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// From the last row to a number for each token; nothing in a model that only embeds.
    head: Option<Linear>,
    turns: Turns,
    local_turns: Turns,
}

/// One block.
struct Layer {
    local: bool,
    norm_1: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    /// Scales of the norms of queries and keys.
    head_norms: Option<(Tensor, Tensor)>,
    out: Linear,
    norm_2: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
    /// Scales of the norms behind the attention and the feed-forward layer.
    after: Option<(Tensor, Tensor)>,
}

/// Cosines and sines: positions × half a head.
struct Turns {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

/// The keys and values of the tokens that one text has so far, layer by layer: heads × tokens × head width.
#[derive(Clone, Default)]
pub(super) struct Memory {
    layers: Vec<Option<(Tensor, Tensor)>>,
    length: usize,
}

impl Memory {
    /// Tokens that are kept.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Forgets all tokens but the first `length`.
    pub(super) fn truncate(&mut self, length: usize) -> Result<()> {
        if length >= self.length {
            return Ok(());
        }
        if length == 0 {
            *self = Memory::default();
            return Ok(());
        }
        for (keys, values) in self.layers.iter_mut().flatten() {
            // A copy: a view would keep the whole.
            *keys = keys.narrow(1, 0, length)?.force_contiguous()?;
            *values = values.narrow(1, 0, length)?.force_contiguous()?;
        }
        self.length = length;
        Ok(())
    }
}

impl Language {
    /// The model of a folder, computing in `dtype`, for texts of at most `context` tokens. `head`: whether it has to
    /// tell what follows.
    pub(super) fn of_folder(
        folder: &Folder,
        (dtype, device): (DType, &Device),
        context: usize,
        head: bool,
    ) -> Result<Language> {
        let shape = Shape::of_json(&folder.config()?)?;
        let tensors = folder.tensors(dtype, device)?;
        let under = |prefix: &str| match prefix {
            "" => tensors.clone(),
            prefix => tensors.pp(prefix),
        };
        let known =
            |(model, _): &&(&str, &str)| under(model).contains_tensor("embed_tokens.weight");
        let (model, above) = PREFIXES.iter().find(known).ok_or_else(|| {
            Error::input("bad-model", "the weights hold no `model.embed_tokens.weight`")
        })?;
        let (place, above) = (Place::Folder(under(model)), Place::Folder(under(above)));
        let head = head.then_some(&above);
        Language::load(shape, &place, head, (dtype, device), context).map_err(misfit)
    }

    /// The model of a GGUF file.
    pub(super) fn of_gguf(gguf: &Gguf, device: &Device, context: usize) -> Result<Language> {
        let shape = Shape::of_gguf(gguf)?;
        let place = Place::Gguf(gguf, String::new(), device.clone());
        let given = (DType::F32, device);
        Language::load(shape, &place, Some(&place), given, context).map_err(misfit)
    }

    fn load(
        shape: Shape,
        place: &Place<'_>,
        head: Option<&Place<'_>>,
        (dtype, device): (DType, &Device),
        context: usize,
    ) -> candle_core::Result<Language> {
        const WORDS: Name = ("embed_tokens", "token_embd");
        let width = shape.width;
        // Norms of Gemma are stored as their difference from 1, but not in GGUF files.
        let less_one = shape.family == Family::Gemma3 && matches!(place, Place::Folder(_));
        let layers = (0..shape.local.len())
            .map(|at| Layer::load(&shape, &place.layer(at), shape.local[at], less_one));
        let layers = layers.collect::<candle_core::Result<Vec<_>>>()?;
        let words = place.table(WORDS, shape.vocabulary, width)?;
        let head = match (head, place) {
            (None, _) => None,
            (Some(_), Place::Folder(_)) if shape.tied => Some(Linear::of(words.clone())),
            (Some(_), _) if shape.tied => Some(place.linear(WORDS, width, shape.vocabulary)?),
            (Some(above), _) => {
                Some(above.linear(("lm_head", "output"), width, shape.vocabulary)?)
            }
        };
        let turns = |rotary: &Rotary| Turns::new(rotary, shape.head_width, context, dtype, device);
        Ok(Language {
            dtype,
            words,
            layers,
            norm: norm(place, ("norm", "output_norm"), width, less_one)?,
            head,
            turns: turns(&shape.rotary)?,
            local_turns: turns(&shape.local_rotary)?,
            shape,
        })
    }

    /// The last rows of packed texts: rows × width.
    pub(super) fn rows(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let mut x = self.embed(&texts.concat())?;
        for layer in &self.layers {
            let (q, k, v) = self.parts(layer, &x)?;
            let mut mixed = Vec::with_capacity(texts.len());
            let mut first = 0;
            for text in texts {
                let part = |x: &Tensor| x.narrow(0, first, text.len());
                let parts = (&part(&q)?, &part(&k)?, &part(&v)?);
                mixed.push(self.attend(layer, parts, 0, &mut None)?);
                first += text.len();
            }
            x = self.rest(layer, &x, &Tensor::cat(&mixed, 0)?)?;
        }
        Ok(rms_norm(&x, &self.norm, self.shape.epsilon)?)
    }

    /// Reads on in one text. Gives the last rows of the new tokens: rows × width.
    pub(super) fn read(&self, tokens: &[u32], memory: &mut Memory) -> Result<Tensor> {
        memory.layers.resize(self.layers.len(), None);
        let mut x = self.embed(tokens)?;
        for (layer, past) in self.layers.iter().zip(&mut memory.layers) {
            let (q, k, v) = self.parts(layer, &x)?;
            let mixed = self.attend(layer, (&q, &k, &v), memory.length, past)?;
            x = self.rest(layer, &x, &mixed)?;
        }
        memory.length += tokens.len();
        Ok(rms_norm(&x, &self.norm, self.shape.epsilon)?)
    }

    /// A number for each token that may follow the last of these rows.
    pub(super) fn logits(&self, rows: &Tensor) -> Result<Vec<f32>> {
        let head = self.head.as_ref().ok_or_else(|| Error::internal("a model without a head"))?;
        let last = rows.narrow(0, rows.dim(0)? - 1, 1)?.contiguous()?;
        Ok(head.forward(&last)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let tokens = Tensor::new(tokens, self.words.device())?;
        let x = self.words.index_select(&tokens, 0)?.to_dtype(self.dtype)?;
        match self.shape.family {
            Family::Gemma3 => Ok((x * (self.shape.width as f64).sqrt())?),
            _ => Ok(x),
        }
    }

    /// Queries, keys and values of rows, side by side for each head.
    fn parts(&self, layer: &Layer, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let x = rms_norm(x, &layer.norm_1, self.shape.epsilon)?;
        let (mut q, mut k) = (layer.q.forward(&x)?, layer.k.forward(&x)?);
        if let Some((q_norm, k_norm)) = &layer.head_norms {
            let normed = |x: &Tensor, scale: &Tensor| {
                let heads = x.reshape(((), self.shape.head_width))?;
                rms_norm(&heads, scale, self.shape.epsilon)?.reshape(x.shape())
            };
            (q, k) = (normed(&q, q_norm)?, normed(&k, k_norm)?);
        }
        Ok((q, k, layer.v.forward(&x)?))
    }

    /// Attention within one text. The new rows stand at `start`, behind those in `past`, and join them.
    fn attend(
        &self,
        layer: &Layer,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        start: usize,
        past: &mut Option<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_width, .. } = self.shape;
        let rows = q.dim(0)?;
        let turns = if layer.local { &self.local_turns } else { &self.turns };
        // 1 × heads × rows × head width
        let split = |x: &Tensor, heads: usize| -> candle_core::Result<Tensor> {
            x.reshape((1, rows, heads, head_width))?.transpose(1, 2)?.contiguous()
        };
        let q = turns.turn(&split(q, heads)?, start)?;
        let k = turns.turn(&split(k, kv_heads)?, start)?.squeeze(0)?;
        let v = split(v, kv_heads)?.squeeze(0)?;
        let (k, v) = match past.take() {
            Some((keys, values)) => (Tensor::cat(&[keys, k], 1)?, Tensor::cat(&[values, v], 1)?),
            None => (k, v),
        };
        // Heads that share keys lie side by side, so that their rows are one matrix.
        let q = q.reshape((kv_heads, heads / kv_heads * rows, head_width))?;
        let scores = (q.matmul(&k.t()?)? * self.shape.scale)?;
        let mut scores = scores.reshape((heads, rows, start + rows))?;
        if let Some(mask) = self.mask(layer.local, start, rows)? {
            scores = scores.broadcast_add(&mask)?;
        }
        let weights = softmax_last_dim(&scores)?.reshape((kv_heads, (), start + rows))?;
        let mixed = weights.matmul(&v)?.reshape((heads, rows, head_width))?;
        *past = Some((k, v));
        Ok(mixed.transpose(0, 1)?.reshape((rows, heads * head_width))?)
    }

    /// What hides from rows what comes after them, and from those of a window what is too long ago: rows × all
    /// rows. Nothing where every row sees everything.
    fn mask(&self, local: bool, start: usize, rows: usize) -> Result<Option<Tensor>> {
        let window = if local { self.shape.window } else { usize::MAX };
        if rows == 1 && start < window {
            return Ok(None);
        }
        let hide = |row: usize| {
            let at = start + row;
            (0..start + rows).map(move |other| {
                let seen = other <= at && at - other < window;
                if seen { 0.0 } else { f32::NEG_INFINITY }
            })
        };
        let mask: Vec<f32> = (0..rows).flat_map(hide).collect();
        let mask = Tensor::from_vec(mask, (rows, start + rows), self.words.device())?;
        Ok(Some(mask.to_dtype(self.dtype)?))
    }

    /// What follows the attention in a block.
    fn rest(&self, layer: &Layer, x: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let epsilon = self.shape.epsilon;
        let (mut mixed, after) = (layer.out.forward(mixed)?, layer.after.as_ref());
        if let Some((scale, _)) = after {
            mixed = rms_norm(&mixed, scale, epsilon)?;
        }
        let x = (x + mixed)?;
        let normed = rms_norm(&x, &layer.norm_2, epsilon)?;
        let gate = layer.gate.forward(&normed)?;
        let gate = if self.shape.family == Family::Gemma3 { gate.gelu()? } else { gate.silu()? };
        let mut fed = layer.down.forward(&(gate * layer.up.forward(&normed)?)?)?;
        if let Some((_, scale)) = after {
            fed = rms_norm(&fed, scale, epsilon)?;
        }
        Ok((x + fed)?)
    }
}

impl Layer {
    fn load(
        shape: &Shape,
        place: &Place<'_>,
        local: bool,
        less_one: bool,
    ) -> candle_core::Result<Layer> {
        let &Shape { family, width, hidden, heads, kv_heads, head_width, .. } = shape;
        let (q_width, kv_width) = (heads * head_width, kv_heads * head_width);
        let scale = |name: Name, width| norm(place, name, width, less_one);
        let head_norms = match family {
            Family::Llama | Family::Qwen2 => None,
            Family::Qwen3 | Family::Gemma3 => Some((
                scale(("self_attn.q_norm", "attn_q_norm"), head_width)?,
                scale(("self_attn.k_norm", "attn_k_norm"), head_width)?,
            )),
        };
        let (norm_2, after) = if family == Family::Gemma3 {
            let after = (
                scale(("post_attention_layernorm", "post_attention_norm"), width)?,
                scale(("post_feedforward_layernorm", "post_ffw_norm"), width)?,
            );
            ("pre_feedforward_layernorm", Some(after))
        } else {
            ("post_attention_layernorm", None)
        };
        Ok(Layer {
            local,
            norm_1: scale(("input_layernorm", "attn_norm"), width)?,
            q: place.linear(("self_attn.q_proj", "attn_q"), width, q_width)?,
            k: place.linear(("self_attn.k_proj", "attn_k"), width, kv_width)?,
            v: place.linear(("self_attn.v_proj", "attn_v"), width, kv_width)?,
            head_norms,
            out: place.linear(("self_attn.o_proj", "attn_output"), q_width, width)?,
            norm_2: scale((norm_2, "ffn_norm"), width)?,
            gate: place.linear(("mlp.gate_proj", "ffn_gate"), width, hidden)?,
            up: place.linear(("mlp.up_proj", "ffn_up"), width, hidden)?,
            down: place.linear(("mlp.down_proj", "ffn_down"), hidden, width)?,
            after,
        })
    }
}

/// The scale of a norm, which may be stored as its difference from 1.
fn norm(
    place: &Place<'_>,
    name: Name,
    width: usize,
    less_one: bool,
) -> candle_core::Result<Tensor> {
    let scale = place.scale(name, width)?;
    if less_one { scale + 1.0 } else { Ok(scale) }
}

impl Turns {
    fn new(
        rotary: &Rotary,
        head_width: usize,
        positions: usize,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Turns> {
        let angles = rotary.angles(head_width);
        let table = |turn: fn(f64) -> f64| {
            let row = |at: usize| angles.iter().map(move |angle| turn(angle * at as f64) as f32);
            let rows: Vec<f32> = (0..positions).flat_map(row).collect();
            Tensor::from_vec(rows, (positions, head_width / 2), device)?.to_dtype(dtype)
        };
        Ok(Turns { cos: table(f64::cos)?, sin: table(f64::sin)?, interleaved: rotary.interleaved })
    }

    /// `x`: 1 × heads × rows × head width, the first row at position `start`.
    fn turn(&self, x: &Tensor, start: usize) -> candle_core::Result<Tensor> {
        let rows = x.dim(2)?;
        let (cos, sin) = (self.cos.narrow(0, start, rows)?, self.sin.narrow(0, start, rows)?);
        if self.interleaved { rope_i(x, &cos, &sin) } else { rope(x, &cos, &sin) }
    }
}
