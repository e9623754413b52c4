//! `caption`: what an item's photo shows, in words (CMSA path 1, DeepInterestGR III-D, eq. 4).
//!
//! The paper asks Qwen2.5-VL-7B-Instruct for one recommendation-oriented caption of the main photo, at temperature 0.
//! Items without a photo keep no caption; the paper's code drops such items from the catalogue, here they stay.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{Body, EvidenceKind};

use super::answer::{Asking, Questions, bounded, only};
use super::image::Where;
use super::prompt::{self, Prompt};
use super::{Kind, Makes, Subject};
use crate::error::Result;
use crate::model::Ability;
use crate::options;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "caption",
    summary: "what the photo shows: style, colours, material, usage scene, audience (CMSA path 1)",
    needs: Some(Ability::Vision),
    meanings: || [options::meanings::<Asking>(), options::meanings::<Where>()].concat(),
    config: |given| {
        options::checked(given, |config: &Config| {
            config.asking.check()?;
            config.picture.check()
        })
    },
    makes: Makes::Answer(EvidenceKind::Caption, |_| Ok(Box::new(Captions))),
};

/// Characters of the longest caption.
const MAX_CHARS: usize = 2000;

/// What can be set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(flatten)]
    asking: Asking,
    #[serde(flatten)]
    picture: Where,
}

struct Captions;

impl Questions for Captions {
    fn prompt(&self) -> &'static Prompt {
        &prompt::CAPTION
    }

    fn schema(&self) -> (&'static str, &'static str) {
        ("caption", include_str!("prompt/caption.schema.json"))
    }

    fn needs_picture(&self) -> bool {
        true
    }

    /// The title alone unless `parts` says more: a caption tells what is seen, not what is known.
    fn data(&self, asking: &Asking, subject: &Subject) -> Option<Json> {
        let title = vec!["title".to_owned()];
        let parts = asking.parts.as_deref().unwrap_or(&title);
        Some(json!({"item": subject.data(Some(parts), &[])}))
    }

    fn read(&self, _subject: &Subject, answer: &Json) -> Result<Body, String> {
        self.take(only(answer, "caption")?)
    }

    fn take(&self, value: &Json) -> Result<Body, String> {
        Ok(Body::Caption(bounded(value, "the caption", MAX_CHARS)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caption_and_nothing_else() {
        let read = |answer: Json| Captions.read(&Subject::default(), &answer);
        let good = read(json!({"caption": " A red\n ball. "}));
        assert_eq!(good, Ok(Body::Caption("A red ball.".to_owned())));
        for bad in [
            json!({}),
            json!({"caption": ""}),
            json!({"caption": 7}),
            json!({"caption": "a", "brand": "b"}),
            json!({"caption": "x".repeat(MAX_CHARS + 1)}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
