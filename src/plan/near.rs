//! NEAR: the target, and the space that it is near in.

use serde::{Deserialize, Serialize};
use sidql_grammar::ast::{self, NearTarget, WithOption};
use sidql_grammar::span::Span;
use sidql_storage::{GenerationNo, Space};

use super::bind::Catalog;
use super::operand;
use super::relation::Relation;
use crate::enrich::image::Reference;
use crate::error::{Error, Result};
use crate::index::sid::Effort;
use crate::options;
use crate::value::{Sid, Value};

/// Ranking by similarity to a target.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    /// The embedding space.
    pub(crate) space: Space,
    /// What to be near to.
    pub(crate) target: Target,
    /// How it is searched.
    pub(crate) index: Index,
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
}

/// Prefixes that `sid` visits unless told.
const NPROBE: usize = 64;
/// Candidates that `sid` compares exactly unless told: so many for each row wanted …
const RERANK_EACH: usize = 10;
/// … and at least these.
const RERANK_LEAST: usize = 200;

/// Options of NEAR.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What is searched.
    index: IndexName,
    /// Prefixes visited.
    nprobe: Option<usize>,
    /// Candidates compared exactly.
    rerank: Option<usize>,
}

/// The names of the indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IndexName {
    #[default]
    Flat,
    Sid,
}

/// What NEAR measures from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    /// The vector of an item, by id.
    Item(String),
    /// A vector.
    Vector(Vec<f32>),
    /// A text, embedded by the encoder of the space.
    Text(String),
    /// A photo, in a file, on the net or as bytes, embedded by the encoder of the space.
    Photo(Reference),
    /// A SID: tree first, codewords next.
    Sid {
        /// The SID or prefix.
        sid: Sid,
        /// The generation it is read in.
        generation: GenerationNo,
    },
}

impl Target {
    /// Whether it names a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Target::Photo(Reference::File(_)))
    }
}

pub(super) fn plan(catalog: &Catalog<'_>, relation: Relation, near: &ast::Near) -> Result<Near> {
    let span = near.target.span.clone();
    if relation != Relation::Items {
        return Err(Error::input("bad-near", "only items have embeddings to be near by").at(span));
    }
    let mut space = match &near.space {
        Some(name) => Some(catalog.space(&name.node).map_err(|e| e.at(name.span.clone()))?),
        None => None,
    };
    let target = match &near.target.node {
        NearTarget::Vector(vector) => Target::Vector(vector.iter().map(|x| *x as f32).collect()),
        NearTarget::Text(text) => Target::Text(operand::text(catalog, text, &span)?),
        NearTarget::Image(photo) => Target::Photo(match operand::value(catalog, photo, &span)? {
            Value::Bytes(bytes) => Reference::Bytes(bytes),
            Value::Text(text) => Reference::of(&text, None),
            other => {
                let found = other.type_name();
                let message =
                    format!("NEAR IMAGE takes a file, an address or bytes, not a {found}");
                return Err(Error::input("type-mismatch", message).at(span));
            }
        }),
        NearTarget::Operand(what) => match operand::value(catalog, what, &span)? {
            Value::Text(id) => Target::Item(id),
            Value::Vector(vector) => Target::Vector(vector),
            Value::Sid(sid) => {
                let generation = catalog.generation(None, None).map_err(|e| e.at(span.clone()))?;
                if space.is_none() {
                    let codebook = catalog.codebook(&generation.codebook)?;
                    // SIDs that came from elsewhere were made of no space of ours.
                    if generation.artefact.is_some() {
                        space = Some(catalog.space(&codebook.space)?);
                    }
                }
                Target::Sid { sid, generation: generation.number }
            }
            other => {
                let message = format!(
                    "NEAR takes an item id, a sid, a vector, TEXT '…' or IMAGE '…', not a {}",
                    other.type_name()
                );
                return Err(Error::input("type-mismatch", message).at(span));
            }
        },
    };
    let space = match space {
        Some(space) => space,
        None if matches!(target, Target::Text(_)) => catalog.space("text")?,
        None if matches!(target, Target::Photo(_)) => {
            catalog.photo_space().map_err(|e| e.at(span.clone()))?
        }
        None => catalog.default_space().map_err(|e| e.at(span.clone()))?,
    };
    if let Target::Vector(vector) = &target
        && vector.len() != space.dim as usize
    {
        let message = format!(
            "the vector has {} components, space `{}` has {}",
            vector.len(),
            space.name,
            space.dim
        );
        return Err(Error::input("wrong-dimension", message).at(span));
    }
    Ok(Near { space, target, index: Index::Flat })
}

/// Resolves the options of a NEAR that gives so many rows.
pub(super) fn index(
    catalog: &Catalog<'_>,
    near: &Near,
    with: &[WithOption],
    wanted: usize,
) -> Result<Index> {
    let Some(span) = span_of(with) else { return Ok(Index::Flat) };
    let at = |error: Error| error.at(span.clone());
    let options: Options = options::config(&operand::options(catalog, with)?)?;
    if matches!(near.target, Target::Sid { .. }) {
        let message = "NEAR a sid goes by the tree itself and takes no options";
        return Err(at(Error::input("needless-options", message)));
    }
    for (name, given) in [("nprobe", options.nprobe), ("rerank", options.rerank)] {
        let Some(given) = given else { continue };
        if options.index == IndexName::Flat {
            let message = format!("option `{name}` says nothing to index 'flat', which is exact");
            return Err(at(Error::input("needless-options", message)
                .help(format!("WITH (index = 'sid', {name} = {given})"))));
        }
        if given == 0 {
            return Err(at(Error::input("bad-option", format!("option `{name}` is at least 1"))));
        }
    }
    if options.index == IndexName::Flat {
        return Ok(Index::Flat);
    }
    let generation = catalog.generation_over(&near.space).map_err(at)?;
    let codebook = generation.codebook;
    if generation.source_hash != near.space.source_hash {
        let space = &near.space.name;
        let message = format!("codebook `{codebook}` was made from earlier vectors of `{space}`");
        return Err(at(Error::input("stale-codebook", message)
            .help(format!("REBUILD CODEBOOK {codebook}; or search with index = 'flat'"))));
    }
    let most = wanted.saturating_mul(RERANK_EACH).max(RERANK_LEAST);
    let effort = Effort {
        wanted,
        nprobe: options.nprobe.unwrap_or(NPROBE),
        rerank: options.rerank.unwrap_or(most).max(wanted),
    };
    Ok(Index::Sid { codebook, generation: generation.number, effort })
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
