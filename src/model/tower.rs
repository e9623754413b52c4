//! The transformer of which CLIP and SigLIP have two each: a tower for pictures and a tower for texts.
//!
//! ```text
//! x = x + out(attention(norm1(x)))          all positions see each other, or only the ones before
//! x = x + fc2(activation(fc1(norm2(x))))
//! ```
//!
//! The layout is Hugging Face's. Widths and depths are read from the weights; what these do not tell is read from
//! `config.json`, whose fields may be left out where they have the value that the paper's first model has.

use candle_core::{DType, Device, Result as Tensors, Tensor, bail};
use candle_nn::ops::{sigmoid, softmax_last_dim};
use candle_nn::{LayerNorm, Linear, Module, VarBuilder};
use serde::Deserialize;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use super::folder::Folder;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// `config.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// Of the tower for texts.
    pub(super) text_config: Section,
    /// Of the tower for pictures.
    pub(super) vision_config: Section,
}

/// What `config.json` says of one tower, and the weights do not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Section {
    /// Attention heads.
    num_attention_heads: Option<usize>,
    /// The activation.
    hidden_act: Option<Activation>,
    /// What keeps the division of layer norm finite.
    layer_norm_eps: Option<f64>,
    /// Pixels along a side of a picture.
    pub(super) image_size: Option<u32>,
    /// The token at the end of a text.
    pub(super) eos_token_id: Option<u32>,
    /// The token that fills short texts up.
    pub(super) pad_token_id: Option<u32>,
}

/// What the weights do not tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Attention heads.
    pub(super) heads: usize,
    /// The activation.
    pub(super) activation: Activation,
    /// What keeps the division of layer norm finite.
    pub(super) epsilon: f64,
}

impl Section {
    /// The shape, `usual` where nothing else is said.
    pub(super) fn shape(&self, usual: Shape) -> Shape {
        Shape {
            heads: self.num_attention_heads.unwrap_or(usual.heads),
            activation: self.hidden_act.unwrap_or(usual.activation),
            epsilon: self.layer_norm_eps.unwrap_or(usual.epsilon),
        }
    }
}

/// The activation of the feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Activation {
    /// `x · Φ(x)`.
    #[serde(rename = "gelu")]
    Gelu,
    /// `x · σ(1.702 x)`, the one of OpenAI's CLIP.
    #[serde(rename = "quick_gelu")]
    Quick,
    /// `x · Φ(x)` by the hyperbolic tangent.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new")]
    Tanh,
}

impl Activation {
    fn forward(self, x: &Tensor) -> Tensors<Tensor> {
        match self {
            Activation::Gelu => x.gelu_erf(),
            Activation::Quick => x * sigmoid(&(x * 1.702)?)?,
            Activation::Tanh => x.gelu(),
        }
    }
}

/// The layers of a tower.
pub(super) struct Tower {
    layers: Vec<Layer>,
}

impl Tower {
    /// Reads `encoder.layers.*`.
    pub(super) fn read(weights: &VarBuilder<'_>, shape: Shape) -> Tensors<Tower> {
        let mut layers = Vec::new();
        loop {
            let layer = weights.pp(format!("encoder.layers.{}", layers.len()));
            if !layer.contains_tensor("mlp.fc1.weight") {
                break;
            }
            layers.push(Layer::read(&layer, shape)?);
        }
        if layers.is_empty() {
            bail!("no layer `{}.encoder.layers.0`", weights.prefix());
        }
        Ok(Tower { layers })
    }

    /// `x`: rows × positions × width, and so is the result. `causal`: a position sees only those before it.
    pub(super) fn forward(&self, x: &Tensor, causal: bool, progress: &Progress) -> Result<Tensor> {
        let (rows, positions, width) = x.dims3()?;
        let mask = causal.then(|| later_masked(positions, x.device())).transpose()?;
        let mut x = x.reshape((rows * positions, width))?;
        for layer in &self.layers {
            progress.check()?;
            x = layer.forward(&x, (rows, positions), mask.as_ref())?;
        }
        Ok(x.reshape((rows, positions, width))?)
    }
}

