//! The kind `openai`: a model behind an endpoint that speaks as OpenAI's does, such as vLLM, Ollama and llama.cpp.
//!
//! It answers by `chat/completions` and makes vectors by `embeddings`. An answer in a given shape is asked for by
//! `response_format`; endpoints differ in what they know of it, so `structured = 'auto'` begins with a JSON Schema and
//! settles on the first form that is not refused.

mod budget;
mod config;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::{Client, Failure, Key, Setup};
use super::{Ability, Ask, Chat, Encoder, Kind, Make, Model, Reply, Turn, Usage};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::index::product::{dot, normalise};
use crate::options;
use crate::progress::Progress;
use budget::Budget;
use config::{Config, Structured};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "openai",
    summary: "a model behind an OpenAI-compatible endpoint: vLLM, Ollama, llama.cpp, OpenAI",
    abilities: &[Ability::Text, Ability::Chat, Ability::Vision],
    meanings: options::meanings::<Config>,
    config: |given| {
        // Without any option these are the defaults, which name no endpoint.
        let check = if given.is_empty() { |_: &Config| Ok(()) } else { Config::check };
        options::checked(given, check)
    },
    make: Make::Opened(open, fingerprint),
};

/// The longer side of a picture that is sent, in pixels: what vision models look at before they cut it into tiles.
const LONGEST_SIDE: u32 = 1024;

/// Letters of a token, where an endpoint does not count.
const LETTERS: usize = 4;

/// The field that asks for the form of an answer.
const FORM: &str = "response_format";

/// The text whose vector tells how many components vectors have.
const PROBE: &str = "sidql";

/// What `auto` tries, in this order.
const FORMS: [Structured; 3] = [Structured::JsonSchema, Structured::JsonObject, Structured::None];

fn open(config: &Json) -> Result<Model> {
    let config = Config::read(config)?;
    let key = Key::read(&config.key_env)?;
    let model = Arc::new(OpenAi::new(config, key)?);
    Ok(Model { text: Some(model.clone()), image: None, chat: Some(model) })
}

fn fingerprint(config: &Json, _: &Progress) -> Result<String> {
    let config = Config::read(config)?;
    Ok(format!("{} {}", config.url.trim_end_matches('/'), config.name))
}

/// The opened model. All threads that ask share its budget, its limit on requests and what it learned.
struct OpenAi {
    config: Config,
    client: Client,
    budget: Budget,
    form: Mutex<Form>,
    /// Components of a vector; 0 while unknown.
    dim: AtomicUsize,
}

/// The form that `auto` has reached.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Its place in `FORMS`.
    at: usize,
    /// Whether the endpoint took it. From then on a refusal has other reasons.
    settled: bool,
}

/// The answer of `chat/completions`, as far as it is read.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

/// One of the answers; one is asked for.
#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// The words of an answer. A model that only thought aloud has none.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

/// What the endpoint counted, as far as it did.
#[derive(Clone, Copy, Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

/// The answer of `embeddings`, as far as it is read.
#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
    #[serde(default)]
    usage: Option<Tokens>,
}

/// One vector, and which text it is of.
#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

impl OpenAi {
    fn new(config: Config, key: Option<Key>) -> Result<OpenAi> {
        let client = Client::new(Setup {
            url: &config.url,
            key,
            timeout: Duration::from_secs(config.timeout),
            retries: config.retries,
            per_minute: config.requests_per_minute,
            connections: config.concurrency,
        })?;
        let fixed = FORMS.iter().position(|form| *form == config.structured);
        let form = Form { at: fixed.unwrap_or(0), settled: fixed.is_some() };
        let budget = Budget::new(config.budget_tokens, config.budget_cost);
        let dim = AtomicUsize::new(config.dim);
        Ok(OpenAi { config, client, budget, form: Mutex::new(form), dim })
    }

    /// Asks in the form that the endpoint takes.
    fn complete(&self, ask: &Ask<'_>, progress: &Progress) -> Result<Completion> {
        let Some((name, schema)) = ask.schema else {
            self.budget.check()?;
            return Ok(self.client.post_json("chat/completions", &self.body(ask)?, progress)?);
        };
        let mut body = self.body(ask)?;
        let mut at = self.form().at;
        loop {
            self.budget.check()?;
            match FORMS[at] {
                Structured::JsonSchema => {
                    let schema: Json = serde_json::from_str(schema)
                        .map_err(|error| Error::internal(format!("schema `{name}`: {error}")))?;
                    let schema = json!({"name": name, "schema": schema, "strict": true});
                    body[FORM] = json!({"type": "json_schema", "json_schema": schema});
                }
                Structured::JsonObject => body[FORM] = json!({"type": "json_object"}),
                // An endpoint that does not know the field may refuse it whatever it says.
                Structured::None | Structured::Auto => {
                    body.as_object_mut().and_then(|fields| fields.remove(FORM));
                }
            }
            match self.client.post_json("chat/completions", &body, progress) {
                Ok(answer) => {
                    let mut form = self.form();
                    *form = Form { at: form.at.max(at), settled: true };
                    return Ok(answer);
                }
                Err(failure) => at = self.lower(at, failure)?,
            }
        }
    }

