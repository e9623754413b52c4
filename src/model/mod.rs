//! Models: what `CREATE MODEL` names and `ENRICH … USING` asks. Text and image encoders, language models.
//!
//! A kind is a constant record of `KINDS`. A model does up to three things, each a small trait: it makes vectors of
//! texts ([`Encoder`]), vectors of pictures ([`ImageEncoder`]), and answers ([`Chat`]). Local weights come from a
//! folder or a file (`folder.rs`) and run here; `openai.rs` asks an endpoint through `client.rs`. A model knows
//! nothing of items: what is asked, and what an answer must look like, is `enrich/`'s business.

pub(crate) mod base;
mod bert;
mod causal_lm;
mod chat_template;
pub(crate) mod client;
mod clip;
mod convolution;
#[cfg(test)]
#[path = "../../tests/support/endpoint.rs"]
mod endpoint;
#[cfg(test)]
#[path = "fixture_tests.rs"]
mod fixture;
mod folder;
mod hash;
mod language;
#[cfg(test)]
mod local_tests;
mod openai;
#[cfg(test)]
mod parity_tests;
pub(crate) mod picture;
mod qwen3_embedding;
mod recipe;
mod resnet;
mod siglip;
#[cfg(test)]
mod tests;
mod tokens;
mod tower;

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::error::Result;
use crate::options::{Given, Meanings};
use crate::progress::Progress;
use picture::Picture;

/// Every kind of model that this build knows, the default text encoder first.
pub(crate) const KINDS: &[&Kind] = &[
    &hash::KIND,
    &bert::KIND,
    &qwen3_embedding::KIND,
    &clip::KIND,
    &siglip::KIND,
    &resnet::KIND,
    &causal_lm::KIND,
    &openai::KIND,
];

/// One kind of model: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// What models of this kind do.
    pub(crate) abilities: &'static [Ability],
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// How a model comes to be.
    pub(crate) make: Make,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn defaults(&self) -> Result<Map<String, Json>> {
        (self.config)(&[])
    }

    fn meanings(&self) -> Meanings {
        (self.meanings)()
    }
}

impl Kind {
    /// Whether models of this kind have an ability.
    pub(crate) fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }
}

/// What a model can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Vectors of texts.
    Text,
    /// Vectors of pictures.
    Image,
    /// Answers to a prompt.
    Chat,
    /// Answers to a prompt with a picture.
    Vision,
}

impl Ability {
    /// The word in messages and in `SHOW MODELS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ability::Text => "text vectors",
            Ability::Image => "image vectors",
            Ability::Chat => "answers",
            Ability::Vision => "answers about pictures",
        }
    }
}

/// How a model comes to be.
pub(crate) enum Make {
    /// Fitted on the texts of a catalogue; what was learned is stored in the file, beside the space.
    Fitted(Fit, Load),
    /// Opened as its options say: from a folder of weights, or as an address.
    Opened(Open, Fingerprint),
}

/// Fits an encoder from its configuration and the texts of a catalogue.
pub(crate) type Fit = fn(&Json, &[String], &Progress) -> Result<Box<dyn FittedEncoder>>;
/// The encoder that [`FittedEncoder::to_bytes`] stored.
pub(crate) type Load = fn(&[u8]) -> Result<Box<dyn FittedEncoder>>;
/// Opens a model from its configuration. Reads no more than it must: no endpoint is asked.
pub(crate) type Open = fn(&Json) -> Result<Model>;
/// What tells these weights from all others: `sha256:…` over the files of weights, or the address and name of a
/// model behind an endpoint. Part of the provenance of everything that the model makes.
pub(crate) type Fingerprint = fn(&Json, &Progress) -> Result<String>;

/// An opened model: the abilities that it has.
#[derive(Clone, Default)]
pub(crate) struct Model {
    /// Vectors of texts.
    pub(crate) text: Option<Arc<dyn Encoder>>,
    /// Vectors of pictures.
    pub(crate) image: Option<Arc<dyn ImageEncoder>>,
    /// Answers.
    pub(crate) chat: Option<Arc<dyn Chat>>,
}

/// Texts to vectors.
pub(crate) trait Encoder: Send + Sync {
    /// Components of a vector. An endpoint may have to be asked once.
    fn dim(&self) -> Result<usize>;

    /// One vector of unit length for each text, row-major. A text without any word may give a zero vector.
    ///
    /// Give a few hundred texts at a time: they are sorted by length and run together. Looks at `progress` between
    /// those runs, at least a few times a second.
    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>>;

    /// The vector of what somebody looks for, where the model tells questions from documents.
    fn encode_query(&self, text: &str, progress: &Progress) -> Result<Vec<f32>> {
        self.encode(&[text], progress)
    }

    /// Whether encoding asks another machine. Then it is not done inside a transaction.
    fn remote(&self) -> bool {
        false
    }

    /// Begins a run: what it may spend is whole again.
    fn renew(&self) {}
}

/// An encoder that was fitted here and is stored in the file.
pub(crate) trait FittedEncoder: Encoder {
    /// The artefact to store; [`Make::Fitted`] restores it.
    fn to_bytes(&self) -> Vec<u8>;
}

/// Pictures to vectors.
pub(crate) trait ImageEncoder: Send + Sync {
    /// Components of a vector.
    fn dim(&self) -> usize;

    /// One vector of unit length for each picture, row-major. Give a few dozen at a time.
    fn encode(&self, pictures: &[&Picture], progress: &Progress) -> Result<Vec<f32>>;
}

/// Prompts to answers.
pub(crate) trait Chat: Send + Sync {
    /// Asks once and waits for the answer. Retries what is worth retrying; looks at `progress` at least a few times
    /// a second.
    ///
    /// # Errors
    /// `endpoint-refused` (the request or the key is wrong: asking again is of no use), `endpoint-unreachable` and
    /// `endpoint-busy` (given up after the retries), `budget-spent`, `cancelled`.
    fn ask(&self, ask: &Ask<'_>, progress: &Progress) -> Result<Reply>;

    /// How many may ask at the same time.
    fn workers(&self) -> usize;

    /// Begins a run: what it may spend is whole again.
    fn renew(&self) {}
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Who the model is and what it must do.
    pub(crate) system: &'a str,
    /// The turns after it, the user's first: a question, then perhaps a bad answer and what was wrong with it.
    pub(crate) turns: &'a [Turn],
    /// The picture that the first turn is about.
    pub(crate) picture: Option<&'a Picture>,
    /// The name and JSON Schema of the answer; sent where the endpoint supports it.
    pub(crate) schema: Option<(&'static str, &'static str)>,
    /// The most tokens of an answer.
    pub(crate) max_tokens: usize,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The user's words.
    User(String),
    /// The model's words.
    Model(String),
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    /// The words.
    pub(crate) text: String,
    /// What they cost.
    pub(crate) usage: Usage,
}

/// What answers cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Tokens that were read.
    pub(crate) read: u64,
    /// Tokens that were written.
    pub(crate) written: u64,
    /// Money, in the currency of the prices that the model was created with.
    pub(crate) cost: f64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.read += other.read;
        self.written += other.written;
        self.cost += other.cost;
    }
}
