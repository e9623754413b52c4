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
//! Weights come from a folder or a GGUF file (`weights.rs`), sizes from its metadata (`shape.rs`).
//! Rows of several texts are packed without padding, and each text can be continued from what was kept of it
//! (`attend.rs`). On the processor a row's numbers do not depend on the texts beside it, to the last bit.

mod apart;
mod attend;
mod shape;
mod weights;

use candle_core::{DType, Device, Tensor};
use candle_nn::ops::rms_norm;

use self::attend::{Attention, Past};
use self::shape::Family;
use self::weights::{Linear, Name, Place};
use super::folder::{Folder, misfit};
use crate::error::{Error, Result};

pub(super) use self::attend::Memory;
pub(super) use self::shape::Shape;
pub(super) use self::weights::{Gguf, Packing};

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
    attention: Attention,
    /// That of layers which see a window.
    local: Attention,
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

    /// The model of a GGUF file. What `packing` unpacks is computed with in `dtype`, the rest in 32 bits.
    pub(super) fn of_gguf(
        gguf: &Gguf,
        packing: Packing,
        (dtype, device): (DType, &Device),
        context: usize,
    ) -> Result<Language> {
        let shape = Shape::of_gguf(gguf)?;
        let packed = packing.stays(gguf, device)?;
        let given = (if packed { DType::F32 } else { dtype }, device);
        let place = Place::of_gguf(gguf, packed, given);
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
            (Some(_), Place::Gguf { packed: true, .. }) if shape.tied => {
                Some(place.linear(WORDS, width, shape.vocabulary)?)
            }
            (Some(_), _) if shape.tied => Some(Linear::of(words.clone())),
            (Some(above), _) => {
                Some(above.linear(("lm_head", "output"), width, shape.vocabulary)?)
            }
        };
        let attention = |local| Attention::new(&shape, local, context, (dtype, device));
        Ok(Language {
            dtype,
            words,
            layers,
            norm: norm(place, ("norm", "output_norm"), width, less_one)?,
            head,
            attention: attention(false)?,
            local: attention(true)?,
            shape,
        })
    }

    /// The last rows of packed texts: rows × width.
    pub(super) fn rows(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let mut memories = vec![Memory::default(); texts.len()];
        let mut texts: Vec<_> = texts.iter().copied().zip(&mut memories).collect();
        self.through(&mut texts)
    }

    /// Reads on in several texts at once. Gives the last row of each: texts × width.
    pub(super) fn read(&self, texts: &mut [(&[u32], &mut Memory)]) -> Result<Tensor> {
        let x = self.through(texts)?;
        let mut end = 0;
        let last = texts.iter().map(|(tokens, _)| {
            end += tokens.len() as u32;
            end - 1
        });
        let last = Tensor::new(last.collect::<Vec<u32>>(), x.device())?;
        Ok(x.index_select(&last, 0)?)
    }

    /// The rows of new tokens behind all layers and the last norm: rows × width.
    fn through(&self, texts: &mut [(&[u32], &mut Memory)]) -> Result<Tensor> {
        let mut tokens: Vec<u32> = Vec::new();
        for (new, memory) in texts.iter_mut() {
            tokens.extend_from_slice(new);
            if memory.layers.is_empty() {
                let nothing = |layer: &Layer| self.attention(layer).nothing();
                memory.layers = self.layers.iter().map(nothing).collect();
            }
        }
        let mut x = self.embed(&tokens)?;
        for (at, layer) in self.layers.iter().enumerate() {
            let (q, k, v) = self.parts(layer, &x)?;
            let mut pasts: Vec<(usize, &mut Past)> = Vec::with_capacity(texts.len());
            for (tokens, memory) in texts.iter_mut() {
                pasts.push((tokens.len(), &mut memory.layers[at]));
            }
            let mixed = self.attention(layer).attend((&q, &k, &v), &mut pasts)?;
            x = self.rest(layer, &x, &mixed)?;
        }
        for (tokens, memory) in texts {
            memory.length += tokens.len();
        }
        Ok(rms_norm(&x, &self.norm, self.shape.epsilon)?)
    }

    fn attention(&self, layer: &Layer) -> &Attention {
        if layer.local { &self.local } else { &self.attention }
    }

    /// For each row a number for each token that may follow it.
    pub(super) fn logits(&self, rows: &Tensor) -> Result<Vec<Vec<f32>>> {
        let head = self.head.as_ref().ok_or_else(|| Error::internal("a model without a head"))?;
        Ok(head.forward(rows)?.to_dtype(DType::F32)?.to_vec2()?)
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
