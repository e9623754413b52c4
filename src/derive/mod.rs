//! What follows from an item: its text, its vectors, its codes. Kept right in the transaction that writes it.
//!
//! This is cold start: an item that is inserted is embedded by the stored encoders, fused, and placed in every
//! generation that stands, so that it can be found and recommended at once. A generation whose space has been
//! made anew since stands for other vectors; it takes no new items until it is rebuilt. Nothing is asked of another
//! machine inside a transaction: a vector that only an endpoint makes, or of a photo on the net, is left stale, and
//! so are captions, descriptors and labels. `fresh.rs` knows what is stale, `origin.rs` who made what,
//! `usage.rs` what users do with items, `drift.rs` whether a codebook still fits them.

pub(crate) mod drift;
pub(crate) mod fresh;
pub(crate) mod origin;
mod place;
pub(crate) mod recipe;
pub(crate) mod subject;
pub(crate) mod usage;
pub(crate) mod vectors;

use sidql_storage::{ItemNo, Space, Write, embeddings, fields, items, spaces};

use crate::cache::Cache;
use crate::error::{Error, Result};
pub(crate) use place::place;
use place::place_in_all;
use recipe::{Recipe, Stage, is_building};
use vectors::Batch;

/// Items that are embedded together.
pub(crate) const BATCH: usize = 512;

/// Makes vectors and codes of new or changed items. Gives the statements that would bring what could not take
/// them up to date: a vector that another machine makes, a fusion or a codebook whose source has been made anew.
pub(crate) fn refresh(write: &Write, cache: &Cache, changed: &[ItemNo]) -> Result<Vec<String>> {
    let mut remedies = Vec::new();
    if changed.is_empty() {
        return Ok(remedies);
    }
    let schema = fields::all(write)?;
    for (recipe, space) in standing(write)? {
        if recipe.stage == Stage::Fused {
            continue;
        }
        if recipe.stage == Stage::File {
            let lacks = |number: &ItemNo| Ok(embeddings::get(write, &space, *number)?.is_none());
            if changed.iter().map(lacks).collect::<Result<Vec<_>>>()?.contains(&true) {
                let name = &space.name;
                remedies.push(format!("COPY embeddings FROM '…' WITH (space = '{name}')"));
            }
            continue;
        }
        for numbers in changed.chunks(BATCH) {
            let batch = numbers
                .iter()
                .map(|number| Ok((*number, items::get(write, *number)?.ok_or_else(vanished)?)))
                .collect::<Result<Batch>>()?;
            let made = vectors::at_hand(write, cache, &schema, (&recipe, &space), &batch)?;
            vectors::put(write, &space, &recipe, &made.rows)?;
            vectors::forget(write, &space, &made.gone)?;
            if made.left > 0 {
                remedies.push(format!("ENRICH items BY {} WHERE stale", recipe.stage.name()));
            }
        }
    }
    remedies.extend(follow(write, cache, changed)?);
    remedies.dedup();
    Ok(remedies)
}

/// Makes what follows from vectors that are already written: fusions and codes. Gives remedies as `refresh` does.
pub(crate) fn follow(write: &Write, cache: &Cache, changed: &[ItemNo]) -> Result<Vec<String>> {
    let mut remedies = Vec::new();
    for (recipe, space) in standing(write)? {
        if recipe.stage != Stage::Fused {
            continue;
        }
        if vectors::sources(write, &recipe)?.is_none() {
            remedies.push(format!("ENRICH items BY {}", space.name));
            continue;
        }
        for batch in changed.chunks(BATCH) {
            let fused = vectors::fused(write, cache, (&recipe, &space), batch)?;
            vectors::put(write, &space, &recipe, &fused)?;
        }
    }
    remedies.extend(place_in_all(write, cache, changed)?);
    Ok(remedies)
}

/// The complete spaces with their recipes.
fn standing(write: &Write) -> Result<Vec<(Recipe, Space)>> {
    let mut all = spaces::all(write)?;
    all.retain(|space| !is_building(space));
    all.into_iter().map(|space| Ok((Recipe::of(&space)?, space))).collect()
}

fn vanished() -> Error {
    Error::internal("an item vanished within its transaction")
}
