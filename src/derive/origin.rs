//! Provenance: what made a derived value, written once and named by its number in every value.

use serde_json::{Map, Value as Json};
use sidql_storage::{Origin, OriginNo, Write, origins};

use crate::clock::now_ms;
use crate::enrich::prompt::Words;
use crate::error::Result;

/// Options that change how a value is got, but not what it is.
const PASSING: &[&str] =
    &["again", "space", "repairs", "image_timeout", "image_mib", "allow_private", "base"];

/// The kind of a maker that takes values over from a metadata field, whose name stands as the model.
pub(crate) const FIELD: &str = "field";
/// The kind of a maker that asks nobody.
pub(crate) const RULE: &str = "rule";

/// Who makes values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maker {
    /// The name of the model; empty where none is asked.
    pub(crate) model: String,
    /// Its kind; or `FIELD`, `RULE`, or that of a fusion.
    pub(crate) kind: String,
    /// What tells its weights from others.
    pub(crate) fingerprint: String,
}

/// The number of an origin, which is written if it is new.
pub(crate) fn intern(
    write: &Write,
    stage: &str,
    maker: &Maker,
    words: Option<&Words>,
    options: &Json,
) -> Result<OriginNo> {
    let parameters: Map<String, Json> = options
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| !PASSING.contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Ok(origins::intern(
        write,
        &Origin {
            stage: stage.to_owned(),
            model: maker.model.clone(),
            kind: maker.kind.clone(),
            fingerprint: maker.fingerprint.clone(),
            prompt: words.map(|words| words.name.clone()).unwrap_or_default(),
            prompt_hash: words.map(|words| words.hash.clone()).unwrap_or_default(),
            parameters: Json::Object(parameters).to_string(),
            created_ms: now_ms(),
            ..Origin::default()
        },
    )?)
}
