//! What the stages that ask a language model share: the question, the strict reading of the answer, the repairs.
//!
//! An answer is one JSON object and nothing else (a Markdown fence around it is forgiven). What cannot be read is sent
//! back with the reason, `repairs` times; after that the item has failed. Nothing is ever filled in for a model.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{Body, Failure};

use super::Subject;
use super::prompt::{Prompt, Words, fenced};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::model::picture::Picture;
use crate::model::{Ask, Chat, Turn, Usage};
use crate::progress::Progress;

/// Bytes of a bad answer that are kept with the failure.
const MAX_KEPT: usize = 4096;
/// The most repairs.
const MAX_REPAIRS: usize = 10;
/// The most tokens of an answer.
const MAX_TOKENS: usize = 32_768;

/// The options that all these stages have.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asking {
    /// A file whose words take the place of the stage's prompt.
    pub(crate) prompt: Option<String>,
    /// The fields that the model is told of, in this order; all text when not given.
    pub(crate) parts: Option<Vec<String>>,
    /// Asks after the first one when an answer cannot be read.
    pub(crate) repairs: usize,
    /// The most tokens of an answer.
    pub(crate) max_tokens: usize,
    /// A metadata field that holds the values already: they are taken over, and no model is asked.
    pub(crate) from: Option<String>,
    /// Whether values that are up to date are made again.
    pub(crate) again: bool,
}

impl Default for Asking {
    fn default() -> Self {
        Asking { prompt: None, parts: None, repairs: 2, max_tokens: 1024, from: None, again: false }
    }
}

impl Asking {
    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, value, low, high) in [
            ("repairs", self.repairs, 0, MAX_REPAIRS),
            ("max_tokens", self.max_tokens, 16, MAX_TOKENS),
        ] {
            if !(low..=high).contains(&value) {
                let message = format!("`{name}` must be {low} to {high}, not {value}");
                return Err(Error::input("bad-option", message));
            }
        }
        Ok(())
    }

    /// The words that are sent: those of the file, or of the stage's own prompt.
    pub(crate) fn words(&self, prompt: &Prompt) -> Result<Words> {
        match &self.prompt {
            Some(file) => super::prompt::read(file),
            None => Ok(prompt.words()),
        }
    }
}

/// A stage whose values are answers.
pub(crate) trait Questions: Send + Sync {
    /// The prompt.
    fn prompt(&self) -> &'static Prompt;

    /// The name and JSON Schema of an answer.
    fn schema(&self) -> (&'static str, &'static str);

    /// Whether the model must see the item's picture.
    fn needs_picture(&self) -> bool {
        false
    }

    /// What the model is told of the item; nothing where there is nothing to ask.
    fn data(&self, asking: &Asking, subject: &Subject) -> Option<Json>;

    /// The value in an answer, or what is wrong with it in words that a model can act on.
    fn read(&self, subject: &Subject, answer: &Json) -> Result<Body, String>;

    /// The value of a metadata field, taken over as it is; what is wrong with it otherwise.
    fn take(&self, value: &Json) -> Result<Body, String>;

    /// The value where no model is needed for it, or why there is none.
    fn without_model(&self, _subject: &Subject) -> Option<Result<Body, String>> {
        None
    }

    /// Whether values are made without a model altogether.
    fn needs_no_model(&self) -> bool {
        false
    }
}

/// What came of one item.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The value, or the failure to make one.
    pub(crate) end: std::result::Result<Body, Failure>,
    /// What the answers cost.
    pub(crate) usage: Usage,
}

/// What is asked about every item of one run.
pub(crate) struct Interview<'a> {
    /// The stage's name, kept with failures.
    pub(crate) stage: &'static str,
    /// The model.
    pub(crate) chat: &'a dyn Chat,
    /// The stage.
    pub(crate) questions: &'a dyn Questions,
    /// The words of the prompt.
    pub(crate) words: &'a Words,
    /// The options.
    pub(crate) asking: &'a Asking,
}

impl Interview<'_> {
    /// Asks about one item until the answer can be read or the repairs are used up.
    ///
    /// # Errors
    /// What the model says of itself: refused, unreachable, busy, over budget, cancelled.
    pub(crate) fn ask(
        &self,
        subject: &Subject,
        data: &Json,
        picture: Option<&Picture>,
        progress: &Progress,
    ) -> Result<Answered> {
        let mut turns = vec![Turn::User(fenced(data))];
        let mut usage = Usage::default();
        for attempt in 1..=self.asking.repairs + 1 {
            let ask = Ask {
                system: &self.words.text,
                turns: &turns,
                picture,
                schema: Some(self.questions.schema()),
                max_tokens: self.asking.max_tokens,
            };
            let reply = self.chat.ask(&ask, progress)?;
            usage += reply.usage;
            let read = object(&reply.text).and_then(|json| self.questions.read(subject, &json));
            match read {
                Ok(body) => return Ok(Answered { end: Ok(body), usage }),
                Err(why) if attempt > self.asking.repairs => {
                    let end = Err(self.failure("bad-answer", &why, &reply.text, attempt));
                    return Ok(Answered { end, usage });
                }
                Err(why) => {
                    turns.truncate(1);
                    turns.push(Turn::Model(reply.text));
                    turns.push(Turn::User(format!(
                        "That answer cannot be used: {why}. Answer again, with the JSON object alone."
                    )));
                }
            }
        }
        Err(Error::internal("an item was asked about no time"))
    }

    /// The record of a failure.
    pub(crate) fn failure(&self, code: &str, why: &str, answer: &str, attempts: usize) -> Failure {
        Failure {
            stage: self.stage.to_owned(),
            code: code.to_owned(),
            message: why.to_owned(),
            answer: cut(answer, MAX_KEPT).to_owned(),
            attempts: attempts as u32,
            made_ms: now_ms(),
        }
    }
}

/// The first bytes of a text, at most `most`, at a border of characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// The JSON object that an answer is.
fn object(answer: &str) -> Result<Json, String> {
    let bare = answer.trim();
    let bare = match bare.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) {
        Some(inner) => inner.strip_prefix("json").unwrap_or(inner).trim(),
        None => bare,
    };
    match serde_json::from_str(bare) {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err("it is JSON, but not an object".to_owned()),
        Err(error) => Err(format!("it is not one JSON object ({error})")),
    }
}

/// The only member of an object, by name; an object with others, or without it, is refused.
pub(super) fn only<'a>(answer: &'a Json, name: &str) -> Result<&'a Json, String> {
    let members = answer.as_object().map(|members| members.keys().collect::<Vec<_>>());
    match members.as_deref() {
        Some([one]) if *one == name => Ok(&answer[name]),
        Some(_) => Err(format!("the object must have the member \"{name}\" and no other")),
        None => Err("it is not an object".to_owned()),
    }
}

/// A text of bounded length, without white space around it.
pub(super) fn bounded(text: &Json, what: &str, most: usize) -> Result<String, String> {
    let text = text.as_str().ok_or_else(|| format!("{what} must be a string"))?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() {
        0 => Err(format!("{what} is empty")),
        count if count > most => Err(format!("{what} has {count} characters; {most} are the most")),
        _ => Ok(text),
    }
}
