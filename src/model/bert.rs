//! `bert`: sentence encoders of BERT's family (Devlin et al. 2018, arXiv 1810.04805; Reimers and Gurevych 2019,
//! Sentence-BERT, arXiv 1908.10084), such as all-MiniLM-L6-v2, bge and e5.
//!
//! ```text
//! x:       norm(word + position + type)
//! a block: y = norm(x + out(attend(qkv(x)))), then norm(y + down(gelu(up(y))))
//! vector:  the mean of the rows (or the first), brought to unit length
//! ```
//!
//! Rows are packed: a batch has no padding, and each matrix multiplies all of its rows at once. Queries, keys and
//! values come of one matrix; what lies between the products is fused (`nn/`). Weights of 16 bits are widened as
//! they are loaded.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::folder::{self, Folder, misfit};
use super::tokens::{Tokens, in_batches};
use super::{Ability, Encoder, Kind, Make, Model};
use crate::device;
use crate::error::{Error, Result};
use crate::index::product::normalise;
use crate::nn::{LayerNorm, Segments, attend_all, gelu};
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "bert",
    summary: "sentence encoders of BERT's family from a folder of weights, such as all-MiniLM-L6-v2",
    abilities: &[Ability::Text],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    make: Make::Opened(open, folder::fingerprint),
};

/// Tokens that run together: enough rows for the products, few enough to stay near the processor.
const BATCH_TOKENS: usize = 4096;

/// Tokens that are read of a text where no card says how many: sentence encoders are trained on short ones.
const MAX_TOKENS: usize = 256;

/// The fewest tokens worth reading: a text keeps some beside those that the tokenizer adds.
const MIN_TOKENS: usize = 8;

/// Options of `bert`.
#[derive(Clone, Debug, PartialEq, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The folder of the weights.
    path: String,
    /// Tokens that are read of a text; 0 for what the model's card says.
    max_tokens: usize,
    /// How rows become one vector.
    pooling: Pooling,
    /// Whether vectors are brought to unit length.
    normalize: bool,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    device: String,
    /// What stands before a text that somebody looks for, such as `query: ` of e5.
    query_prefix: String,
    /// What stands before every other text.
    text_prefix: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: String::new(),
            max_tokens: 0,
            pooling: Pooling::Auto,
            normalize: true,
            device: "auto".to_owned(),
            query_prefix: String::new(),
            text_prefix: String::new(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        device::choose(&self.device)?;
        if self.max_tokens != 0 && self.max_tokens < MIN_TOKENS {
            let message = format!(
                "`max_tokens` must be {MIN_TOKENS} or more, or 0 for what the card says, not {}",
                self.max_tokens
            );
            return Err(Error::input("bad-option", message));
        }
        Ok(())
    }
}

/// How rows become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pooling {
    /// As `1_Pooling/config.json` says; the mean where there is none.
    Auto,
    /// The mean of all rows.
    Mean,
    /// The row of the first token.
    Cls,
}

/// What `config.json` tells of the architecture.
#[derive(Debug, Deserialize)]
struct Card {
    model_type: Option<String>,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f32,
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
}

impl Card {
    /// Refuses what is laid out like BERT and computes something else.
    fn check(&self) -> Result<()> {
        let said = [
            ("model_type", &self.model_type, "bert"),
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ];
        for (name, found, known) in said {
            if let Some(found) = found.as_deref().filter(|found| *found != known) {
                let message = format!("`{name}` in config.json is `{found}`, not `{known}`");
                return Err(Error::input("bad-model", message)
                    .help("`bert` runs sentence encoders of BERT's architecture alone"));
            }
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            let message = format!(
                "{} heads do not divide a width of {}",
                self.num_attention_heads, self.hidden_size
            );
            return Err(Error::input("bad-model", message));
        }
        Ok(())
    }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    let bert = Bert::open(config)?;
    Ok(Model { text: Some(Arc::new(bert)), ..Model::default() })
}

/// The encoder.
struct Bert {
    config: Config,
    tokens: Tokens,
    pooling: Pooling,
    network: Network,
}

