//! `qwen3_embedding`: Qwen3-Embedding (arXiv 2506.05176), a language model whose last row is the vector.
//!
//! A text ends with a token that has read all of it; its row, brought to unit length, is the vector. A query says
//! before itself what is looked for. The first components alone are a good vector too (Matryoshka, arXiv
//! 2205.13147).

use std::sync::Arc;

use candle_core::DType;
use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::causal_lm::Numbers;
use super::folder::{self, Folder};
use super::language::Language;
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
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    make: Make::Opened(open, folder::fingerprint),
};

/// Tokens that run together. The model is large: more of them would run for seconds between two looks at the
/// progress.
const BATCH_TOKENS: usize = 256;

/// The fewest tokens worth reading, and the most that memory is kept for.
const TOKENS: std::ops::RangeInclusive<usize> = 8..=1 << 17;

/// Options of `qwen3_embedding`.
#[derive(Clone, Debug, PartialEq, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The folder of the weights.
    path: String,
    /// What a query says before itself; empty for nothing.
    instruct: String,
    /// Components of a vector, the first ones; 0 for all.
    dim: usize,
    /// Tokens that are read of a text.
    max_tokens: usize,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    device: String,
    /// The numbers that it computes with.
    dtype: Numbers,
}

impl Default for Config {
    fn default() -> Self {
        let instruct = "Given a web search query, retrieve relevant passages that answer the query";
        Config {
            path: String::new(),
            instruct: instruct.to_owned(),
            dim: 0,
            max_tokens: 512,
            device: "auto".to_owned(),
            dtype: Numbers::Auto,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        device::choose(&self.device)?;
        if !TOKENS.contains(&self.max_tokens) {
            let (low, high) = TOKENS.into_inner();
            let message = format!("`max_tokens` must be {low} to {high}, not {}", self.max_tokens);
            return Err(Error::input("bad-option", message));
        }
        Ok(())
    }

    /// What stands before a query.
    fn prefix(&self) -> String {
        match self.instruct.as_str() {
            "" => String::new(),
            instruct => format!("Instruct: {instruct}\nQuery:"),
        }
    }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    Ok(Model { text: Some(Arc::new(Qwen3::open(config)?)), ..Model::default() })
}

/// The encoder.
struct Qwen3 {
    config: Config,
    tokens: Tokens,
    language: Language,
    dim: usize,
}

impl Qwen3 {
    fn open(config: Config) -> Result<Qwen3> {
        let folder = Folder::find(&config.path)?;
        if folder.gguf().is_some() {
            let message = "`qwen3_embedding` reads no GGUF files";
            return Err(Error::input("no-weights", message)
                .help("name the folder with config.json and *.safetensors"));
        }
        let device = device::choose(&config.device)?;
        let said: Json = folder.config()?;
        if said["model_type"] != "qwen3" {
            let message =
                format!("`model_type` in config.json is {}, not `qwen3`", said["model_type"]);
            return Err(Error::input("bad-model", message));
        }
        let given = (config.dtype.dtype(&device)?, &device);
        let language = Language::of_folder(&folder, given, config.max_tokens, false)?;
        let (width, most) = (language.shape.width, language.shape.positions);
        if config.dim > width {
            let message = format!("`dim` must be 0 to {width}, not {}", config.dim);
            return Err(Error::input("bad-option", message));
        }
        let dim = if config.dim == 0 { width } else { config.dim };
        let end = said["eos_token_id"].as_u64().map(|end| end as u32);
        let known = language.shape.vocabulary;
        let tokens = Tokens::new(folder.tokenizer()?, config.max_tokens.min(most), known)?;
        let tokens = tokens.ending(end)?;
        Ok(Qwen3 { config, tokens, language, dim })
    }

    fn vectors(&self, prefix: &str, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        let tokens = self.tokens.encode(prefix, texts, progress)?;
        let mut vectors = in_batches(&tokens, BATCH_TOKENS, self.dim, progress, |batch| {
            let rows = self.language.rows(batch)?; // rows × width
            let mut last = Vec::with_capacity(batch.len() * self.dim);
            let mut end = 0;
            for text in batch {
                end += text.len();
                let row = rows.get(end - 1)?.narrow(0, 0, self.dim)?;
                last.extend(row.to_dtype(DType::F32)?.to_vec1::<f32>()?);
            }
            Ok(last)
        })?;
        vectors.chunks_exact_mut(self.dim).for_each(normalise);
        Ok(vectors)
    }
}

impl Encoder for Qwen3 {
    fn dim(&self) -> Result<usize> {
        Ok(self.dim)
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        self.vectors("", texts, progress)
    }

    fn encode_query(&self, text: &str, progress: &Progress) -> Result<Vec<f32>> {
        self.vectors(&self.config.prefix(), &[text], progress)
    }
}
