//! By which index NEAR finds neighbours: what the statement says, or what the size of the space and the filter suggest.

use serde::{Deserialize, Serialize};
use sidql_grammar::ast::WithOption;
use sidql_grammar::span::Span;
use sidql_storage::{GenerationNo, View, indexes};

use super::bind::Catalog;
use super::near::{Near, Target};
use super::operand;
use super::scope::Source;
use super::select::{Access, Select};
use crate::count::counted;
use crate::error::{Error, Result};
use crate::index::sid::{Effort, NPROBE};
use crate::index::{self, Look};
use crate::{kind, options};

/// Up to so many vectors, comparing them all takes a moment.
pub(crate) const FEW_VECTORS: u64 = 50_000;
/// Where an access path leaves at most so many items, they are compared one by one.
pub(crate) const FEW_ITEMS: u64 = 20_000;

/// Candidates that `sid` compares exactly unless told: so many for each row wanted …
const RERANK_EACH: usize = 10;
/// … and at least these.
const RERANK_LEAST: usize = 200;

/// How neighbours are found, and why so.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// By what.
    pub(crate) by: Index,
    /// Why, in a few words.
    pub(crate) why: String,
    /// Whether the statement says so itself.
    pub(crate) said: bool,
}

/// By which index the neighbours of a vector are found.
#[derive(Clone, Debug)]
pub(crate) enum Index {
    /// Every vector is compared.
    Flat,
    /// Prefixes of the SID tree are visited, and the vectors of their nearest items compared.
    Sid {
        /// The codebook, for `EXPLAIN`.
        codebook: String,
        /// The generation.
        generation: GenerationNo,
        /// How far to look.
        effort: Effort,
    },
    /// An index that CREATE INDEX made.
    Built {
        /// Its record.
        index: Box<sidql_storage::Index>,
        /// How far to look.
        look: Look,
    },
}

impl Search {
    /// Every vector is compared.
    pub(crate) fn flat(why: impl Into<String>) -> Search {
        Search { by: Index::Flat, why: why.into(), said: false }
    }
}

/// Options of NEAR.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What is searched: `flat`, `sid`, or the name of an index.
    index: Option<String>,
    /// Prefixes or cells visited.
    nprobe: Option<usize>,
    /// Candidates that a graph keeps open.
    ef_search: Option<usize>,
    /// Candidates compared exactly.
    rerank: Option<usize>,
}

impl Options {
    /// Those that say how far to look, as they were given.
    fn given(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let all = [("nprobe", self.nprobe), ("ef_search", self.ef_search), ("rerank", self.rerank)];
        all.into_iter().filter_map(|(name, given)| Some((name, given?)))
    }

    fn look(&self) -> Look {
        Look { nprobe: self.nprobe, ef_search: self.ef_search, rerank: self.rerank }
    }
}

/// Decides how a NEAR searches that gives so many rows.
pub(super) fn plan(
    catalog: &Catalog<'_>,
    near: &Near,
    select: &Select,
    with: &[WithOption],
    wanted: usize,
) -> Result<Search> {
    let span = span_of(with);
    let at = |error: Error| match &span {
        Some(span) => error.at(span.clone()),
        None => error,
    };
    let options: Options = options::config(&operand::options(catalog, with)?)?;
    if matches!(near.target, Target::Sid { .. }) {
        if span.is_some() {
            let message = "NEAR a sid goes by the tree itself and takes no options";
            return Err(at(Error::input("needless-options", message)));
        }
        return Ok(Search::flat("the tree first, then the codewords"));
    }
    for (name, given) in options.given() {
        if given == 0 {
            return Err(at(Error::input("bad-option", format!("option `{name}` is at least 1"))));
        }
    }
    let search = match &options.index {
        Some(name) => said(catalog, near, name, &options, wanted).map_err(at)?,
        None => chosen(catalog, near, select, &options, wanted)?,
    };
    let needless = |(name, _): &(&str, usize)| match search.by {
        Index::Flat => search.said || options.index.is_none(),
        Index::Sid { .. } => *name == "ef_search",
        Index::Built { .. } => false,
    };
    if let Some((name, given)) = options.given().find(needless) {
        let (by, help) = match search.by {
            Index::Flat => {
                ("'flat', which is exact", format!("WITH (index = 'sid', {name} = {given})"))
            }
            _ => ("'sid'", "`nprobe` and `rerank` are its options".to_owned()),
        };
        let message = format!("option `{name}` says nothing to index {by}");
        return Err(at(Error::input("needless-options", message).help(help)));
    }
    Ok(search)
}

/// What a statement says, or what comes nearest to it where this build and this state of the file cannot do so.
fn said(
    catalog: &Catalog<'_>,
    near: &Near,
    name: &str,
    options: &Options,
    wanted: usize,
) -> Result<Search> {
    let by = named(catalog, near, name, options, wanted)?;
    if let Index::Built { index, .. } = &by
        && let Some(reason) = unusable(near, index)?
    {
        return Ok(without(catalog, near, options, wanted, format!("index `{name}` {reason}")));
    }
    Ok(Search { by, why: "as the statement says".to_owned(), said: true })
}

