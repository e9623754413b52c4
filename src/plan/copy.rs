//! COPY: files, formats and their options.

use std::path::PathBuf;

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use sidql_grammar::ast;
use sidql_storage::{FieldNo, Generation, codebooks, spaces};

use super::bind::Catalog;
use super::define::check_name;
use super::operand;
use super::relation::Relation;
use super::select::{self, Select};
use crate::error::{Error, Result};
use crate::job::import::codes::{self, has_header, not_foreign};
use crate::job::import::embeddings;
use crate::job::import::{FOREIGN, Into, Layout, Options, Spec};
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
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
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
    if copy.into.node.eq_ignore_ascii_case(Relation::Codes.name()) {
        return codes_from(catalog, copy);
    }
    if copy.into.node.eq_ignore_ascii_case("embeddings") {
        return embeddings_from(catalog, copy);
    }
    let into = match Relation::find(&copy.into.node).map_err(at)? {
        Relation::Items => Into::Items,
        Relation::Interactions => Into::Interactions,
        other => {
            let message = format!("{} cannot be imported", other.name());
            return Err(at(Error::input("not-writable", message)
                .help("items, interactions, codes and embeddings can")));
        }
    };
    let options: Options = options::config(&operand::options(catalog, &copy.with)?)?;
    if into == Into::Items && options.layout == Layout::Sequences {
        return Err(at(Error::input("bad-option", "items do not come as sequences")
            .help("the layout `sequences` is one of interactions")));
    }
    let file = file_of(catalog, copy)?;
    if options.layout == Layout::Rows {
        crate::format::format_of(&file, options.format.as_deref())
            .map_err(|error| error.at(copy.file.span.clone()))?;
    }
    Ok(Spec { into, file, options, codes: None, embeddings: None })
}

/// The file of a COPY … FROM, which must be there.
fn file_of(catalog: &Catalog<'_>, copy: &ast::CopyFrom) -> Result<PathBuf> {
    let file = operand::text(catalog, &copy.file.node, &copy.file.span)?;
    there(&file).map_err(|error| error.at(copy.file.span.clone()))
}

/// The whole path of a file that is there: a job may run long after the working directory has changed.
fn there(file: &str) -> Result<PathBuf> {
    let file = std::path::absolute(file)
        .map_err(|error| Error::input("bad-path", format!("{file}: {error}")))?;
    if !file.is_file() {
        let message = format!("there is no file `{}`", file.display());
        return Err(Error::input("no-file", message));
    }
    Ok(file)
}

/// Resolves a COPY codes FROM.
fn codes_from(catalog: &Catalog<'_>, copy: &ast::CopyFrom) -> Result<Spec> {
    let at = |error: Error| error.at(copy.into.span.clone());
    let codes: codes::Options = options::config(&operand::options(catalog, &copy.with)?)?;
    if codes.codebook.is_empty() {
        return Err(at(Error::input("missing-option", "which codebook do the sids belong to?")
            .help("COPY codes FROM '…' WITH (codebook = 'theirs')")));
    }
    check_name(&codes.codebook, "codebook").map_err(at)?;
    if let Some(known) = codebooks::get(catalog.view, &codes.codebook)?
        && known.kind != FOREIGN
    {
        return Err(at(not_foreign(&known.name, &known.kind)));
    }
    if let Some(field) = &codes.id {
        key_field(catalog, field).map_err(at)?;
    }
    let file = file_of(catalog, copy)?;
    let in_file = |error: Error| error.at(copy.file.span.clone());
    let format = crate::format::format_within(&file, codes.format.as_deref()).map_err(in_file)?;
    let header = match (format.name, codes.header) {
        (_, Some(header)) => Some(header),
        (textual @ ("csv" | "tsv"), None) => {
            Some(has_header(&file, textual, codes.delimiter.as_deref()).map_err(in_file)?)
        }
        _ => None,
    };
    let defaults = Options::default();
    let options = Options {
        format: Some(format.name.to_owned()),
        header,
        delimiter: codes.delimiter.clone(),
        on_error: codes.on_error,
        max_errors: codes.max_errors.unwrap_or(defaults.max_errors),
        ..defaults
    };
    Ok(Spec { into: Into::Codes, file, options, codes: Some(codes), embeddings: None })
}

