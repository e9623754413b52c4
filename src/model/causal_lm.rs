//! `causal_lm`: a language model that answers on this machine: Qwen 2, 2.5 and 3, Llama and its like, Gemma 3.
//!
//! Weights come from a folder of safetensors or a GGUF file; `network.rs` has the architectures, `chat_template.rs` the
//! form of a conversation. An answer ends at an end token of the model or after `max_tokens`. At temperature 0 the
//! likeliest token is taken each time; above, tokens are drawn under the seed, which begins anew with every question,
//! so that an answer depends on its question alone.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::{DType, Device, Tensor};
use candle_transformers::generation::LogitsProcessor;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::chat_template::ChatTemplate;
use super::folder::{self, Folder};
use super::network::Network;
use super::{Ability, Ask, Chat, Kind, Make, Model, Reply, Usage};
use crate::device;
use crate::error::{Error, Result};
use crate::options;
use crate::progress::Progress;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "causal_lm",
    summary: "a language model on this machine, from a folder or a GGUF file: Qwen, Llama, Gemma",
    abilities: &[Ability::Chat],
    config: |given| options::checked(given, Config::check),
    make: Make::Opened(open, folder::fingerprint),
};

/// Tokens of a prompt that are read between two looks at the progress.
const PIECE: usize = 64;

/// The marks at which chat models end their turns, where they know them.
const ENDS: [&str; 5] = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<end_of_turn>", "</s>"];

/// Options of `causal_lm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The folder of the weights, or a GGUF file.
    path: String,
    /// The most tokens of an answer, where a question does not ask for fewer.
    max_tokens: usize,
    /// How much chance there is in an answer; 0 for none.
    temperature: f64,
    /// Draws among the likeliest tokens that make up this share.
    top_p: f64,
    /// Seed of the draws.
    seed: u64,
    /// The most tokens of a question and its answer.
    context: usize,
    /// Where the model runs.
    device: String,
    /// The numbers of the weights: `f32`, `bf16` or `f16`; GGUF files have their own.
    dtype: Precision,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: String::new(),
            max_tokens: 1024,
            temperature: 0.0,
            top_p: 1.0,
            seed: 42,
            context: 4096,
            device: "auto".to_owned(),
            dtype: Precision::Auto,
        }
    }
}

/// The numbers of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Precision {
    /// `f32` on the processor, `bf16` elsewhere.
    Auto,
    F32,
    Bf16,
    F16,
}

