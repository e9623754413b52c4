//! DESCRIBE: what is asked about.

use sidql_grammar::ast::{self, SidPattern};
use sidql_storage::{
    Codebook, Generation, Model, PolicyCard, Space, codebooks, generations, spaces,
};

use super::bind::Catalog;
use super::index;
use super::model;
use super::relation::Relation;
use crate::enrich::prompt::{self, Prompt};
use crate::error::{Error, Result};

/// What DESCRIBE tells of.
pub(crate) enum Describe {
    /// A relation and its columns.
    Relation(Relation),
    /// A codebook, and a generation of it: the named one, the published one, or the newest.
    Codebook(Codebook, Option<Generation>),
    /// A policy.
    Policy(PolicyCard),
    /// A member of a registry, by name.
    Kind(String),
    /// A model.
    Model(Model),
    /// A vector index.
    Index(sidql_storage::Index),
    /// A prompt.
    Prompt(&'static Prompt),
    /// A prefix of the SIDs in use.
    Prefix {
        /// The codes.
        prefix: Vec<u16>,
        /// The generation.
        generation: Generation,
        /// The space in which its centre is looked for.
        space: Option<Space>,
    },
}

/// Resolves a DESCRIBE.
pub(crate) fn plan_describe(catalog: &Catalog<'_>, describe: &ast::Describe) -> Result<Describe> {
    Ok(match describe {
        ast::Describe::Relation(name) => {
            Describe::Relation(Relation::find(&name.node).map_err(|e| e.at(name.span.clone()))?)
        }
        ast::Describe::Codebook(of) => {
            let codebook = catalog
                .codebook(&of.codebook.node)
                .map_err(|error| error.at(of.codebook.span.clone()))?;
            let generation = match &of.generation {
                Some(ordinal) => {
                    let wanted = u32::try_from(ordinal.node).unwrap_or(u32::MAX);
                    let found = catalog.ready_generation(&codebook, wanted);
                    Some(found.map_err(|error| error.at(ordinal.span.clone()))?)
                }
                None => match codebook.published {
                    Some(number) => generations::get(catalog.view, number)?,
                    None => generations::of(catalog.view, &codebook.name)?.pop(),
                },
            };
            Describe::Codebook(codebook, generation)
        }
        ast::Describe::Policy(name) => {
            Describe::Policy(catalog.policy(&name.node).map_err(|e| e.at(name.span.clone()))?)
        }
        ast::Describe::Model(name) => Describe::Model(model::named(catalog, name)?),
        ast::Describe::Index(name) => Describe::Index(index::named(catalog, name)?),
        ast::Describe::Prompt(name) => {
            Describe::Prompt(prompt::find(&name.node).map_err(|e| e.at(name.span.clone()))?)
        }
        ast::Describe::Kind(name) => Describe::Kind(name.node.clone()),
        ast::Describe::Prefix { sid, of } => {
            let at = |error: Error| error.at(sid.span.clone());
            let generation = match of {
                None => catalog.generation(None, None).map_err(at)?,
                Some(of) => {
                    let ordinal = of.generation.as_ref().map(|one| one.node);
                    let ordinal = ordinal.map(|one| u32::try_from(one).unwrap_or(u32::MAX));
                    let found = catalog.generation(Some(&of.codebook.node), ordinal);
                    found.map_err(|error| error.at(of.codebook.span.clone()))?
                }
            };
            let space = match codebooks::get(catalog.view, &generation.codebook)? {
                Some(codebook) if generation.artefact.is_some() => {
                    spaces::get(catalog.view, &codebook.space)?
                }
                _ => catalog.default_space().ok(),
            };
            Describe::Prefix { prefix: fixed(&sid.node).map_err(at)?, generation, space }
        }
        other => return Err(Error::internal(format!("no meaning for {other:?}"))),
    })
}

fn fixed(pattern: &SidPattern) -> Result<Vec<u16>> {
    if pattern.is_fixed() {
        return Ok(pattern.fixed_prefix());
    }
    Err(Error::input("bad-prefix", format!("`{pattern}` is a pattern, not one prefix"))
        .help("DESCRIBE PREFIX a1.b33"))
}
