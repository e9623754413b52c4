//! `causal_lm`: language models that answer, run here: folders of weights and quantized GGUF files of the families
//! in `language/`.
//!
//! A question becomes a text by the model's own template (`chat_template.rs`), is read in pieces, and is answered
//! token by token, several questions at a time (`batch.rs`): the likeliest at temperature 0, else drawn by a seed, so
//! that the same question has the same answer. Questions of a job begin alike; what was read of the last one is kept
//! and not read again.

mod batch;

use std::sync::Arc;

use candle_core::DType;
use documented::DocumentedFieldsOpt;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::chat_template::ChatTemplate;
use super::folder::{self, Folder};
use super::language::{Gguf, Language, Packing};
use super::{Ability, Ask, Chat, Kind, Make, Model, Reply, Usage};
use crate::device;
use crate::error::{Error, Result};
use crate::options;
use crate::progress::Progress;
use batch::{Batch, Question, Voice};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "causal_lm",
    summary: "answers of a local language model: Llama, Mistral, Qwen 2 and 3, Gemma 3, also as GGUF",
    abilities: &[Ability::Chat],
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    make: Make::Opened(open, folder::fingerprint),
};

/// Tokens that end a turn in the templates of the families, beside those that a model's configuration names.
const ENDS: &[&str] =
    &["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>"];

/// Options of `causal_lm`.
#[derive(Clone, Debug, PartialEq, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The folder of the weights, or a GGUF file.
    path: String,
    /// The most tokens of an answer.
    max_tokens: usize,
    /// How freely tokens are drawn; 0 for always the likeliest.
    temperature: f32,
    /// The share of probability that the tokens drawn from have together.
    top_p: f32,
    /// Seed of the draws.
    seed: u64,
    /// Tokens of a question and its answer together.
    context: usize,
    /// Questions that are answered at a time.
    batch: usize,
    /// Where it runs: `cpu`, `cuda`, `cuda:1`, or `auto` for what the session says.
    device: String,
    /// The numbers that it computes with.
    dtype: Numbers,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: String::new(),
            max_tokens: 512,
            temperature: 0.0,
            top_p: 1.0,
            seed: 42,
            context: 4096,
            batch: 16,
            device: "auto".to_owned(),
            dtype: Numbers::Auto,
        }
    }
}

/// The longest context: its keys and values are kept in memory.
const MAX_CONTEXT: usize = 1 << 20;
/// The most questions at a time.
const MAX_BATCH: usize = 256;

impl Config {
    fn check(&self) -> Result<()> {
        device::choose(&self.device)?;
        let bad = |message: String| Err(Error::input("bad-option", message));
        if !(2..=MAX_CONTEXT).contains(&self.context) {
            return bad(format!("`context` must be 2 to {MAX_CONTEXT}, not {}", self.context));
        }
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return bad(format!("`batch` must be 1 to {MAX_BATCH}, not {}", self.batch));
        }
        if self.max_tokens == 0 {
            return bad("`max_tokens` must be 1 or more".to_owned());
        }
        if !(0.0..=10.0).contains(&self.temperature) {
            return bad(format!("`temperature` must be 0 to 10, not {}", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad(format!("`top_p` must be over 0, at most 1, not {}", self.top_p));
        }
        Ok(())
    }
}

/// The numbers that a model computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Numbers {
    /// 32 bits on the processor, bf16 elsewhere.
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them exponent. Not on the processor.
    Bf16,
    /// 16 bits, 5 of them exponent.
    F16,
    /// As a GGUF file holds them: the least memory. On the processor alone.
    Quantized,
}

impl Numbers {
    /// Their type on a device.
    pub(super) fn dtype(self, device: &candle_core::Device) -> Result<DType> {
        match self {
            Numbers::Auto if device.is_cpu() => Ok(DType::F32),
            Numbers::Bf16 if device.is_cpu() => {
                let message = "the processor does not compute with bf16";
                Err(Error::input("bad-option", message).help("WITH (dtype = 'f32')"))
            }
            Numbers::Auto | Numbers::Bf16 => Ok(DType::BF16),
            Numbers::F32 => Ok(DType::F32),
            Numbers::F16 => Ok(DType::F16),
            Numbers::Quantized => {
                let message = "`quantized` is for weights in a GGUF file";
                Err(Error::input("bad-option", message).help("WITH (dtype = 'auto')"))
            }
        }
    }