    /// The form to ask in after one was refused.
    fn lower(&self, at: usize, failure: Failure) -> Result<usize> {
        let form = *self.form();
        let doubtful = matches!(failure.refused, Some(400 | 404 | 422 | 501));
        match form {
            // Another thread has settled on a lower one meanwhile.
            Form { at: reached, settled: true } if doubtful && at < reached => Ok(reached),
            Form { settled: false, .. } if doubtful && at + 1 < FORMS.len() => Ok(at + 1),
            _ => Err(failure.into()),
        }
    }

    /// The request, but for the form of the answer.
    fn body(&self, ask: &Ask<'_>) -> Result<Json> {
        let mut messages = Vec::with_capacity(ask.turns.len() + 1);
        if !ask.system.is_empty() {
            messages.push(json!({"role": "system", "content": ask.system}));
        }
        for (at, turn) in ask.turns.iter().enumerate() {
            messages.push(match (turn, ask.picture) {
                (Turn::User(text), Some(picture)) if at == 0 => {
                    let jpeg = STANDARD.encode(picture.to_jpeg(LONGEST_SIDE)?);
                    let url = json!({"url": format!("data:image/jpeg;base64,{jpeg}")});
                    let picture = json!({"type": "image_url", "image_url": url});
                    let text = json!({"type": "text", "text": text});
                    json!({"role": "user", "content": [text, picture]})
                }
                (Turn::User(text), _) => json!({"role": "user", "content": text}),
                (Turn::Model(text), _) => json!({"role": "assistant", "content": text}),
            });
        }
        Ok(json!({
            "model": self.config.name,
            "messages": messages,
            "max_tokens": self.most_tokens(ask),
            "temperature": self.config.temperature,
        }))
    }

    fn form(&self) -> MutexGuard<'_, Form> {
        // A place and a flag are whole at any time.
        self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lower of the limits of the question and of the model.
    fn most_tokens(&self, ask: &Ask<'_>) -> usize {
        ask.max_tokens.min(self.config.max_tokens).max(1)
    }

    /// What an answer cost: the endpoint's count, or an estimate by the letters that were read and written.
    fn usage(&self, counted: Option<Tokens>, read: usize, written: usize) -> Usage {
        let counted = counted.unwrap_or_default();
        let read = counted.prompt_tokens.unwrap_or(read.div_ceil(LETTERS) as u64);
        let written = counted.completion_tokens.unwrap_or(written.div_ceil(LETTERS) as u64);
        let prices = (self.config.price_read, self.config.price_written);
        let cost = (read as f64 * prices.0 + written as f64 * prices.1) / 1e6;
        Usage { read, written, cost }
    }
}

impl Chat for OpenAi {
    fn ask(&self, ask: &Ask<'_>, progress: &Progress) -> Result<Reply> {
        let Completion { choices, usage } = self.complete(ask, progress)?;
        let choice = choices.into_iter().next();
        let text = choice.as_ref().and_then(|choice| choice.message.content.clone());
        let said = ask.turns.iter().map(|turn| match turn {
            Turn::User(text) | Turn::Model(text) => letters(text),
        });
        let read = letters(ask.system) + said.sum::<usize>();
        let usage = self.usage(usage, read, text.as_deref().map_or(0, letters));
        self.budget.charge(usage);
        if choice.is_some_and(|choice| choice.finish_reason.as_deref() == Some("length")) {
            let most = self.most_tokens(ask);
            return Err(bad_answer(format!("the answer was cut off after {most} tokens"))
                .help("a higher `max_tokens` leaves room for it"));
        }
        match text {
            Some(text) => Ok(Reply { text, usage }),
            None => Err(bad_answer("the endpoint gave an answer without text".to_owned())),
        }
    }

    fn workers(&self) -> usize {
        self.config.concurrency
    }

    fn renew(&self) {
        self.budget.renew();
    }
}

impl Encoder for OpenAi {
    fn dim(&self) -> Result<usize> {
        self.dim_by(&Progress::silent())
    }

