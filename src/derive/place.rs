//! SIDs of new and changed items, in every generation that stands.

use std::cell::RefCell;

use sidql_storage::{
    Generation, GenerationState, ItemNo, Space, View, Write, codebooks, embeddings, generations,
    sids, spaces,
};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::quantize;
use crate::value::Sid;

/// Gives items their SIDs in every generation that stands, and tells what remedies those that could not.
pub(super) fn place_in_all(
    write: &Write,
    cache: &Cache,
    changed: &[ItemNo],
) -> Result<Vec<String>> {
    let mut remedies = Vec::new();
    for codebook in codebooks::all(write)? {
        let space = spaces::get(write, &codebook.space)?;
        for generation in generations::of(write, &codebook.name)? {
            if generation.state != GenerationState::Ready {
                continue;
            }
            if generation.artefact.is_none() {
                let published = codebook.published == Some(generation.number);
                if published && lacks(write, &generation, changed)? {
                    let name = &codebook.name;
                    remedies.push(format!("COPY codes FROM '…' WITH (codebook = '{name}')"));
                }
                continue;
            }
            let Some(space) = &space else { continue };
            if generation.source_hash == space.source_hash {
                place(write, cache, &generation, space, changed)?;
            } else if codebook.published == Some(generation.number) {
                remedies.push(format!("REBUILD CODEBOOK {}", codebook.name));
            }
        }
    }
    Ok(remedies)
}

/// Whether any of these items has no SID in a generation that was made elsewhere, and so can get none here.
fn lacks(view: &dyn View, generation: &Generation, items: &[ItemNo]) -> Result<bool> {
    for item in items {
        if sids::get(view, generation.number, *item)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives items their SIDs in one generation. An item keeps its SID while its prefix is the nearest one.
pub(crate) fn place(
    write: &Write,
    cache: &Cache,
    generation: &Generation,
    space: &Space,
    changed: &[ItemNo],
) -> Result<()> {
    let artefact = cache.artefact(write, generation)?;
    // Making SIDs unique moves items within the last level only, where there is one above it.
    let kept = artefact.levels().saturating_sub(1).max(1);
    for number in changed {
        let Some(vector) = embeddings::get(write, space, *number)? else { continue };
        if let Some(old) = sids::get(write, generation.number, *number)? {
            let native = artefact
                .assign(&quantize::Vectors::new(&vector, artefact.dim())?, &Progress::silent())?;
            if old.starts_with(&native[..kept]) {
                continue;
            }
            sids::remove(write, generation.number, *number)?;
        }
        let failed: RefCell<Option<Error>> = RefCell::new(None);
        let is_taken = |codes: &[u16]| match taken(write, generation.number, codes) {
            Ok(taken) => taken,
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                false
            }
        };
        let placed = quantize::place(&artefact, &vector, is_taken);
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let codes = placed.map_err(|error| {
            error.help(format!(
                "REBUILD CODEBOOK {0}; makes room for more items",
                generation.codebook
            ))
        })?;
        sids::insert(write, generation.number, *number, &Sid::new(&codes)?)?;
    }
    Ok(())
}

fn taken(view: &dyn View, generation: u32, codes: &[u16]) -> Result<bool> {
    Ok(sids::count_under(view, generation, codes)? > 0)
}