impl Precision {
    /// What it means on a device.
    pub(super) fn on(self, device: &Device) -> DType {
        match self {
            Precision::Auto if device.is_cpu() => DType::F32,
            Precision::Auto | Precision::Bf16 => DType::BF16,
            Precision::F32 => DType::F32,
            Precision::F16 => DType::F16,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        let bad = |what: &str| Err(Error::input("bad-option", what.to_owned()));
        device::choose(&self.device)?;
        if !(16..=131_072).contains(&self.context) {
            return bad("`context` must be 16 to 131072");
        }
        if self.max_tokens == 0 || self.max_tokens >= self.context {
            return bad("`max_tokens` must be 1 or more, and less than `context`");
        }
        if !(0.0..=2.0).contains(&self.temperature) || !(0.0..=1.0).contains(&self.top_p) {
            return bad("`temperature` must be 0 to 2 and `top_p` 0 to 1");
        }
        Ok(())
    }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    let folder = Folder::find(&config.path)?;
    let device = device::choose(&config.device)?;
    let parts = match folder.gguf() {
        Some(file) => of_gguf(file, &folder, &device)?,
        None => of_folder(&folder, config.dtype.on(&device), &device)?,
    };
    let ends = parts.ends();
    let Parts { network, tokenizer, template, .. } = parts;
    let network = Mutex::new(network);
    let answerer = CausalLm { config, device, network, tokenizer, template, ends };
    Ok(Model { chat: Some(Arc::new(answerer)), ..Model::default() })
}

/// What a folder or a file holds.
struct Parts {
    network: Network,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    /// The end tokens that the configuration names.
    named: Vec<u32>,
}

impl Parts {
    /// The tokens at which an answer ends.
    fn ends(&self) -> Vec<u32> {
        let marks = ENDS.iter().filter_map(|mark| self.tokenizer.token_to_id(mark));
        self.named.iter().copied().chain(marks).collect()
    }
}

fn of_folder(folder: &Folder, dtype: DType, device: &Device) -> Result<Parts> {
    let card = folder.json("tokenizer_config.json")?.unwrap_or_default();
    let word = |name: &str| {
        let token = &card[name];
        token.as_str().or(token["content"].as_str()).unwrap_or_default().to_owned()
    };
    // Some cards have several templates by name, the one for plain conversations as `default`.
    let listed = card["chat_template"].as_array().and_then(|all| {
        all.iter().find(|one| one["name"] == "default").and_then(|one| one["template"].as_str())
    });
    let beside = folder.text("chat_template.jinja")?;
    let source = beside.as_deref().or(card["chat_template"].as_str()).or(listed);
    let template = ChatTemplate::read(source, &word("bos_token"), &word("eos_token"))?;
    let mut named = Vec::new();
    for name in ["generation_config.json", "config.json"] {
        let config = folder.json(name)?.unwrap_or_default();
        let ends = &config["eos_token_id"];
        let one = ends.as_u64().into_iter();
        let several = ends.as_array().into_iter().flatten().filter_map(Json::as_u64);
        named.extend(one.chain(several).map(|end| end as u32));
    }
    let tokenizer = folder.tokenizer()?;
    let network = Network::of_folder(folder, dtype, device)?;
    Ok(Parts { network, tokenizer, template, named })
}

fn of_gguf(file: &Path, folder: &Folder, device: &Device) -> Result<Parts> {
    let bad = |why: String| Error::input("bad-model", format!("`{}`: {why}", file.display()));
    let opened = File::open(file).map_err(|error| bad(error.to_string()))?;
    let mut reader = BufReader::new(opened);
    let content = Content::read(&mut reader).map_err(|error| bad(error.to_string()))?;
    // What the file says of its tokenizer holds, unless it is of a kind that is read from beside it alone.
    let tokenizer = match Tokenizer::from_gguf(&content) {
        Ok(tokenizer) => tokenizer,
        Err(error) => folder.tokenizer().map_err(|_| {
            bad(format!("its tokenizer cannot be read ({error})"))
                .help("put the model's tokenizer.json beside the file")
        })?,
    };
    let text = |key: &str| content.metadata.get(key).and_then(|value| value.to_string().ok());
    let number = |key: &str| content.metadata.get(key).and_then(number);
    let word = |key: &str| number(key).and_then(|id| tokenizer.id_to_token(id)).unwrap_or_default();
    let (begin, end) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
    let source = text("tokenizer.chat_template").map(String::as_str);
    let template = ChatTemplate::read(source, &word(begin), &word(end))?;
    let named = number(end).into_iter().collect();
    let network = Network::of_gguf(file, content, device)?;
    Ok(Parts { network, tokenizer, template, named })
}

fn number(value: &Value) -> Option<u32> {
    value.to_u32().ok().or_else(|| value.to_i32().ok().and_then(|int| u32::try_from(int).ok()))
}

/// An opened model.
struct CausalLm {
    config: Config,
    device: Device,
    network: Mutex<Network>,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    ends: Vec<u32>,
}

impl Chat for CausalLm {
    fn ask(&self, ask: &Ask<'_>, progress: &Progress) -> Result<Reply> {
        if ask.picture.is_some() {
            return Err(Error::input("no-vision", "a `causal_lm` sees no pictures")
                .help("use a model of kind `openai` that does"));
        }
        let text = self.template.render(ask.system, ask.turns)?;
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| Error::input("bad-model", format!("the tokenizer: {error}")))?;
        let question = encoding.get_ids();
        let most = ask.max_tokens.min(self.config.max_tokens);
        if question.is_empty() || question.len() + most > self.config.context {
            let message = format!(
                "{} tokens of a question and {most} of an answer are more than `context`, {}",
                question.len(),
                self.config.context
            );
            return Err(Error::input("prompt-too-long", message)
                .help("name fewer `parts`, or create the model with a larger `context`"));
        }
        let written = self.write(question, most, progress)?;
        let text = self
            .tokenizer
            .decode(&written, true)
            .map_err(|error| Error::input("bad-model", format!("the tokenizer: {error}")))?;
        let usage = Usage { read: question.len() as u64, written: written.len() as u64, cost: 0.0 };
        Ok(Reply { text: without_thoughts(&text).to_owned(), usage })
    }

    fn workers(&self) -> usize {
        1
    }
}

impl CausalLm {
    /// The tokens of an answer.
    fn write(&self, question: &[u32], most: usize, progress: &Progress) -> Result<Vec<u32>> {
        // What a panic left behind is forgotten before anything is read.
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        network.clear()?;
        let piece = if network.reads_in_pieces() { PIECE } else { question.len() };
        let mut position = 0;
        let mut logits = None;
        for piece in question.chunks(piece) {
            progress.check()?;
            logits = Some(network.read(&self.tensor(piece)?, position)?);
            position += piece.len();
        }
        let temperature = (self.config.temperature > 0.0).then_some(self.config.temperature);
        let top_p = (self.config.top_p < 1.0).then_some(self.config.top_p);
        let mut draw = LogitsProcessor::new(self.config.seed, temperature, top_p);
        let mut written = Vec::new();
        while let Some(known) = logits.take() {
            progress.check()?;
            let token = draw.sample(&known)?;
            if self.ends.contains(&token) {
                break;
            }
            written.push(token);
            if written.len() < most {
                logits = Some(network.read(&self.tensor(&[token])?, position)?);
                position += 1;
            }
        }
        Ok(written)
    }

    fn tensor(&self, tokens: &[u32]) -> Result<Tensor> {
        Ok(Tensor::new(tokens, &self.device)?.unsqueeze(0)?)
    }
}

/// An answer without the thoughts that some models write before it.
fn without_thoughts(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("<think>").and_then(|thoughts| thoughts.split_once("</think>")) {
        Some((_, answer)) => answer.trim(),
        None => text,
    }
}