    fn encode(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        // Endpoints refuse empty texts; they have no words, so zero is their vector.
        let asked: Vec<usize> =
            (0..texts.len()).filter(|at| !texts[*at].trim().is_empty()).collect();
        let batches: Vec<&[usize]> = asked.chunks(self.config.batch).collect();
        let made = self.side_by_side(&batches, texts, progress)?;
        let dim = self.dim_by(progress)?;
        let mut vectors = vec![0.0; texts.len() * dim];
        for (batch, rows) in made {
            for (row, at) in rows.chunks_exact(dim).zip(batches[batch]) {
                vectors[at * dim..(at + 1) * dim].copy_from_slice(row);
            }
        }
        Ok(vectors)
    }

    fn encode_query(&self, text: &str, progress: &Progress) -> Result<Vec<f32>> {
        self.encode(&[&format!("{}{text}", self.config.query_prefix)], progress)
    }

    fn remote(&self) -> bool {
        true
    }

    fn renew(&self) {
        self.budget.renew();
    }
}

impl OpenAi {
    /// Components of a vector; asks where they are not known.
    fn dim_by(&self, progress: &Progress) -> Result<usize> {
        match self.dim.load(Ordering::Relaxed) {
            0 => Ok(self.vectors(&[PROBE], progress)?.len()),
            dim => Ok(dim),
        }
    }

    /// The vectors of batches of texts, each with its number, by as many threads as requests may run.
    fn side_by_side(
        &self,
        batches: &[&[usize]],
        texts: &[&str],
        progress: &Progress,
    ) -> Result<Vec<(usize, Vec<f32>)>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(number) else { return Ok(made) };
                let batch: Vec<&str> = batch.iter().map(|at| texts[*at]).collect();
                let vectors = self.vectors(&batch, progress);
                // After a failure the others need not go on.
                let vectors =
                    vectors.inspect_err(|_| next.store(batches.len(), Ordering::Relaxed))?;
                made.push((number, vectors));
            }
        };
        std::thread::scope(|scope| {
            let workers = self.config.concurrency.min(batches.len());
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let mut made = Vec::with_capacity(batches.len());
            for worker in workers {
                let done: Result<Vec<_>> = worker
                    .join()
                    .unwrap_or_else(|_| Err(Error::internal("a thread that asks panicked")));
                made.extend(done?);
            }
            Ok(made)
        })
    }

    /// The vectors of one batch, in the order of its texts.
    fn vectors(&self, texts: &[&str], progress: &Progress) -> Result<Vec<f32>> {
        self.budget.check()?;
        let body = json!({"model": self.config.name, "input": texts, "encoding_format": "float"});
        let Embeddings { mut data, usage } =
            self.client.post_json("embeddings", &body, progress)?;
        self.budget.charge(self.usage(usage, texts.iter().copied().map(letters).sum(), 0));
        data.sort_by_key(|one| one.index);
        if data.len() != texts.len() || data.iter().enumerate().any(|(at, one)| one.index != at) {
            let message =
                format!("the endpoint gave {} vectors for {} texts", data.len(), texts.len());
            return Err(bad_answer(message).help("or it numbered them wrongly"));
        }
        let dim = self.agreed(data.first().map_or(0, |one| one.embedding.len()))?;
        let mut vectors = Vec::with_capacity(texts.len() * dim);
        for Embedding { mut embedding, .. } in data {
            if embedding.len() != dim {
                let message = format!("vectors of {} and of {dim} components", embedding.len());
                return Err(bad_answer(format!("the endpoint gave {message}")));
            }
            if !dot(&embedding, &embedding).is_finite() {
                return Err(bad_answer("the endpoint gave a vector that is not finite".to_owned()));
            }
            normalise(&mut embedding);
            vectors.extend(embedding);
        }
        Ok(vectors)
    }

    /// Checks the components of a vector against what is known; the first vector makes it known.
    fn agreed(&self, found: usize) -> Result<usize> {
        if found == 0 {
            return Err(bad_answer("the endpoint gave a vector without components".to_owned()));
        }
        match self.dim.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed) {
            Err(known) if known != found => {
                let message =
                    format!("the endpoint gave vectors of {found} components, not {known}");
                Err(bad_answer(message).help("leave `dim` out, or give the one of the model"))
            }
            _ => Ok(found),
        }
    }
}

fn bad_answer(message: String) -> Error {
    Error::new(ErrorKind::Retry, "bad-answer", message)
}

fn letters(text: &str) -> usize {
    text.chars().count()
}
