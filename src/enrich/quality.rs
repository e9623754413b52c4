//! `quality`: a label for each descriptor, and the item's score (QARM, DeepInterestGR III-E, eqs. 9 and 10).
//!
//! A judge labels each descriptor 1 when it is specific, actionable and grounded, else 0. The score of an item is
//! `q = Σ c·y / Σ c` over its descriptors, `c` the confidences, or 1 where all of them are missing. Confidences of
//! which some are missing, or that sum to 0, make no score: that is a failure of the item, not a number.
//!
//! The paper compares the judge with three other sources of labels: `uniform` (all 1), `random` and `heuristic`.
//! Their constants are ours: random labels are 1 with probability one half; a heuristic label is 1 for a descriptor
//! of two words or more of which one is no stock phrase of shops and one occurs in the item's text.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{Body, Descriptor, EvidenceKind};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::answer::{Asking, Questions, only};
use super::intent::listed;
use super::prompt::{self, Prompt};
use super::{Kind, Makes, Subject};
use crate::model::Ability;
use crate::options;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "quality",
    summary: "a label for each descriptor, and the item's score (QARM)",
    needs: Some(Ability::Chat),
    meanings: || [options::meanings::<Config>(), options::meanings::<Asking>()].concat(),
    config: |given| options::checked(given, |config: &Config| config.asking.check()),
    makes: Makes::Answer(EvidenceKind::Quality, |options| {
        let config: Config = serde_json::from_value(options.clone())?;
        Ok(Box::new(Judge { labels: config.labels, seed: config.seed }))
    }),
};

/// Words that shops write about everything.
const STOCK: &[&str] = &[
    "all",
    "amazing",
    "any",
    "anyone",
    "beautiful",
    "best",
    "budget",
    "casual",
    "comfort",
    "comfortable",
    "convenience",
    "convenient",
    "daily",
    "durable",
    "easy",
    "effective",
    "everyday",
    "everyone",
    "excellent",
    "for",
    "general",
    "gift",
    "good",
    "great",
    "high",
    "high-quality",
    "item",
    "nice",
    "perfect",
    "practical",
    "premium",
    "product",
    "quality",
    "reliable",
    "simple",
    "stylish",
    "top",
    "use",
    "useful",
    "value",
    "versatile",
];

/// Characters of the shortest word that counts as a sign of ground.
const MIN_GROUND_CHARS: usize = 4;

/// What can be set.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    /// Where labels come from.
    labels: Labels,
    /// Seed of random labels.
    seed: u64,
    #[serde(flatten)]
    asking: Asking,
}

impl Default for Config {
    fn default() -> Self {
        Config { labels: Labels::Llm, seed: 42, asking: Asking::default() }
    }
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Labels {
    /// A language model.
    Llm,
    /// Every descriptor is good.
    Uniform,
    /// A coin for each descriptor.
    Random,
    /// Two words, not all stock phrases, one of them in the item's text.
    Heuristic,
}

struct Judge {
    labels: Labels,
    seed: u64,
}

impl Questions for Judge {
    fn prompt(&self) -> &'static Prompt {
        &prompt::QUALITY
    }

    fn schema(&self) -> (&'static str, &'static str) {
        ("labels", include_str!("prompt/quality.schema.json"))
    }

    fn data(&self, asking: &Asking, subject: &Subject) -> Option<Json> {
        let item = subject.data(asking.parts.as_deref(), &["descriptors"]);
        let list = listed(&subject.descriptors);
        (!subject.descriptors.is_empty()).then(|| json!({"item": item, "descriptors": list}))
    }

    fn read(&self, subject: &Subject, answer: &Json) -> Result<Body, String> {
        let list = only(answer, "labels")?;
        let list = list.as_array().ok_or("\"labels\" must be an array")?;
        if list.len() != subject.descriptors.len() {
            let (found, wanted) = (list.len(), subject.descriptors.len());
            return Err(format!("there are {found} labels for {wanted} descriptors"));
        }
        let label = |one: &Json| match one.as_u64() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err("each label must be 0 or 1".to_owned()),
        };
        scored(&subject.descriptors, list.iter().map(label).collect::<Result<_, _>>()?)
    }

    fn take(&self, _value: &Json) -> Result<Body, String> {
        Err("labels belong to descriptors and are not taken from a field".to_owned())
    }

    fn needs_no_model(&self) -> bool {
        self.labels != Labels::Llm
    }

    fn without_model(&self, subject: &Subject) -> Option<Result<Body, String>> {
        let label = |descriptor: &Descriptor| match self.labels {
            Labels::Llm => None,
            Labels::Uniform => Some(true),
            Labels::Random => {
                let drawn = format!("{}\0{}", subject.id, descriptor.text);
                Some(xxh3_64_with_seed(drawn.as_bytes(), self.seed) & 1 == 1)
            }
            Labels::Heuristic => Some(heuristic(&descriptor.text, &ground(subject))),
        };
        let labels: Option<Vec<bool>> = subject.descriptors.iter().map(label).collect();
        labels.map(|labels| scored(&subject.descriptors, labels))
    }
}