impl Bert {
    fn open(config: Config) -> Result<Bert> {
        let folder = Folder::find(&config.path)?;
        let card: Card = folder.config()?;
        card.check()?;
        let device = device::choose(&config.device)?;
        let pooling = match config.pooling {
            Pooling::Auto => pooling_of(&folder)?,
            named => named,
        };
        let said = folder.json("sentence_bert_config.json")?;
        let said = said.and_then(|json| json["max_seq_length"].as_u64());
        let max_tokens = match (config.max_tokens, said) {
            (0, None) => MAX_TOKENS,
            (0, Some(said)) => (said as usize).max(MIN_TOKENS),
            (named, _) => named,
        };
        let max_tokens = max_tokens.min(card.max_position_embeddings);
        let tokens = Tokens::new(folder.tokenizer()?, max_tokens, card.vocab_size)?;
        let weights = folder.tensors(DType::F32, &device)?;
        let network = Network::load(&card, weights, &device).map_err(misfit)?;
        Ok(Bert { config, tokens, pooling, network })
    }

    /// The vectors of texts behind a prefix.
    fn vectors(&self, prefix: &str, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        let tokens = self.tokens.encode(prefix, texts, progress)?;
        let width = self.network.width;
        let mut vectors = in_batches(&tokens, BATCH_TOKENS, width, progress, |batch| {
            let segments = Segments::of_lengths(batch.iter().map(|text| text.len()));
            let rows = self.network.forward(batch, &segments)?; // rows × width
            let rows = rows.flatten_all()?.to_vec1::<f32>()?;
            Ok(self.pool(&rows, &segments))
        })?;
        if self.config.normalize {
            vectors.chunks_exact_mut(width).for_each(normalise);
        }
        Ok(vectors)
    }

    /// One vector for each sequence of packed rows.
    fn pool(&self, rows: &[f32], segments: &Segments) -> Vec<f32> {
        let width = self.network.width;
        let mut vectors = vec![0.0; segments.len() * width];
        for (segment, vector) in segments.iter().zip(vectors.chunks_exact_mut(width)) {
            let count = if self.pooling == Pooling::Cls { 1 } else { segment.len() };
            let first = segment.start * width;
            for row in rows[first..first + count * width].chunks_exact(width) {
                for (sum, x) in vector.iter_mut().zip(row) {
                    *sum += x / count as f32;
                }
            }
        }
        vectors
    }
}

impl Encoder for Bert {
    fn dim(&self) -> Result<usize> {
        Ok(self.network.width)
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        self.vectors(&self.config.text_prefix, texts, progress)
    }

    fn encode_query(&self, text: &str, progress: &Progress) -> Result<Vec<f32>> {
        self.vectors(&self.config.query_prefix, &[text], progress)
    }
}

/// How the card says that rows become one vector.
fn pooling_of(folder: &Folder) -> Result<Pooling> {
    let Some(said) = folder.json("1_Pooling/config.json")? else { return Ok(Pooling::Mean) };
    let is = |mode: &str| said[mode].as_bool().unwrap_or(false);
    match (is("pooling_mode_mean_tokens"), is("pooling_mode_cls_token")) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::Cls),
        _ => {
            let message =
                "1_Pooling/config.json asks for something else than the mean or the first row";
            Err(Error::input("bad-model", message)
                .help("WITH (pooling = 'mean') or 'cls' takes one of them all the same"))
        }
    }
}

/// The weights. Matrices lie as in × out.
struct Network {
    width: usize,
    heads: usize,
    /// Embeddings of words: vocabulary × width.
    words: Tensor,
    /// Embeddings of positions, that of the first type added: positions × width.
    places: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

/// One block. The biases of `out` and `down` are in the norms behind them.
struct Layer {
    qkv: Tensor,
    qkv_bias: Tensor,
    out: Tensor,
    norm_1: LayerNorm,
    up: Tensor,
    up_bias: Tensor,
    down: Tensor,
    norm_2: LayerNorm,
}

impl Network {
    fn load(card: &Card, weights: VarBuilder<'_>, device: &Device) -> candle_core::Result<Network> {
        let prefixed = weights.contains_tensor("bert.embeddings.word_embeddings.weight");
        let weights = if prefixed { weights.pp("bert") } else { weights };
        let (width, embeddings) = (card.hidden_size, weights.pp("embeddings"));
        let table = |name: &str, rows| embeddings.get((rows, width), &format!("{name}.weight"));
        let types = table("token_type_embeddings", card.type_vocab_size)?;
        let places = table("position_embeddings", card.max_position_embeddings)?;
        let none = Tensor::zeros(width, DType::F32, device)?;
        let layers = (0..card.num_hidden_layers)
            .map(|at| Layer::load(card, &weights.pp("encoder.layer").pp(at)));
        Ok(Network {
            width,
            heads: card.num_attention_heads,
            words: table("word_embeddings", card.vocab_size)?,
            places: places.broadcast_add(&types.narrow(0, 0, 1)?)?,
            norm: norm(card, &embeddings, &none)?,
            layers: layers.collect::<candle_core::Result<_>>()?,
        })
    }