/// Resolves a COPY embeddings FROM.
fn embeddings_from(catalog: &Catalog<'_>, copy: &ast::CopyFrom) -> Result<Spec> {
    let at = |error: Error| error.at(copy.into.span.clone());
    let mut embeddings: embeddings::Options =
        options::config(&operand::options(catalog, &copy.with)?)?;
    if embeddings.space.is_empty() {
        return Err(at(Error::input("missing-option", "which space do the vectors belong to?")
            .help("COPY embeddings FROM '…' WITH (space = 'theirs')")));
    }
    check_name(&embeddings.space, "space").map_err(at)?;
    if let Some(space) = spaces::get(catalog.view, &embeddings.space)? {
        embeddings::check_space(&space).map_err(at)?;
    }
    let file = file_of(catalog, copy)?;
    let format = crate::format::format_of(&file, embeddings.format.as_deref())
        .map_err(|error| error.at(copy.file.span.clone()))?;
    if !matches!(format.name, "npy" | "jsonl" | "parquet") {
        let message = format!("vectors come as npy, jsonl or parquet, not as {}", format.name);
        return Err(Error::input("bad-format", message).at(copy.file.span.clone()));
    }
    match (&mut embeddings.ids, format.name) {
        (Some(ids), "npy") => *ids = there(&ids.display().to_string()).map_err(at)?,
        (Some(_), _) => {
            let message = "records bring their ids; a file of ids is for npy";
            return Err(at(Error::input("bad-option", message)
                .help("WITH (id = '…') names the field that holds it")));
        }
        (None, "npy") => {
            let message = "an npy file has no ids of its own";
            return Err(at(Error::input("missing-option", message).help(
                "WITH (ids = 'ids.txt') names a file of ids, one a line, in the order of the rows",
            )));
        }
        (None, _) => {}
    }
    let defaults = Options::default();
    let options = Options {
        format: Some(format.name.to_owned()),
        on_error: embeddings.on_error,
        max_errors: embeddings.max_errors.unwrap_or(defaults.max_errors),
        ..defaults
    };
    Ok(Spec { into: Into::Embeddings, file, options, codes: None, embeddings: Some(embeddings) })
}

/// The metadata field by which items are told apart; nothing for their ids.
fn key_field(catalog: &Catalog<'_>, name: &str) -> Result<Option<FieldNo>> {
    if name.eq_ignore_ascii_case("id") {
        return Ok(None);
    }
    catalog.field(name).map(|(number, _)| Some(number)).ok_or_else(|| {
        let known = catalog.fields().iter().map(|field| field.name.as_str());
        Error::unknown("field", name, known)
    })
}

/// A resolved COPY codes TO.
#[derive(Debug)]
pub(crate) struct ExportCodes {
    /// The generation.
    pub(crate) generation: Generation,
    /// The field that stands for the id of an item.
    pub(crate) id: Option<FieldNo>,
    /// The file.
    pub(crate) file: String,
    /// The format, by name.
    pub(crate) format: &'static str,
}

/// Options of COPY codes TO.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CodesTo {
    /// The codebook; the one in use where none is given.
    codebook: Option<String>,
    /// The generation; the published one where none is given.
    generation: Option<u32>,
    /// The field that stands for the id of an item.
    id: Option<String>,
    /// The format; by itself told by the extension.
    format: Option<String>,
}

/// Resolves a COPY codes TO; nothing where something else is copied.
pub(crate) fn codes_to(catalog: &Catalog<'_>, copy: &ast::CopyTo) -> Result<Option<ExportCodes>> {
    let from = &copy.select.from;
    if !(copy.select.is_whole() && from.node.eq_ignore_ascii_case(Relation::Codes.name())) {
        return Ok(None);
    }
    let at = |error: Error| error.at(from.span.clone());
    let options: CodesTo = options::config(&operand::options(catalog, &copy.with)?)?;
    let generation =
        catalog.generation(options.codebook.as_deref(), options.generation).map_err(at)?;
    let id = match &options.id {
        Some(name) => key_field(catalog, name).map_err(at)?,
        None => None,
    };
    let file = operand::text(catalog, &copy.file.node, &copy.file.span)?;
    let format = crate::format::format_of(std::path::Path::new(&file), options.format.as_deref())
        .map_err(|error| error.at(copy.file.span.clone()))?;
    Ok(Some(ExportCodes { generation, id, file, format: format.name }))
}

/// Resolves a COPY … TO.
pub(crate) fn plan_to(catalog: &Catalog<'_>, copy: &ast::CopyTo) -> Result<Export> {
    let options: ExportOptions = options::config(&operand::options(catalog, &copy.with)?)?;
    let file = operand::text(catalog, &copy.file.node, &copy.file.span)?;
    crate::format::format_of(std::path::Path::new(&file), options.format.as_deref())
        .map_err(|error| error.at(copy.file.span.clone()))?;
    Ok(Export { select: select::plan(catalog, &copy.select)?, file, options })
}