/// Labels and the score that they make, SPECS A5.
fn scored(descriptors: &[Descriptor], labels: Vec<bool>) -> Result<Body, String> {
    let known = descriptors.iter().filter(|one| one.confidence.is_some()).count();
    if known != 0 && known != descriptors.len() {
        let missing = descriptors.len() - known;
        return Err(format!("{missing} of {} descriptors have no confidence", descriptors.len()));
    }
    let (mut sum, mut good) = (0.0f64, 0.0f64);
    for (descriptor, label) in descriptors.iter().zip(&labels) {
        let confidence = f64::from(descriptor.confidence.unwrap_or(1.0));
        sum += confidence;
        good += confidence * f64::from(u8::from(*label));
    }
    if sum <= 0.0 {
        return Err("the confidences of the descriptors sum to 0".to_owned());
    }
    Ok(Body::Quality { labels, score: (good / sum) as f32 })
}

/// The words of the item that can ground a descriptor.
fn ground(subject: &Subject) -> Vec<String> {
    let data = Json::Object(subject.data(None, &["descriptors"])).to_string();
    let mut words = words(&data);
    words.retain(|word| word.chars().count() >= MIN_GROUND_CHARS);
    words
}

fn heuristic(descriptor: &str, ground: &[String]) -> bool {
    let words = words(descriptor);
    let telling = words.iter().any(|word| !STOCK.contains(&word.as_str()));
    // A word and its plural or its other forms share their beginning.
    let grounded =
        words.iter().filter(|word| word.chars().count() >= MIN_GROUND_CHARS).any(|word| {
            let stem: String =
                word.chars().take(MIN_GROUND_CHARS.max(word.chars().count() - 3)).collect();
            ground.iter().any(|known| known.starts_with(&stem))
        });
    words.len() >= 2 && telling && grounded
}

fn words(text: &str) -> Vec<String> {
    let word = |word: &str| word.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn subject(descriptors: &[(&str, Option<f32>)]) -> Subject {
        let title = json!("Soccer training ball, size 4, durable");
        Subject {
            id: "b1".to_owned(),
            fields: vec![("title".to_owned(), title)],
            descriptors: descriptors
                .iter()
                .map(|(text, confidence)| Descriptor {
                    text: (*text).to_owned(),
                    confidence: *confidence,
                })
                .collect(),
            ..Subject::default()
        }
    }

    fn judge(labels: Labels) -> Judge {
        Judge { labels, seed: 42 }
    }

    fn score(body: Body) -> f32 {
        match body {
            Body::Quality { score, .. } => score,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_score_weighs_labels_by_confidence() {
        let two = subject(&[("youth soccer practice", Some(0.9)), ("great gift", Some(0.3))]);
        let llm = judge(Labels::Llm);
        let read = llm.read(&two, &json!({"labels": [1, 0]})).unwrap();
        assert!((score(read) - 0.75).abs() < 1e-6);
        let bare = subject(&[("a b", None), ("c d", None), ("e f", None)]);
        let read = llm.read(&bare, &json!({"labels": [1, 0, 0]})).unwrap();
        assert!((score(read) - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn what_makes_no_score_is_an_error() {
        let llm = judge(Labels::Llm);
        let mixed = subject(&[("a", Some(0.9)), ("b", None)]);
        assert!(
            llm.read(&mixed, &json!({"labels": [1, 1]})).unwrap_err().contains("no confidence")
        );
        let zero = subject(&[("a", Some(0.0))]);
        assert!(llm.read(&zero, &json!({"labels": [1]})).unwrap_err().contains("sum to 0"));
        let one = subject(&[("a", Some(0.5))]);
        for bad in [json!({"labels": [1, 0]}), json!({"labels": [2]}), json!({"labels": [true]})] {
            assert!(llm.read(&one, &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_sources_of_labels() {
        let some = subject(&[
            ("youth soccer practice", Some(0.9)),
            ("great quality gift", Some(0.8)),
            ("frequent traveller", Some(0.7)),
            ("training", Some(0.6)),
        ]);
        let labels = |source| match judge(source).without_model(&some) {
            Some(Ok(Body::Quality { labels, .. })) => labels,
            other => panic!("{other:?}"),
        };
        assert_eq!(labels(Labels::Uniform), [true; 4]);
        assert_eq!(labels(Labels::Heuristic), [true, false, false, false]);
        assert_eq!(labels(Labels::Random), labels(Labels::Random));
        assert!(judge(Labels::Llm).without_model(&some).is_none());
        let drawn = (0..400).filter(|n| {
            let one = subject(&[(&format!("d{n}"), None)]);
            score(judge(Labels::Random).without_model(&one).unwrap().unwrap()) == 1.0
        });
        let drawn = drawn.count();
        assert!((150..=250).contains(&drawn), "{drawn}");
    }
}