    /// The last rows of packed texts: rows × width.
    fn forward(&self, texts: &[&[u32]], segments: &Segments) -> Result<Tensor> {
        let device = self.words.device();
        let places: Vec<u32> = segments.iter().flat_map(|rows| 0..rows.len() as u32).collect();
        let words = self.words.index_select(&Tensor::new(texts.concat(), device)?, 0)?;
        let places = self.places.index_select(&Tensor::new(places, device)?, 0)?;
        let mut x = self.norm.forward(words, &places)?; // rows × width
        for layer in &self.layers {
            x = layer.forward(&x, segments, self.heads)?;
        }
        Ok(x)
    }
}

impl Layer {
    fn load(card: &Card, weights: &VarBuilder<'_>) -> candle_core::Result<Layer> {
        let (width, hidden) = (card.hidden_size, card.intermediate_size);
        let attention = weights.pp("attention.self");
        let parts = ["query", "key", "value"].map(|name| attention.pp(name));
        let qkv = parts.each_ref().map(|part| matrix(part, width, width));
        let biases = parts.each_ref().map(|part| part.get(width, "bias"));
        let (out, down) = (weights.pp("attention.output"), weights.pp("output"));
        let up = weights.pp("intermediate.dense");
        let closed = |place: &VarBuilder<'_>| norm(card, place, &place.get(width, "dense.bias")?);
        Ok(Layer {
            qkv: Tensor::cat(&qkv.into_iter().collect::<candle_core::Result<Vec<_>>>()?, 1)?,
            qkv_bias: Tensor::cat(
                &biases.into_iter().collect::<candle_core::Result<Vec<_>>>()?,
                0,
            )?,
            out: matrix(&out.pp("dense"), width, width)?,
            norm_1: closed(&out)?,
            up: matrix(&up, width, hidden)?,
            up_bias: up.get(hidden, "bias")?,
            down: matrix(&down.pp("dense"), hidden, width)?,
            norm_2: closed(&down)?,
        })
    }

    /// `x`: rows × width, and so is the result.
    fn forward(&self, x: &Tensor, segments: &Segments, heads: usize) -> Result<Tensor> {
        let qkv = x.matmul(&self.qkv)?; // rows × 3·width
        let mixed = attend_all(&qkv, &self.qkv_bias, segments, heads)?; // rows × width
        let x = self.norm_1.forward(mixed.matmul(&self.out)?, x)?;
        let hidden = gelu(x.matmul(&self.up)?, &self.up_bias)?; // rows × hidden
        self.norm_2.forward(hidden.matmul(&self.down)?, &x)
    }
}

/// The matrix of a linear layer, from out × in to in × out.
fn matrix(place: &VarBuilder<'_>, input: usize, output: usize) -> candle_core::Result<Tensor> {
    place.get((output, input), "weight")?.t()?.contiguous()
}

/// The norm at a place, behind a layer with this bias. Old checkpoints call its weights gamma and beta.
fn norm(card: &Card, place: &VarBuilder<'_>, bias: &Tensor) -> candle_core::Result<LayerNorm> {
    let place = place.pp("LayerNorm");
    let old = place.contains_tensor("gamma");
    let (scale, shift) = if old { ("gamma", "beta") } else { ("weight", "bias") };
    let (scale, shift) = (place.get(card.hidden_size, scale)?, place.get(card.hidden_size, shift)?);
    LayerNorm::new(bias, &scale, &shift, card.layer_norm_eps)
}
