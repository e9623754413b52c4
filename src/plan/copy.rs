//! COPY: files, formats and their options.

use serde::{Deserialize, Serialize};
use sidql_grammar::ast;

use super::bind::Catalog;
use super::operand;
use super::relation::Relation;
use super::select::{self, Select};
use crate::error::{Error, Result};
use crate::job::import::{Into, Layout, Options, Spec};
use crate::options;

/// A resolved COPY … TO.
#[derive(Debug)]
pub(crate) struct Export {
    /// The rows.
    pub(crate) select: Select,
    /// The file.
    pub(crate) file: String,
    /// How to write it.
    pub(crate) options: ExportOptions,
}

/// Options of COPY … TO.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExportOptions {
    /// The format; by itself told by the extension.
    pub(crate) format: Option<String>,
    /// For csv and tsv: whether the first record names the columns.
    pub(crate) header: Option<bool>,
    /// For csv: what stands between fields.
    pub(crate) delimiter: Option<String>,
    /// For csv and tsv: the text that means null.
    pub(crate) null: Option<String>,
}

/// Resolves a COPY … FROM.
pub(crate) fn plan_from(catalog: &Catalog<'_>, copy: &ast::CopyFrom) -> Result<Spec> {
    let at = |error: Error| error.at(copy.into.span.clone());
    let into = match Relation::find(&copy.into.node).map_err(at)? {
        Relation::Items => Into::Items,
        Relation::Interactions => Into::Interactions,
        other => {
            let message = format!("{} cannot be imported", other.name());
            return Err(at(
                Error::input("not-writable", message).help("items and interactions can")
            ));
        }
    };
    let options: Options = options::config(&operand::options(catalog, &copy.with)?)?;
    if into == Into::Items && options.layout == Layout::Sequences {
        return Err(at(Error::input("bad-option", "items do not come as sequences")
            .help("the layout `sequences` is one of interactions")));
    }
    let file = operand::text(catalog, &copy.file.node, &copy.file.span)?;
    // The job may run long after the working directory has changed.
    let file = std::path::absolute(&file).map_err(|error| {
        Error::input("bad-path", format!("{file}: {error}")).at(copy.file.span.clone())
    })?;
    if !file.is_file() {
        let message = format!("there is no file `{}`", file.display());
        return Err(Error::input("no-file", message).at(copy.file.span.clone()));
    }
    if options.layout == Layout::Rows {
        crate::format::format_of(&file, options.format.as_deref())
            .map_err(|error| error.at(copy.file.span.clone()))?;
    }
    Ok(Spec { into, file, options })
}

/// Resolves a COPY … TO.
pub(crate) fn plan_to(catalog: &Catalog<'_>, copy: &ast::CopyTo) -> Result<Export> {
    let options: ExportOptions = options::config(&operand::options(catalog, &copy.with)?)?;
    let file = operand::text(catalog, &copy.file.node, &copy.file.span)?;
    crate::format::format_of(std::path::Path::new(&file), options.format.as_deref())
        .map_err(|error| error.at(copy.file.span.clone()))?;
    Ok(Export { select: select::plan(catalog, &copy.select)?, file, options })
}