/// What is added to scores so that no position sees a later one: positions × positions.
fn later_masked(positions: usize, device: &Device) -> Tensors<Tensor> {
    let mask: Vec<f32> = (0..positions * positions)
        .map(|at| if at % positions > at / positions { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    Tensor::from_vec(mask, (positions, positions), device)
}

/// One layer.
struct Layer {
    heads: usize,
    norm1: LayerNorm,
    /// Queries, keys and values beside each other.
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    feed_forward: FeedForward,
}

impl Layer {
    fn read(weights: &VarBuilder<'_>, shape: Shape) -> Tensors<Layer> {
        let attention = weights.pp("self_attn");
        let parts = ["q_proj", "k_proj", "v_proj"];
        let part = |what: &str| -> Tensors<Vec<Tensor>> {
            parts.iter().map(|name| attention.pp(name).get_unchecked(what)).collect()
        };
        let qkv = Tensor::cat(&part("weight")?, 0)?;
        let width = qkv.dim(1)?;
        if shape.heads == 0 || !width.is_multiple_of(shape.heads) {
            bail!("{width} components cannot be shared among {} heads", shape.heads);
        }
        Ok(Layer {
            heads: shape.heads,
            norm1: norm(&weights.pp("layer_norm1"), shape.epsilon)?,
            qkv: Linear::new(qkv, Some(Tensor::cat(&part("bias")?, 0)?)),
            out: linear(&attention.pp("out_proj"))?,
            norm2: norm(&weights.pp("layer_norm2"), shape.epsilon)?,
            feed_forward: FeedForward::read(&weights.pp("mlp"), shape.activation)?,
        })
    }

    /// `x`: rows · positions × width.
    fn forward(
        &self,
        x: &Tensor,
        (rows, positions): (usize, usize),
        mask: Option<&Tensor>,
    ) -> Tensors<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let qkv = qkv.reshape((rows, positions, 3, self.heads, ()))?;
        let qkv = qkv.permute((2, 0, 3, 1, 4))?.contiguous()?; // 3 × rows × heads × positions × part
        let mixed = attend(&qkv.get(0)?, &qkv.get(1)?, &qkv.get(2)?, mask)?;
        let x = (x + self.out.forward(&mixed.reshape(x.shape())?)?)?;
        &x + self.feed_forward.forward(&self.norm2.forward(&x)?)?
    }
}

/// Attention. `q`: rows × heads × queries × part; keys and values likewise. Gives rows × queries × heads × part.
pub(super) fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensors<Tensor> {
    let scale = 1.0 / (q.dim(3)? as f64).sqrt();
    let mut scores = (q * scale)?.matmul(&k.t()?)?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    softmax_last_dim(&scores)?.matmul(v)?.transpose(1, 2)?.contiguous()
}

/// Two linear layers with the activation between them.
pub(super) struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl FeedForward {
    /// Reads `fc1` and `fc2`.
    pub(super) fn read(weights: &VarBuilder<'_>, activation: Activation) -> Tensors<FeedForward> {
        let (fc1, fc2) = (linear(&weights.pp("fc1"))?, linear(&weights.pp("fc2"))?);
        Ok(FeedForward { fc1, fc2, activation })
    }

    /// `x`: rows × width, and so is the result.
    pub(super) fn forward(&self, x: &Tensor) -> Tensors<Tensor> {
        self.fc2.forward(&self.activation.forward(&self.fc1.forward(x)?)?)
    }
}

/// Reads a layer norm.
pub(super) fn norm(weights: &VarBuilder<'_>, epsilon: f64) -> Tensors<LayerNorm> {
    let (scale, offset) = (weights.get_unchecked("weight")?, weights.get_unchecked("bias")?);
    Ok(LayerNorm::new(scale, offset, epsilon))
}

/// Reads a linear layer, with its bias where it has one.
pub(super) fn linear(weights: &VarBuilder<'_>) -> Tensors<Linear> {
    let bias = weights.contains_tensor("bias");
    let bias = bias.then(|| weights.get_unchecked("bias")).transpose()?;
    Ok(Linear::new(weights.get_unchecked("weight")?, bias))
}

/// What a picture is cut into before the first layer.
pub(super) struct Patches {
    /// From the pixels of a patch to its row.
    linear: Linear,
    /// Pixels along a side of a patch.
    side: usize,
    /// Patches along a side of the picture.
    count: usize,
    /// What is added for each position: positions × width.
    pub(super) positions: Tensor,
}

impl Patches {
    /// Reads `embeddings.*` for pictures of `size` pixels a side. `more`: positions beside those of the patches.
    pub(super) fn read(weights: &VarBuilder<'_>, size: u32, more: usize) -> Tensors<Patches> {
        let weights = weights.pp("embeddings");
        let kernel = weights.get_unchecked("patch_embedding.weight")?;
        let (width, channels, side, _) = kernel.dims4()?;
        let positions = weights.get_unchecked("position_embedding.weight")?;
        let count = size as usize / side.max(1);
        if channels != 3 || positions.dim(0)? != count * count + more {
            bail!(
                "patches of {channels} × {side} × {side} numbers and {} positions do not fit a \
                 picture of {size} pixels",
                positions.dim(0)?
            );
        }
        let kernel = kernel.permute((0, 2, 3, 1))?.reshape((width, side * side * 3))?;
        let bias = weights.contains_tensor("patch_embedding.bias");
        let bias = bias.then(|| weights.get_unchecked("patch_embedding.bias")).transpose()?;
        Ok(Patches { linear: Linear::new(kernel, bias), side, count, positions })
    }

    /// `pixels`: pictures × size × size × 3. Gives pictures × patches × width, without what is added for positions.
    pub(super) fn forward(&self, pixels: &Tensor) -> Tensors<Tensor> {
        let (pictures, _, _, _) = pixels.dims4()?;
        let (side, count) = (self.side, self.count);
        // What is left over beyond the last whole patch is not looked at.
        let pixels = pixels.narrow(1, 0, count * side)?.narrow(2, 0, count * side)?;
        let patches = pixels.contiguous()?.reshape((pictures, count, side, count, side * 3))?;
        let patches = patches.transpose(2, 3)?.contiguous()?;
        let rows = patches.reshape((pictures * count * count, side * side * 3))?;
        self.linear.forward(&rows)?.reshape((pictures, count * count, ()))
    }
}

/// What texts are cut into before the first layer.
pub(super) struct Words {
    tokenizer: Tokenizer,
    /// Tokens × width.
    tokens: Tensor,
    /// Positions × width: the longest text.
    positions: Tensor,
}

impl Words {
    /// Reads `embeddings.*` and the tokenizer beside the weights.
    pub(super) fn read(folder: &Folder, weights: &VarBuilder<'_>) -> Result<Words> {
        let mut tokenizer = folder.tokenizer()?;
        let weights = weights.pp("embeddings");
        let read = |name: &str| {
            weights
                .get_unchecked(name)
                .map_err(|error| Error::input("bad-model", format!("the tower for texts: {error}")))
        };
        let (tokens, positions) =
            (read("token_embedding.weight")?, read("position_embedding.weight")?);
        let (known, longest) = (tokens.dim(0)?, positions.dim(0)?);
        let ends = tokenizer.get_post_processor().map_or(0, |ends| ends.added_tokens(false));
        if tokenizer.get_vocab_size(true) > known || ends >= longest {
            let message = format!(
                "tokenizer.json has {} tokens and {ends} around a text, the model {known} and {longest} positions",
                tokenizer.get_vocab_size(true)
            );
            return Err(Error::input("bad-model", message));
        }
        // The tokens around a text are added after the cut, so that a long one keeps its end token.
        let truncation = TruncationParams { max_length: longest, ..TruncationParams::default() };
        tokenizer
            .with_padding(None)
            .with_truncation(Some(truncation))
            .map_err(|error| Error::input("bad-model", format!("tokenizer.json: {error}")))?;
        Ok(Words { tokenizer, tokens, positions })
    }

    /// The most tokens of a text.
    pub(super) fn longest(&self) -> Result<usize> {
        Ok(self.positions.dim(0)?)
    }

    /// The number of a token.
    pub(super) fn token(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name)
    }

    /// The tokens of a text, with those around it, cut where it is too long.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let tokens = self.tokenizer.encode(text, true);
        let tokens = tokens
            .map_err(|error| Error::input("bad-text", format!("a text as tokens: {error}")))?;
        Ok(tokens.get_ids().to_vec())
    }

    /// Texts of the same number of tokens: texts × tokens × width.
    pub(super) fn embed(&self, texts: &[Vec<u32>]) -> Tensors<Tensor> {
        let length = texts.first().map_or(0, Vec::len);
        let ids = Tensor::from_vec(texts.concat(), texts.len() * length, self.tokens.device())?;
        let rows = self.tokens.index_select(&ids, 0)?.reshape((texts.len(), length, ()))?;
        rows.broadcast_add(&self.positions.narrow(0, 0, length)?)
    }
}

/// The folder of a model and its tensors.
pub(super) fn weights(path: &str, device: &Device) -> Result<(Folder, VarBuilder<'static>)> {
    let folder = Folder::find(path)?;
    let tensors = folder.tensors(DType::F32, device)?;
    Ok((folder, tensors))
}

/// What goes wrong while the tensors of a model are read, as our error.
pub(super) fn unread(path: &str, error: &candle_core::Error) -> Error {
    Error::input("bad-model", format!("the weights in `{path}`: {error}"))
        .help("is this the folder of a model of another kind?")
}