    /// What becomes of the weights of a GGUF file, and the type of those that are unpacked.
    fn packing(self, device: &candle_core::Device) -> Result<(Packing, DType)> {
        match self {
            Numbers::Quantized => Ok((Packing::Keep, DType::F32)),
            Numbers::Auto => Ok((Packing::Auto, self.dtype(device)?)),
            Numbers::F32 | Numbers::Bf16 | Numbers::F16 => {
                Ok((Packing::Unpack, self.dtype(device)?))
            }
        }
    }
}

fn open(config: &Json) -> Result<Model> {
    let config: Config = serde_json::from_value(config.clone())?;
    Ok(Model { chat: Some(Arc::new(CausalLm::open(config)?)), ..Model::default() })
}

/// The opened model.
struct CausalLm {
    config: Config,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    language: Language,
    /// Tokens that end an answer.
    ends: Vec<u32>,
    /// Tokens of a question and its answer together.
    context: usize,
    batch: Batch,
}

impl CausalLm {
    fn open(config: Config) -> Result<CausalLm> {
        let folder = Folder::find(&config.path)?;
        let device = device::choose(&config.device)?;
        let mut ends: Vec<u32> = Vec::new();
        let (language, mut tokenizer, template) = if let Some(path) = folder.gguf() {
            let mut gguf = Gguf::open(path)?;
            let (packing, dtype) = config.dtype.packing(&device)?;
            let given = (dtype, &device);
            let language = Language::of_gguf(&gguf, packing, given, config.context)?;
            let names = ["eos", "eot", "eom"];
            let said = names.map(|name| gguf.number(&format!("tokenizer.ggml.{name}_token_id")));
            ends.extend(said.into_iter().flatten().map(|id| id as u32));
            let template = ChatTemplate::of_gguf(&gguf)?;
            let beside = folder.tokenizer().ok();
            (language, beside.map_or_else(|| gguf.tokenizer(), Ok)?, template)
        } else {
            for name in ["config.json", "generation_config.json"] {
                ends.extend(ids(&folder.json(name)?.unwrap_or_default()["eos_token_id"]));
            }
            let given = (config.dtype.dtype(&device)?, &device);
            let language = Language::of_folder(&folder, given, config.context, true)?;
            (language, folder.tokenizer()?, ChatTemplate::of_folder(&folder)?)
        };
        tokenizer.with_truncation(None).map_err(|error| unreadable(&*error))?;
        tokenizer.with_padding(None);
        ends.extend(ENDS.iter().filter_map(|end| tokenizer.token_to_id(end)));
        let context = config.context.min(language.shape.positions);
        let batch = Batch::new(config.batch);
        Ok(CausalLm { config, tokenizer, template, language, ends, context, batch })
    }

    /// The tokens of a question.
    fn prompt(&self, ask: &Ask<'_>) -> Result<Vec<u32>> {
        let text = self.template.render(ask)?;
        let plain = !self.template.is_whole();
        let encoding =
            self.tokenizer.encode_fast(text, plain).map_err(|error| unreadable(&*error))?;
        let tokens = encoding.get_ids();
        let known = self.language.shape.vocabulary;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= known) {
            let message = format!("the tokenizer has token {token}, the model knows {known}");
            return Err(Error::input("bad-model", message));
        }
        if tokens.is_empty() {
            return Err(Error::input("no-prompt", "there is nothing to answer"));
        }
        if tokens.len() >= self.context {
            let (length, context) = (tokens.len(), self.context);
            let message = format!("the question has {length} tokens, of {context} with its answer");
            let most = self.language.shape.positions;
            return Err(Error::input("prompt-too-long", message)
                .help(format!("raise `context` (the model reads {most}), or ask less")));
        }
        Ok(tokens.to_vec())
    }

    /// The tokens that follow a prompt, at most `most`, the one that ends them left out.
    fn answer(&self, prompt: Vec<u32>, most: usize, progress: &Progress) -> Result<Vec<u32>> {
        let choose = |logits, random: &mut ChaCha8Rng| self.choose(logits, random);
        let voice = Voice {
            language: &self.language,
            choose: &choose,
            ends: &self.ends,
            context: self.context,
        };
        let random = device::source(self.config.seed, 0);
        self.batch.ask(&voice, Question { prompt, most, random }, progress)
    }

    /// The next token.
    fn choose(&self, logits: Vec<f32>, random: &mut ChaCha8Rng) -> u32 {
        let Config { temperature, top_p, .. } = self.config;
        choose(logits, temperature, top_p, random)
    }
}

