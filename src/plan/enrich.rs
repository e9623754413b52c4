//! ENRICH: the stage, the encoder, the items.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_grammar::ast;
use sidql_storage::spaces;

use super::bind::Catalog;
use super::operand;
use super::relation::Relation;
use super::select::{self, Select};
use crate::derive::{Recipe, Stage};
use crate::error::{Error, Result};
use crate::job::enrich::Spec;
use crate::kind;
use crate::model;

/// A resolved ENRICH.
pub(crate) struct Enrich {
    /// What to make; the items of a filter are put in when it has run.
    pub(crate) spec: Spec,
    /// The items, with WHERE.
    pub(crate) only: Option<Select>,
    /// `IN BACKGROUND`
    pub(crate) background: bool,
}

/// Options of `ENRICH … BY fused`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FusedOptions {
    /// The components of a fused vector, by principal components; all of them when not given.
    pub(crate) dim: Option<usize>,
}

/// The encoder of `ENRICH … BY text` without USING.
const DEFAULT_ENCODER: &str = "hash";

/// Resolves an ENRICH.
pub(crate) fn plan(catalog: &Catalog<'_>, enrich: &ast::Enrich) -> Result<Enrich> {
    let relation =
        Relation::find(&enrich.relation.node).map_err(|e| e.at(enrich.relation.span.clone()))?;
    if relation != Relation::Items {
        return Err(Error::input("not-enrichable", "only items are enriched")
            .at(enrich.relation.span.clone()));
    }
    let mut given = operand::options(catalog, &enrich.with)?;
    let parts = operand::take(&mut given, "parts").map(|option| parts_of(&option)).transpose()?;
    let stage = enrich.stage.node.to_lowercase();
    let (encoder, recipe) = match stage.as_str() {
        "text" => {
            check_fields(catalog, enrich, parts.as_deref())?;
            let using = enrich.using.as_ref();
            let name = using.map_or(DEFAULT_ENCODER, |name| &name.node);
            let kind = kind::find(model::KINDS, "model", name).map_err(|error| match using {
                Some(name) => error.at(name.span.clone()),
                None => error,
            })?;
            let options = Json::Object((kind.config)(&given)?);
            (kind.name, Recipe { stage: Stage::Text, parts, options, made_from: Vec::new() })
        }
        "fused" => {
            if let Some(name) = &enrich.using {
                return Err(Error::input("needless-encoder", "fusing needs no encoder")
                    .help("leave USING out")
                    .at(name.span.clone()));
            }
            let options: FusedOptions = crate::options::config(&given)?;
            let options = json!(options);
            ("fusion", Recipe { stage: Stage::Fused, parts, options, made_from: Vec::new() })
        }
        other => {
            let error = Error::unknown("stage", other, ["text", "fused"]);
            return Err(error.at(enrich.stage.span.clone()));
        }
    };
    let only = match &enrich.filter {
        None => None,
        Some(filter) => {
            if spaces::get(catalog.view, &stage)?.is_none() {
                let message =
                    format!("space `{stage}` does not exist yet, so it is made for all items");
                return Err(Error::input("no-space", message)
                    .help(format!("ENRICH items BY {stage}; without WHERE first"))
                    .at(filter.span.clone()));
            }
            Some(select::plan_filter(catalog, Some(filter))?)
        }
    };
    let spec = Spec { space: stage, encoder: encoder.to_owned(), recipe, only: None };
    Ok(Enrich { spec, only, background: enrich.background })
}

fn parts_of(option: &crate::options::Given) -> Result<Vec<String>> {
    let wrong = || {
        Error::input("bad-option", "option `parts` is a list of names: ['title', 'brand']")
            .at(option.span.clone())
    };
    let list = option.value.as_array().ok_or_else(wrong)?;
    list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

fn check_fields(
    catalog: &Catalog<'_>,
    enrich: &ast::Enrich,
    parts: Option<&[String]>,
) -> Result<()> {
    for part in parts.unwrap_or_default() {
        if catalog.field(part).is_none() {
            let known = catalog.fields().iter().map(|field| field.name.as_str());
            return Err(Error::unknown("field", part, known).at(enrich.stage.span.clone()));
        }
    }
    Ok(())
}
