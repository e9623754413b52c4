//! `intent`: descriptors of why an item is wanted, with confidences (DCIM, DeepInterestGR III-C, eqs. 2 and 3).
//!
//! The prompt leads the model through surface analysis, latent motivation and synthesis; it sees title, description,
//! caption and the item's other text. The answer must be strict JSON: at least one descriptor, none twice after NFKC
//! and case folding, confidences within 0 to 1. They are kept strongest first. The paper's controls, a summary and a
//! paraphrase of the same text, are modes: their text stands where the descriptors would, and nothing else changes.

use std::cmp::Ordering;
use std::collections::HashSet;

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{Body, Descriptor, EvidenceKind};
use unicode_normalization::UnicodeNormalization;

use super::answer::{Asking, Questions, bounded, only};
use super::prompt::{self, Prompt};
use super::{Kind, Makes, Subject};
use crate::model::Ability;
use crate::options;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "intent",
    summary: "descriptors of why the item is wanted, with confidences (DCIM)",
    needs: Some(Ability::Chat),
    meanings: || [options::meanings::<Config>(), options::meanings::<Asking>()].concat(),
    config: |given| options::checked(given, |config: &Config| config.asking.check()),
    makes: Makes::Answer(EvidenceKind::Intent, |options| {
        let config: Config = serde_json::from_value(options.clone())?;
        Ok(Box::new(Intents { mode: config.mode }))
    }),
};

/// The most descriptors of an item.
const MAX_DESCRIPTORS: usize = 16;
/// Characters of the longest descriptor.
const MAX_CHARS: usize = 80;
/// Characters of the longest summary or paraphrase.
const MAX_TEXT_CHARS: usize = 4000;

/// What can be set.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    /// What is asked for.
    mode: Mode,
    #[serde(flatten)]
    asking: Asking,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Descriptors.
    #[default]
    Descriptors,
    /// A summary, the paper's first control.
    Summary,
    /// The same in other words, the paper's second control.
    Paraphrase,
}

struct Intents {
    mode: Mode,
}