impl Chat for CausalLm {
    fn ask(&self, ask: &Ask<'_>, progress: &Progress) -> Result<Reply> {
        if ask.picture.is_some() {
            return Err(Error::input("no-vision", "this model sees no pictures")
                .help("ask a model of kind `openai` that does"));
        }
        progress.check()?;
        let prompt = self.prompt(ask)?;
        let most = ask.max_tokens.min(self.config.max_tokens);
        let read = prompt.len() as u64;
        let answer = self.answer(prompt, most, progress)?;
        let text = self.tokenizer.decode(&answer, true).map_err(|error| unreadable(&*error))?;
        let usage = Usage { read, written: answer.len() as u64, cost: 0.0 };
        Ok(Reply { text: without_thoughts(&text).to_owned(), usage })
    }

    fn workers(&self) -> usize {
        self.config.batch
    }
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::input("bad-model", format!("the tokenizer: {error}"))
}

/// A number or a list of them.
fn ids(said: &Json) -> Vec<u32> {
    let one = |said: &Json| said.as_u64().map(|id| id as u32);
    match said {
        Json::Array(all) => all.iter().filter_map(one).collect(),
        said => one(said).into_iter().collect(),
    }
}

/// An answer without the thoughts that some models begin with. Where the tokens ran out before they ended, there is
/// no answer.
fn without_thoughts(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("<think>") {
        Some(thoughts) => thoughts.split_once("</think>").map_or("", |(_, answer)| answer.trim()),
        None => text,
    }
}

/// Chooses a token: the likeliest at temperature 0, else one of the likeliest that have `top_p` of the probability
/// together (Holtzman et al. 2019, arXiv 1904.09751).
fn choose(logits: Vec<f32>, temperature: f32, top_p: f32, random: &mut ChaCha8Rng) -> u32 {
    let mut order: Vec<(u32, f32)> = (0..).zip(logits).filter(|(_, x)| !x.is_nan()).collect();
    let likelier = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let best = order.iter().copied().min_by(likelier).unwrap_or_default();
    if temperature == 0.0 {
        return best.0;
    }
    for (_, x) in &mut order {
        *x = ((*x - best.1) / temperature).exp();
    }
    let whole: f32 = order.iter().map(|(_, x)| x).sum();
    if top_p < 1.0 {
        order.sort_unstable_by(likelier);
        let mut held = 0.0;
        let more = order.iter().position(|(_, x)| {
            held += x;
            held >= top_p * whole
        });
        order.truncate(more.map_or(order.len(), |at| at + 1));
    }
    let whole: f32 = order.iter().map(|(_, x)| x).sum();
    let mut rest = random.random::<f32>() * whole;
    let drawn = order.iter().find(|(_, x)| {
        rest -= x;
        rest < 0.0
    });
    drawn.map_or(best.0, |(token, _)| *token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn thoughts_are_left_out() {
        assert_eq!(without_thoughts(" <think>\nhm\n</think>\n\nyes "), "yes");
        assert_eq!(without_thoughts("<think> without an end"), "");
        assert_eq!(without_thoughts("no <think>x</think>"), "no <think>x</think>");
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = vec![f32::NAN, 0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln(), f32::NEG_INFINITY];
        let counts = |temperature, top_p| {
            let mut random = device::source(7, 0);
            let mut counts = [0; 5];
            for _ in 0..4000 {
                counts[choose(logits.clone(), temperature, top_p, &mut random) as usize] += 1;
            }
            counts
        };
        assert_eq!(counts(0.0, 1.0), [0, 4000, 0, 0, 0]);
        let [none, a, b, c, never] = counts(1.0, 1.0);
        assert_eq!((none, never), (0, 0));
        assert!((1900..2100).contains(&a) && (1100..1300).contains(&b), "{a} {b} {c}");
        let [_, a, b, c, _] = counts(1.0, 0.7);
        assert!(c == 0 && (2400..2600).contains(&a) && b > 0, "{a} {b} {c}");
        assert!(counts(0.1, 1.0)[1] > 3900);
    }

    #[test]
    fn ends_are_a_number_or_a_list() {
        assert_eq!(ids(&serde_json::json!(3)), [3]);
        assert_eq!(ids(&serde_json::json!([3, 4])), [3, 4]);
        assert!(ids(&Json::Null).is_empty());
    }
}
