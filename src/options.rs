//! `WITH (name = value, …)` to typed configuration.
//!
//! A configuration is a struct with `Default`, `Serialize` and `Deserialize`; its defaults tell which
//! names exist. Unknown names and wrong types are refused here, so that past the planner no code looks
//! at a string option again.

use std::ops::Range;

use documented::DocumentedFieldsOpt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};

/// One option as it was typed: name, value, and where it stands in the statement.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The name.
    pub(crate) name: String,
    /// The value as JSON.
    pub(crate) value: Json,
    /// The byte range of the name in the statement.
    pub(crate) span: Range<usize>,
}

/// Reads the given options over the defaults of `T`.
///
/// # Errors
/// An unknown name (with the nearest known one), a name given twice, or a value of the wrong type.
pub(crate) fn config<T: Default + Serialize + DeserializeOwned>(given: &[Given]) -> Result<T> {
    let mut fields = fields_of(&T::default())?;
    let mut seen: Vec<&str> = Vec::new();
    for option in given {
        if !fields.contains_key(&option.name) {
            let known = fields.keys().map(String::as_str);
            return Err(Error::unknown("option", &option.name, known).at(option.span.clone()));
        }
        if seen.contains(&option.name.as_str()) {
            let message = format!("option `{}` is given twice", option.name);
            return Err(Error::input("duplicate-option", message).at(option.span.clone()));
        }
        seen.push(&option.name);
        let before = fields.insert(option.name.clone(), option.value.clone());
        // Reading after each option puts the caret under the one that is wrong.
        if let Err(error) = serde_json::from_value::<T>(Json::Object(fields.clone())) {
            let default = before.unwrap_or(Json::Null);
            let message = format!("option `{}`: {}", option.name, plain(&error.to_string()));
            return Err(Error::input("bad-option", message)
                .help(format!("the default is {default}"))
                .at(option.span.clone()));
        }
    }
    Ok(serde_json::from_value(Json::Object(fields))?)
}

/// What serde says, in the words of the language.
fn plain(message: &str) -> String {
    let numbers = ["usize", "u16", "u32", "u64", "i32", "i64"];
    let mut text =
        message.replace("invalid type: ", "found the ").replace("invalid value: ", "found the ");
    text = text.replace("unknown variant", "found").replace("integer", "number");
    for name in numbers {
        text = text.replace(&format!("expected {name}"), "expected a whole number");
    }
    for name in ["f32", "f64"] {
        text = text.replace(&format!("expected {name}"), "expected a number");
    }
    text.replace("floating point", "number")
        .replace("string", "text")
        .replace("a boolean", "true or false")
}

/// Reads the given options over the defaults of `T`, checks their ranges, and gives all of them: what the `config`
/// of a kind is made of.
pub(crate) fn checked<T: Default + Serialize + DeserializeOwned>(
    given: &[Given],
    check: impl FnOnce(&T) -> Result<()>,
) -> Result<Map<String, Json>> {
    let read: T = config(given)?;
    check(&read).map_err(|error| match given {
        [] => error,
        [first, .., last] => error.at(first.span.start..last.span.end),
        [one] => error.at(one.span.clone()),
    })?;
    fields_of(&read)
}

/// Options by name, each with what its documentation says.
pub(crate) type Meanings = Vec<(&'static str, String)>;

/// What the options of a configuration mean: the comments on its fields.
///
/// A field that is flattened has none, and its own type is asked as well.
pub(crate) fn meanings<T: DocumentedFieldsOpt>() -> Meanings {
    let fields = T::FIELD_NAMES.iter().zip(T::FIELD_DOCS);
    fields.filter_map(|(name, text)| Some((*name, sentence((*text)?)))).collect()
}

/// A comment of several lines, in the manner of the other cells: no capital, no full stop.
fn sentence(comment: &str) -> String {
    let line = comment.trim().trim_end_matches('.').replace('\n', " ");
    let mut letters = line.chars();
    match (letters.next(), letters.next()) {
        (Some(first), second) if second.is_none_or(|letter| !letter.is_uppercase()) => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line,
    }
}

/// The names and default values of a configuration, in the order of its fields.
pub(crate) fn fields_of<T: Serialize>(config: &T) -> Result<Map<String, Json>> {
    match serde_json::to_value(config)? {
        Json::Object(fields) => Ok(fields),
        other => Err(Error::internal(format!("a configuration must be a struct, not {other}"))),
    }
}