/// The index that a statement names.
fn named(
    catalog: &Catalog<'_>,
    near: &Near,
    name: &str,
    options: &Options,
    wanted: usize,
) -> Result<Index> {
    let space = &near.space;
    match name.to_lowercase().as_str() {
        "flat" => return Ok(Index::Flat),
        "sid" => return by_sids(catalog, near, options, wanted),
        _ => {}
    }
    let Some(index) = indexes::get(catalog.view, name)? else {
        let known = indexes::of(catalog.view, &space.name)?;
        let known =
            ["flat", "sid"].into_iter().chain(known.iter().map(|index| index.name.as_str()));
        return Err(Error::unknown("index", name, known));
    };
    if index.space != space.name {
        let message = format!("index `{name}` is on space `{}`", index.space);
        return Err(Error::input("other-space", message)
            .help(format!("NEAR … IN {}, or an index on `{}`", index.space, space.name)));
    }
    if index.built_ms.is_none() {
        return Err(Error::input("not-built", format!("index `{name}` is not built yet"))
            .help(format!("REBUILD INDEX {name};")));
    }
    Ok(Index::Built { index: Box::new(index), look: options.look() })
}

/// The SID tree of the published codebook over the space.
fn by_sids(catalog: &Catalog<'_>, near: &Near, options: &Options, wanted: usize) -> Result<Index> {
    let generation = catalog.generation_over(&near.space)?;
    let codebook = generation.codebook;
    if generation.source_hash != near.space.source_hash {
        let space = &near.space.name;
        let message = format!("codebook `{codebook}` was made from earlier vectors of `{space}`");
        return Err(Error::input("stale-codebook", message)
            .help(format!("REBUILD CODEBOOK {codebook}; or search with index = 'flat'")));
    }
    let most = wanted.saturating_mul(RERANK_EACH).max(RERANK_LEAST);
    let effort = Effort {
        wanted,
        nprobe: options.nprobe.unwrap_or(NPROBE),
        rerank: options.rerank.unwrap_or(most).max(wanted),
    };
    Ok(Index::Sid { codebook, generation: generation.number, effort })
}

/// The index that size and filter suggest.
fn chosen(
    catalog: &Catalog<'_>,
    near: &Near,
    select: &Select,
    options: &Options,
    wanted: usize,
) -> Result<Search> {
    let count = near.space.count;
    if count <= FEW_VECTORS {
        let vectors = counted(count as usize, "vector");
        return Ok(Search::flat(format!("{vectors} are soon compared")));
    }
    if select.filter.is_some() && is_narrow(select) {
        let items = counted(select.expected as usize, "item");
        return Ok(Search::flat(format!("the filter leaves at most {items}")));
    }
    let mut why = "there is no index on the space".to_owned();
    for index in indexes::of(catalog.view, &near.space.name)? {
        match unfit(catalog.view, near, &index)? {
            None => {
                let why = format!("a current index of {}", counted(index.rows as usize, "vector"));
                let by = Index::Built { index: Box::new(index), look: options.look() };
                return Ok(Search { by, why, said: false });
            }
            Some(reason) => why = format!("index `{}` {reason}", index.name),
        }
    }
    Ok(without(catalog, near, options, wanted, why))
}

/// What is searched where no index can be: the SID tree of a large space, or else every vector.
fn without(
    catalog: &Catalog<'_>,
    near: &Near,
    options: &Options,
    wanted: usize,
    why: String,
) -> Search {
    if near.space.count <= FEW_VECTORS {
        return Search::flat(why);
    }
    match by_sids(catalog, near, options, wanted) {
        Ok(by) => Search { by, why: format!("{why}, but a published codebook"), said: false },
        // No codebook, or several: what is exact needs none.
        Err(_) => Search::flat(why),
    }
}

/// Why an index is not chosen by itself; nothing where it may be.
fn unfit(view: &dyn View, near: &Near, index: &sidql_storage::Index) -> Result<Option<String>> {
    if let Some(reason) = unusable(near, index)? {
        return Ok(Some(reason));
    }
    let changed = sidql_storage::changes::revision(view, &near.space)? > index.revision;
    // The number of vectors tells without a walk through all blocks when most have come since.
    let fits = !changed || index.rows.saturating_mul(2) >= near.space.count;
    Ok((!fits).then(|| "was built when there were less than half the vectors".to_owned()))
}

/// Why an index cannot be searched at all in this build and state of the file; nothing where it can.
pub(crate) fn unusable(near: &Near, index: &sidql_storage::Index) -> Result<Option<String>> {
    let kind = kind::find(index::KINDS, "index kind", &index.kind)?;
    let available = kind.made.as_ref().is_some_and(|made| made.available);
    Ok(if !available {
        Some(format!("is of kind `{}`, which this build has not", kind.name))
    } else if index.built_ms.is_none() {
        Some("is not built yet".to_owned())
    } else if index.space_number != near.space.number {
        Some("was built from earlier vectors of the space".to_owned())
    } else {
        None
    })
}

/// Whether the access path of a filter itself leaves few items.
pub(crate) fn is_narrow(select: &Select) -> bool {
    !matches!(select.access, Access::Scan | Access::Sids(_))
        && select.expected <= FEW_ITEMS
        && !asks_score(select)
}

/// Whether the filter asks how near an item is, so that it cannot be evaluated before that is known.
pub(crate) fn asks_score(select: &Select) -> bool {
    let score = select.sources.iter().position(|source| *source == Source::Score);
    score.is_some_and(|at| select.filter.as_ref().is_some_and(|filter| filter.reads(at)))
}

/// Refuses options where nothing is NEAR.
pub(super) fn no_options(with: &[WithOption]) -> Result<()> {
    let Some(span) = span_of(with) else { return Ok(()) };
    let message = "WITH tells how NEAR searches, and this SELECT has no NEAR";
    Err(Error::input("needless-options", message).at(span))
}

/// Where the options stand; nothing where there are none.
fn span_of(with: &[WithOption]) -> Option<Span> {
    Some(with.first()?.name.span.start..with.last()?.value.span.end)
}
