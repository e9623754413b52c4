//! CREATE MODEL and DROP MODEL; COMPARE LABELS.

use serde_json::Value as Json;
use sidql_grammar::ast::{self, Name};
use sidql_storage::{Model, models};

use super::bind::Catalog;
use super::define::{check_name, taken};
use super::operand;
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::kind;
use crate::model;
use crate::options;

/// Resolves CREATE MODEL. The fingerprint is found when it runs.
pub(crate) fn create(catalog: &Catalog<'_>, create: &ast::CreateModel) -> Result<Model> {
    check_name(&create.name.node, "model").map_err(|e| e.at(create.name.span.clone()))?;
    if models::get(catalog.view, &create.name.node)?.is_some() {
        return Err(taken("model", &create.name));
    }
    let kind = kind::find(model::KINDS, "kind of model", &create.using.node)
        .map_err(|error| error.at(create.using.span.clone()))?;
    let config = (kind.config)(&operand::options(catalog, &create.with)?)?;
    Ok(Model {
        name: create.name.node.clone(),
        kind: kind.name.to_owned(),
        config: Json::Object(config).to_string(),
        created_ms: now_ms(),
        ..Model::default()
    })
}

/// Whether a model's options name a file or a folder of this machine.
pub(crate) fn names_files(model: &Model) -> bool {
    let config: Json = serde_json::from_str(&model.config).unwrap_or_default();
    config["path"].as_str().is_some()
}

/// A model that exists.
pub(crate) fn named(catalog: &Catalog<'_>, name: &Name) -> Result<Model> {
    catalog.model(&name.node).map_err(|error| error.at(name.span.clone()))
}

/// A resolved COMPARE LABELS.
#[derive(Clone, Debug)]
pub(crate) struct CompareLabels {
    /// The file with the labels of people.
    pub(crate) file: String,
    /// How it is read.
    pub(crate) options: LabelOptions,
}

/// Options of COMPARE LABELS.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct LabelOptions {
    /// The field of the file with the item's id.
    pub(crate) id: String,
    /// The field with the descriptor.
    pub(crate) descriptor: String,
    /// The field with the label, 0 or 1.
    pub(crate) label: String,
    /// The format of the file, where its name does not tell.
    pub(crate) format: Option<String>,
}

impl Default for LabelOptions {
    fn default() -> Self {
        LabelOptions {
            id: "id".to_owned(),
            descriptor: "descriptor".to_owned(),
            label: "label".to_owned(),
            format: None,
        }
    }
}

/// Resolves COMPARE LABELS.
pub(crate) fn compare_labels(
    catalog: &Catalog<'_>,
    compare: &ast::CompareLabels,
) -> Result<CompareLabels> {
    let file = operand::text(catalog, &compare.file.node, &compare.file.span)?;
    let options: LabelOptions = options::config(&operand::options(catalog, &compare.with)?)?;
    if let Some(format) = &options.format {
        let span = compare.with.iter().find(|with| with.name.node.eq_ignore_ascii_case("format"));
        kind::find(crate::format::FORMATS, "format", format).map_err(
            |error: Error| match span {
                Some(with) => error.at(with.value.span.clone()),
                None => error,
            },
        )?;
    }
    Ok(CompareLabels { file, options })
}
