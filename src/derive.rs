//! What follows from an item: its text, its vectors, its codes. Kept right in the transaction that writes it.
//!
//! This is cold start: an item that is inserted is embedded by the stored encoders, fused, and placed in every
//! generation that stands, so that it can be found and recommended at once. A generation whose space has been
//! made anew since stands for other vectors; it takes no new items until it is rebuilt.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{
    Field, FieldValue, Generation, GenerationState, Item, ItemNo, Space, View, Write, codebooks,
    embeddings, fields, generations, items, sids, spaces,
};

use crate::cache::Cache;
use crate::enrich::text::text_of;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::quantize;
use crate::value::Sid;

/// How the vectors of a space are made. Stored with the space, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recipe {
    /// What the vectors are made from.
    pub(crate) stage: Stage,
    /// For `text`, the fields; for `fused`, the spaces. By themselves all fields, or every unfused space.
    pub(crate) parts: Option<Vec<String>>,
    /// The options of the encoder, or the dimension of the fusion.
    pub(crate) options: Json,
    /// For `fused`, the source hashes of the spaces that the fusion was fitted on.
    pub(crate) made_from: Vec<u64>,
}

/// What the vectors of a space are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// The text of the item.
    Text,
    /// The vectors of other spaces.
    Fused,
}

impl Recipe {
    /// The recipe of a space.
    pub(crate) fn of(space: &Space) -> Result<Recipe> {
        serde_json::from_str(&space.config)
            .map_err(|error| Error::internal(format!("the recipe of `{}`: {error}", space.name)))
    }
}

/// Makes vectors and codes of new or changed items. Gives the statements that would bring what could not take
/// them up to date: a fusion or a codebook whose source has been made anew since.
pub(crate) fn refresh(write: &Write, cache: &Cache, changed: &[ItemNo]) -> Result<Vec<String>> {
    let mut made = spaces::all(write)?;
    made.retain(|space| !is_building(space));
    if made.is_empty() || changed.is_empty() {
        return Ok(Vec::new());
    }
    let schema = fields::all(write)?;
    // Fused spaces are made of the others, so they come last.
    let mut ordered: Vec<(Recipe, Space)> =
        made.into_iter().map(|space| Ok((Recipe::of(&space)?, space))).collect::<Result<_>>()?;
    ordered.sort_by_key(|(recipe, _)| recipe.stage == Stage::Fused);
    let mut remedies = Vec::new();
    for (recipe, space) in &ordered {
        if recipe.stage == Stage::Fused && sources(write, recipe)?.is_none() {
            remedies.push(format!("ENRICH items BY {}", space.name));
            continue;
        }
        for batch in changed.chunks(BATCH) {
            match recipe.stage {
                Stage::Text => embed_text(write, cache, &schema, recipe, space, batch)?,
                Stage::Fused => embed_fused(write, cache, recipe, space, batch)?,
            }
        }
    }
    remedies.extend(place_in_all(write, cache, changed)?);
    Ok(remedies)
}

/// The spaces that a fusion joins; nothing when one of them is gone or has been made anew since.
fn sources(view: &dyn View, recipe: &Recipe) -> Result<Option<Vec<Space>>> {
    let mut found = Vec::new();
    for (part, hash) in recipe.parts.iter().flatten().zip(&recipe.made_from) {
        match spaces::get(view, part)? {
            Some(space) if space.source_hash == *hash => found.push(space),
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Items that are embedded together.
pub(crate) const BATCH: usize = 512;

/// Whether a space is still being made by a job, under a name of its own.
pub(crate) fn is_building(space: &Space) -> bool {
    space.name.contains('~')
}

/// The text of an item, as the recipe of a space wants it.
pub(crate) fn item_text(schema: &[Field], item: &Item, parts: Option<&[String]>) -> String {
    let values: Vec<(&str, Json)> = item
        .fields
        .iter()
        .filter_map(|(number, value)| {
            let name = schema.get(*number as usize)?.name.as_str();
            let json = match value {
                FieldValue::Text(text) => Json::from(text.as_str()),
                FieldValue::List(list) => Json::from(list.clone()),
                _ => return None,
            };
            Some((name, json))
        })
        .collect();
    let borrowed: Vec<(&str, &Json)> = values.iter().map(|(name, json)| (*name, json)).collect();
    text_of(&borrowed, parts)
}

fn embed_text(
    write: &Write,
    cache: &Cache,
    schema: &[Field],
    recipe: &Recipe,
    space: &Space,
    batch: &[ItemNo],
) -> Result<()> {
    let encoder = cache.encoder(write, space)?;
    let texts: Vec<String> = batch
        .iter()
        .map(|number| {
            let item = items::get(write, *number)?.ok_or_else(|| vanished(*number))?;
            Ok(item_text(schema, &item, recipe.parts.as_deref()))
        })
        .collect::<Result<_>>()?;
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = encoder.encode(&borrowed, &Progress::silent())?;
    let rows = batch.iter().copied().zip(vectors.chunks_exact(encoder.dim()?));
    Ok(embeddings::put_many(write, &space.name, rows)?)
}

fn embed_fused(
    write: &Write,
    cache: &Cache,
    recipe: &Recipe,
    space: &Space,
    batch: &[ItemNo],
) -> Result<()> {
    let fusion = cache.fusion(write, space)?;
    let sources = sources(write, recipe)?.unwrap_or_default();
    let mut fused = Vec::with_capacity(batch.len());
    for number in batch {
        let rows: Vec<Option<Vec<f32>>> = sources
            .iter()
            .map(|source| Ok(embeddings::get(write, source, *number)?))
            .collect::<Result<_>>()?;
        let borrowed: Vec<Option<&[f32]>> = rows.iter().map(Option::as_deref).collect();
        fused.push((*number, fusion.apply(&borrowed)?));
    }
    Ok(embeddings::put_many(write, &space.name, fused)?)
}

/// Gives items their SIDs in every generation that stands, and tells what remedies those that could not.
fn place_in_all(write: &Write, cache: &Cache, changed: &[ItemNo]) -> Result<Vec<String>> {
    let mut remedies = Vec::new();
    for codebook in codebooks::all(write)? {
        let Some(space) = spaces::get(write, &codebook.space)? else { continue };
        for generation in generations::of(write, &codebook.name)? {
            if generation.state != GenerationState::Ready {
                continue;
            }
            if generation.source_hash == space.source_hash {
                place(write, cache, &generation, &space, changed)?;
            } else if codebook.published == Some(generation.number) {
                remedies.push(format!("REBUILD CODEBOOK {}", codebook.name));
            }
        }
    }
    Ok(remedies)
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
            let native = artefact.assign(
                &quantize::Vectors::new(&vector, artefact.dim())?,
                &crate::progress::Progress::silent(),
            )?;
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

fn vanished(number: ItemNo) -> Error {
    Error::internal(format!("item {number} vanished within its transaction"))
}
