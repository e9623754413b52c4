//! `text`: the text of an item as a vector, and how that text is made from its fields.
//!
//! DeepInterestGR III-C: `x_text` is title, description, caption and descriptors, in this order; confidences are not
//! part of it.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Kind, Makes};
use crate::model::Ability;
use crate::options;

/// The record of this stage.
pub(super) const KIND: Kind = Kind {
    name: "text",
    summary: "a vector of title, description, caption, descriptors and other text, by a text encoder",
    needs: Some(Ability::Text),
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, |_: &Config| Ok(())),
    makes: Makes::TextVector,
};

/// What can be set.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// The fields to read, in this order; `caption` and `descriptors` count as fields. All text when not given.
    pub(crate) parts: Option<Vec<String>>,
    /// The embedding space to fill; `text` when not given. Several spaces with other parts make ablations.
    pub(crate) space: Option<String>,
    /// Whether vectors that are up to date are made again.
    pub(crate) again: bool,
}

/// The fields that come first, in this order.
const FIRST: [&str; 4] = ["title", "description", "caption", "descriptors"];

/// The end of the names of fields that hold an address, which says nothing about the item.
const ADDRESS: &str = "url";

/// The fields that say what an item is: title, description, caption, descriptors, then every other one in the order
/// of the item. With `parts`, these alone in this order. Fields of addresses (their names end in `url`) are left
/// out unless `parts` names them.
pub(crate) fn chosen<'a>(
    fields: &[(&'a str, &'a Json)],
    parts: Option<&[String]>,
) -> Vec<(&'a str, &'a Json)> {
    let find =
        |name: &str| fields.iter().copied().find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some(parts) = parts {
        return parts.iter().filter_map(|name| find(name)).collect();
    }
    let rest = fields.iter().copied().filter(|(name, value)| {
        let name = name.to_ascii_lowercase();
        let tells = matches!(value, Json::String(_) | Json::Array(_));
        tells && !FIRST.contains(&name.as_str()) && !name.ends_with(ADDRESS)
    });
    FIRST.iter().filter_map(|name| find(name)).chain(rest).collect()
}

/// The text of an item from its chosen fields. They are joined by `. `, the members of a list by `, `. Numbers,
/// truth values and objects have no text.
pub(crate) fn text_of(fields: &[(&str, &Json)], parts: Option<&[String]>) -> String {
    let mut text = String::new();
    for (_, value) in chosen(fields, parts) {
        let mut words = Vec::new();
        collect(value, &mut words);
        if words.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str(". ");
        }
        text.push_str(&words.join(", "));
    }
    text
}

/// The pieces of text of a value, through lists of lists.
fn collect<'a>(value: &'a Json, words: &mut Vec<&'a str>) {
    match value {
        Json::String(text) if !text.trim().is_empty() => words.push(text.trim()),
        Json::Array(values) => values.iter().for_each(|value| collect(value, words)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_in_order() {
        let (brand, title, price) = (json!("OPI"), json!(" Nail Lacquer "), json!(3.5));
        let paths = json!([["Beauty", "Makeup"], ["Nails"]]);
        let (caption, descriptors) = (json!("purple shimmer"), json!(["gift", "party"]));
        let (empty, address) = (json!("  "), json!("http://example.org/a.jpg"));
        let fields = [
            ("brand", &brand),
            ("price", &price),
            ("categories", &paths),
            ("description", &empty),
            ("descriptors", &descriptors),
            ("caption", &caption),
            ("title", &title),
            ("image_url", &address),
        ];
        assert_eq!(
            text_of(&fields, None),
            "Nail Lacquer. purple shimmer. gift, party. OPI. Beauty, Makeup, Nails"
        );
        let parts = ["categories".to_owned(), "Title".to_owned(), "missing".to_owned()];
        assert_eq!(text_of(&fields, Some(&parts)), "Beauty, Makeup, Nails. Nail Lacquer");
        assert_eq!(text_of(&[], None), "");
    }
}
