//! NEAR: the target, and the space that it is near in.

use sidql_grammar::ast::{self, NearTarget};
use sidql_storage::{GenerationNo, Space};

use super::bind::Catalog;
use super::operand;
use super::relation::Relation;
use super::search::Search;
use crate::enrich::image::Reference;
use crate::error::{Error, Result};
use crate::value::{Sid, Value};

/// Ranking by similarity to a target.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    /// The embedding space.
    pub(crate) space: Space,
    /// What to be near to.
    pub(crate) target: Target,
    /// How it is searched.
    pub(crate) search: Search,
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
    Ok(Near { space, target, search: Search::flat("") })
}
