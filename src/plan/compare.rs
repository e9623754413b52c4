//! COMPARE CODEBOOK: which generations, of which items, and what of them is shown.

use sidql_grammar::ast;
use sidql_storage::Generation;

use super::bind::Catalog;
use super::operand;
use super::select::{self, Select};
use crate::error::{Error, Result};
use crate::options;

/// A resolved COMPARE CODEBOOK.
#[derive(Clone, Debug)]
pub(crate) struct CompareCodebooks {
    /// The one generation.
    pub(crate) left: Generation,
    /// The other.
    pub(crate) right: Generation,
    /// The items that are compared; all without it.
    pub(crate) only: Option<Select>,
    /// What is shown.
    pub(crate) options: CompareOptions,
}

/// Options of COMPARE CODEBOOK.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct CompareOptions {
    /// Whether items are shown in place of figures.
    pub(crate) rows: bool,
    /// The level at which items are together in the one codebook and parted in the other; by itself the second, or
    /// the last where there are fewer.
    pub(crate) level: Option<usize>,
    /// Prefixes that are shown.
    pub(crate) cases: usize,
    /// Items that are shown of each.
    pub(crate) items: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { rows: false, level: None, cases: 10, items: 4 }
    }
}

/// Resolves COMPARE CODEBOOK.
pub(crate) fn codebooks(
    catalog: &Catalog<'_>,
    compare: &ast::CompareCodebooks,
) -> Result<CompareCodebooks> {
    let left = generation(catalog, &compare.left)?;
    let right = generation(catalog, &compare.right)?;
    let only = match &compare.filter {
        Some(filter) => Some(select::plan_filter(catalog, Some(filter))?),
        None => None,
    };
    let given = operand::options(catalog, &compare.with)?;
    let options: CompareOptions = options::config(&given)?;
    let deepest = usize::from(left.levels.min(right.levels));
    if let Some(level) = options.level
        && !(1..=deepest).contains(&level)
    {
        let message = format!("option `level` must lie between 1 and {deepest}, not {level}");
        let error = Error::input("bad-option", message);
        let span = given.iter().find(|option| option.name == "level").map(|one| one.span.clone());
        return Err(match span {
            Some(span) => error.at(span),
            None => error,
        });
    }
    Ok(CompareCodebooks { left, right, only, options })
}

/// The generation that is named, else the published one.
fn generation(catalog: &Catalog<'_>, of: &ast::GenerationOf) -> Result<Generation> {
    let at = |error: Error| error.at(of.codebook.span.clone());
    let Some(ordinal) = &of.generation else {
        return catalog.generation(Some(&of.codebook.node), None).map_err(at);
    };
    let codebook = catalog.codebook(&of.codebook.node).map_err(at)?;
    let wanted = u32::try_from(ordinal.node).unwrap_or(u32::MAX);
    catalog.ready_generation(&codebook, wanted).map_err(|error| error.at(ordinal.span.clone()))
}