impl Questions for Intents {
    fn prompt(&self) -> &'static Prompt {
        match self.mode {
            Mode::Descriptors => &prompt::INTENT,
            Mode::Summary => &prompt::INTENT_SUMMARY,
            Mode::Paraphrase => &prompt::INTENT_PARAPHRASE,
        }
    }

    fn schema(&self) -> (&'static str, &'static str) {
        match self.mode {
            Mode::Descriptors => ("descriptors", include_str!("prompt/intent.schema.json")),
            Mode::Summary | Mode::Paraphrase => ("text", include_str!("prompt/text.schema.json")),
        }
    }

    fn data(&self, asking: &Asking, subject: &Subject) -> Option<Json> {
        let data = subject.data(asking.parts.as_deref(), &["descriptors"]);
        (!data.is_empty()).then(|| Json::Object(data))
    }

    fn read(&self, _subject: &Subject, answer: &Json) -> Result<Body, String> {
        if self.mode != Mode::Descriptors {
            let text = bounded(only(answer, "text")?, "the text", MAX_TEXT_CHARS)?;
            return Ok(Body::Descriptors(vec![Descriptor { text, confidence: None }]));
        }
        let list = only(answer, "descriptors")?;
        let list = list.as_array().ok_or("\"descriptors\" must be an array")?;
        let read = |one: &Json| {
            let members = one.as_object().filter(|members| members.len() == 2);
            let members = members
                .ok_or("each descriptor must have a \"descriptor\" and a \"confidence\" only")?;
            let confidence = members.get("confidence").and_then(Json::as_f64);
            let confidence = confidence.filter(|x| (0.0..=1.0).contains(x));
            let confidence =
                confidence.ok_or("each \"confidence\" must be a number from 0 to 1")?;
            let text = members.get("descriptor").unwrap_or(&Json::Null);
            let text = bounded(text, "a descriptor", MAX_CHARS)?;
            Ok::<_, String>(Descriptor { text, confidence: Some(confidence as f32) })
        };
        in_order(list.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// A list of texts, or one text: descriptors without confidences.
    fn take(&self, value: &Json) -> Result<Body, String> {
        let one = [value.clone()];
        let list = value.as_array().map_or(&one[..], Vec::as_slice);
        let read = |text: &Json| {
            let text = bounded(text, "a descriptor", MAX_TEXT_CHARS)?;
            Ok::<_, String>(Descriptor { text, confidence: None })
        };
        in_order(list.iter().map(read).collect::<Result<_, _>>()?)
    }
}

/// Descriptors strongest first, none twice.
fn in_order(mut list: Vec<Descriptor>) -> Result<Body, String> {
    list.sort_by(|one, other| {
        other.confidence.partial_cmp(&one.confidence).unwrap_or(Ordering::Equal)
    });
    let mut known = HashSet::new();
    list.retain(|one| known.insert(folded(&one.text)));
    match list.len() {
        0 => Err("there must be at least one descriptor".to_owned()),
        count if count > MAX_DESCRIPTORS => {
            Err(format!("{count} descriptors are too many; {MAX_DESCRIPTORS} are the most"))
        }
        _ => Ok(Body::Descriptors(list)),
    }
}

/// A descriptor as it is compared: NFKC, lower case, single spaces.
fn folded(text: &str) -> String {
    let text: String = text.nfkc().flat_map(char::to_lowercase).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Descriptors with their confidences, as a judge is shown them.
pub(super) fn listed(descriptors: &[Descriptor]) -> Json {
    let one = |descriptor: &Descriptor| json!(descriptor.text);
    Json::Array(descriptors.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(answer: &Json) -> Result<Vec<(String, f32)>, String> {
        let intents = Intents { mode: Mode::Descriptors };
        match intents.read(&Subject::default(), answer)? {
            Body::Descriptors(list) => {
                Ok(list.into_iter().map(|one| (one.text, one.confidence.unwrap())).collect())
            }
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn strongest_first_and_none_twice() {
        let answer = json!({"descriptors": [
            {"descriptor": "backyard practice", "confidence": 0.5},
            {"descriptor": "Youth  training", "confidence": 0.9},
            {"descriptor": "ｙｏｕｔｈ Training", "confidence": 0.8},
        ]});
        let expected = [("Youth training".to_owned(), 0.9), ("backyard practice".to_owned(), 0.5)];
        assert_eq!(read(&answer).unwrap(), expected);
    }

    #[test]
    fn what_is_not_in_the_schema_is_refused() {
        let many: Vec<Json> =
            (0..17).map(|n| json!({"descriptor": format!("d{n}"), "confidence": 0.5})).collect();
        for bad in [
            json!({"descriptors": []}),
            json!({"descriptors": "gift"}),
            json!({"descriptors": ["gift"]}),
            json!({"descriptors": [{"descriptor": "gift"}]}),
            json!({"descriptors": [{"descriptor": "gift", "confidence": 1.5}]}),
            json!({"descriptors": [{"descriptor": "gift", "confidence": "high"}]}),
            json!({"descriptors": [{"descriptor": " ", "confidence": 0.5}]}),
            json!({"descriptors": [{"descriptor": "x".repeat(81), "confidence": 0.5}]}),
            json!({"descriptors": [{"descriptor": "a", "confidence": 0.5, "why": "b"}]}),
            json!({"descriptors": [{"descriptor": "a", "confidence": 0.5}], "more": 1}),
            json!({"descriptors": many}),
            json!({"tags": []}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn controls_are_one_text() {
        let summary = Intents { mode: Mode::Summary };
        let body = summary.read(&Subject::default(), &json!({"text": "A ball for the yard."}));
        let only = Descriptor { text: "A ball for the yard.".to_owned(), confidence: None };
        assert_eq!(body, Ok(Body::Descriptors(vec![only])));
        assert!(summary.read(&Subject::default(), &json!({"descriptors": []})).is_err());
    }
}
