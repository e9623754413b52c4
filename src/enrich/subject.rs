//! What is known of one item when a stage asks about it.

use serde_json::{Map, Value as Json};
use sidql_storage::Descriptor;

use super::image::Reference;
use super::text;

/// What is known of one item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// The item's id.
    pub(crate) id: String,
    /// Its fields, with `caption` and `descriptors` as the stages made them, where they did.
    pub(crate) fields: Vec<(String, Json)>,
    /// The names of fields that stages made, each with the metadata field whose place it took, if there is one.
    pub(crate) made: Vec<(&'static str, Option<Json>)>,
    /// Its descriptors with their confidences.
    pub(crate) descriptors: Vec<Descriptor>,
    /// Where its picture is.
    pub(crate) picture: Option<Reference>,
}

impl Subject {
    /// A field by name.
    pub(crate) fn field(&self, name: &str) -> Option<&Json> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// A metadata field by name, also where a stage made a value of that name.
    pub(crate) fn metadata(&self, name: &str) -> Option<&Json> {
        match self.made.iter().find(|(made, _)| made.eq_ignore_ascii_case(name)) {
            Some((_, given)) => given.as_ref(),
            None => self.field(name),
        }
    }

    /// The text of the item, see [`text::text_of`].
    pub(crate) fn text(&self, parts: Option<&[String]>) -> String {
        text::text_of(&self.borrowed(), parts)
    }

    /// The item as the data of a prompt: what makes its text, by name. `without` is left out.
    pub(crate) fn data(&self, parts: Option<&[String]>, without: &[&str]) -> Map<String, Json> {
        let fields = self.borrowed();
        let chosen = text::chosen(&fields, parts).into_iter();
        let wanted = chosen.filter(|(name, value)| {
            let told =
                !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
            told && (parts.is_some() || !without.contains(&name.to_ascii_lowercase().as_str()))
        });
        wanted.map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    fn borrowed(&self) -> Vec<(&str, &Json)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value)).collect()
    }
}
