//! `qwen3_embedding`: text vectors of Qwen3-Embedding (arXiv 2506.05176), the paper's encoder.
//!
//! A causal transformer reads the text and an end token; the state of that last token, brought to unit length, is the
//! vector. Questions stand behind an instruction, `Instruct: {task}\nQuery:{text}`, documents stand alone. The first
//! components of a vector are a good vector themselves (Matryoshka), so `dim` may be less than all. Texts of a batch are
//! padded on the right: under a causal mask no token sees what comes after it.

use std::sync::Arc;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_transformers::models::qwen3;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::causal_lm::Precision;
use super::folder::{self, Folder, misfit};
use super::tokens::{Tokens, in_batches};
use super::{Ability, Encoder, Kind, Make, Model};
use crate::device;
use crate::error::{Error, Result};
use crate::index::product::normalise;
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "qwen3_embedding",
    summary: "text vectors of Qwen3-Embedding from a folder of weights; questions get its instruction",
    abilities: &[Ability::Text],
    config: |given| options::checked(given, Config::check),
    make: Make::Opened(open, folder::fingerprint),
};

/// Tokens that run together.
const BATCH_TOKENS: usize = 2048;

/// The task that the model's card gives for search.
const TASK: &str = "Given a web search query, retrieve relevant passages that answer the query";

/// The token that ends a text, where the configuration names none.
const END: &str = "<|endoftext|>";

/// Options of `qwen3_embedding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The folder of the weights.
    path: String,
    /// Components of a vector, the first ones; 0 for all.
    dim: usize,
    /// The most tokens that are read of a text.
    max_tokens: usize,
    /// What questions ask for; empty for no instruction.
    instruct: String,
    /// Where it runs.
    device: String,
    /// The numbers of the weights: `f32`, `bf16` or `f16`.
    dtype: Precision,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: String::new(),
            dim: 0,
            max_tokens: 512,
            instruct: TASK.to_owned(),
            device: "auto".to_owned(),
            dtype: Precision::Auto,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        device::choose(&self.device)?;
        if !(8..=32_768).contains(&self.max_tokens) {
            let message = format!("`max_tokens` must be 8 to 32768, not {}", self.max_tokens);
            return Err(Error::input("bad-option", message));
        }
        Ok(())
    }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    Ok(Model { text: Some(Arc::new(Qwen3Embedding::open(config)?)), ..Model::default() })
}

/// The encoder.
struct Qwen3Embedding {
    config: Config,
    tokens: Tokens,
    /// The token to add to each text; none where the tokenizer adds it.
    end: Option<u32>,
    /// The network before it has read anything: it gathers keys and values, so each batch is read by a copy. Copies
    /// share the weights.
    network: qwen3::Model,
    width: usize,
    device: Device,
}

impl Qwen3Embedding {
    fn open(config: Config) -> Result<Self> {
        let folder = Folder::find(&config.path)?;
        let card: qwen3::Config = folder.config()?;
        let device = device::choose(&config.device)?;
        if config.dim > card.hidden_size {
            let message =
                format!("vectors have {} components, not {}", card.hidden_size, config.dim);
            return Err(Error::input("bad-option", message));
        }
        let tokenizer = folder.tokenizer()?;
        let named = folder.json("config.json")?.and_then(|json| json["eos_token_id"].as_u64());
        let end = named.map(|end| end as u32).or_else(|| tokenizer.token_to_id(END));
        let end = end.ok_or_else(|| {
            Error::input(
                "bad-model",
                "neither the configuration nor the tokenizer has an end token",
            )
        })?;
        let adds =
            tokenizer.encode_fast("a", true).is_ok_and(|it| it.get_ids().last() == Some(&end));
        let most = config.max_tokens - usize::from(!adds);
        let tokens = Tokens::new(tokenizer, most, card.vocab_size)?;
        let weights = folder.tensors(config.dtype.on(&device), &device)?;
        // Weights of the bare transformer bear no `model.` before their names.
        let bare = weights.contains_tensor("embed_tokens.weight");
        let unprefixed = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
        let weights = if bare { weights.rename_f(unprefixed) } else { weights };
        let network = qwen3::Model::new(&card, weights).map_err(misfit)?;
        let end = (!adds).then_some(end);
        Ok(Qwen3Embedding { config, tokens, end, network, width: card.hidden_size, device })
    }

    fn vectors(&self, prefix: &str, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        let mut tokens = self.tokens.encode(prefix, texts, progress)?;
        for text in &mut tokens {
            text.extend(self.end);
        }
        let dim = self.components();
        let mut vectors =
            in_batches(&tokens, BATCH_TOKENS, dim, progress, |batch| self.read(batch))?;
        vectors.chunks_exact_mut(dim).for_each(normalise);
        Ok(vectors)
    }

    /// The first components of the last state of each text.
    fn read(&self, batch: &[&[u32]]) -> Result<Vec<f32>> {
        let longest = batch.iter().map(|text| text.len()).max().unwrap_or(0);
        let padded = |text: &&[u32]| {
            let mut row = text.to_vec();
            row.resize(longest, 0);
            row
        };
        let rows: Vec<u32> = batch.iter().flat_map(padded).collect();
        let input = Tensor::from_vec(rows, (batch.len(), longest), &self.device)?;
        let states = self.network.clone().forward(&input, 0)?; // texts × longest × width
        let mut vectors = Vec::with_capacity(batch.len() * self.components());
        for (at, text) in batch.iter().enumerate() {
            let last = states.i((at, text.len() - 1))?.to_dtype(DType::F32)?; // width
            vectors.extend_from_slice(&last.to_vec1::<f32>()?[..self.components()]);
        }
        Ok(vectors)
    }

    fn components(&self) -> usize {
        if self.config.dim == 0 { self.width } else { self.config.dim }
    }
}

impl Encoder for Qwen3Embedding {
    fn dim(&self) -> Result<usize> {
        Ok(self.components())
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        self.vectors("", texts, progress)
    }

    fn encode_query(&self, text: &str, progress: &Progress) -> Result<Vec<f32>> {
        let prefix = match self.config.instruct.as_str() {
            "" => String::new(),
            task => format!("Instruct: {task}\nQuery:"),
        };
        self.vectors(&prefix, &[text], progress)
    }
}
