//! Vectors of items: made by what a space's recipe says, written with their stamps.

use std::sync::Arc;

use sidql_storage::{Field, Item, ItemNo, Space, Stamp, View, Write, embeddings, spaces, stamps};

use super::fresh;
use super::recipe::{Recipe, Stage};
use super::subject::{item_text, photo};
use crate::cache::Cache;
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::model::picture::Picture;
use crate::model::{Encoder, ImageEncoder};
use crate::progress::Progress;

/// Items to make vectors of.
pub(crate) type Batch = Vec<(ItemNo, Item)>;

/// The vector of one item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The item.
    pub(crate) number: ItemNo,
    /// The vector.
    pub(crate) vector: Vec<f32>,
    /// A hash of what it was made from.
    pub(crate) source: u64,
}

/// What came of making vectors with what is at hand.
#[derive(Debug, Default)]
pub(crate) struct AtHand {
    /// The vectors.
    pub(crate) rows: Vec<Row>,
    /// Items that have nothing to make a vector from any more.
    pub(crate) gone: Vec<ItemNo>,
    /// How many need another machine, or weights that are not there.
    pub(crate) left: usize,
}

/// Vectors of items as far as they can be made within a transaction: by an encoder that runs here, of a text or a
/// photo that is here.
pub(super) fn at_hand(
    view: &dyn View,
    cache: &Cache,
    schema: &[Field],
    (recipe, space): (&Recipe, &Space),
    batch: &[(ItemNo, Item)],
) -> Result<AtHand> {
    let silent = Progress::silent();
    let left = AtHand { left: batch.len(), ..AtHand::default() };
    match recipe.stage {
        Stage::Text => {
            let encoder = match cache.encoder(view, space) {
                Ok(encoder) if !encoder.remote() => encoder,
                Ok(_) => return Ok(left),
                // Weights that lie elsewhere may be away; the item is written all the same.
                Err(_) if recipe.model.is_some() => return Ok(left),
                Err(error) => return Err(error),
            };
            let rows = texts(view, schema, recipe, &encoder, batch, &silent)?;
            Ok(AtHand { rows, ..AtHand::default() })
        }
        Stage::Image => {
            let Ok(encoder) = cache.image_encoder(view, space) else { return Ok(left) };
            let place = recipe.photos()?;
            let mut made = AtHand::default();
            for (number, item) in batch {
                let Some(reference) = photo(schema, item, &place) else {
                    made.gone.push(*number);
                    continue;
                };
                let picture =
                    if reference.at_hand() { place.load(&reference, &silent).ok() } else { None };
                let Some(picture) = picture else {
                    made.left += 1;
                    continue;
                };
                let vector = encoder.encode(&[&picture], &silent)?;
                made.rows.push(Row { number: *number, vector, source: reference.hash() });
            }
            Ok(made)
        }
        Stage::File => Ok(left),
        Stage::Fused => Err(Error::internal("a fusion is made of vectors")),
    }
}

/// The vectors of the items' texts.
pub(crate) fn texts(
    view: &dyn View,
    schema: &[Field],
    recipe: &Recipe,
    encoder: &Arc<dyn Encoder>,
    batch: &[(ItemNo, Item)],
    progress: &Progress,
) -> Result<Vec<Row>> {
    let texts: Vec<String> = batch
        .iter()
        .map(|(number, item)| item_text(view, schema, (*number, item), recipe.text_parts()))
        .collect::<Result<_>>()?;
    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = encoder.encode(&borrowed, progress)?;
    let dim = encoder.dim()?;
    let rows = batch.iter().zip(&texts).zip(vectors.chunks_exact(dim));
    Ok(rows
        .map(|(((number, _), text), vector)| Row {
            number: *number,
            vector: vector.to_vec(),
            source: xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        })
        .collect())
}

/// The vectors of pictures, with the hashes of where they were found.
pub(crate) fn pictures(
    encoder: &Arc<dyn ImageEncoder>,
    batch: &[(ItemNo, u64, Picture)],
    progress: &Progress,
) -> Result<Vec<Row>> {
    let borrowed: Vec<&Picture> = batch.iter().map(|(_, _, picture)| picture).collect();
    let vectors = encoder.encode(&borrowed, progress)?;
    let rows = batch.iter().zip(vectors.chunks_exact(encoder.dim()));
    Ok(rows
        .map(|((number, source, _), vector)| Row {
            number: *number,
            vector: vector.to_vec(),
            source: *source,
        })
        .collect())
}

/// The fused vectors of items from the vectors that they have.
pub(super) fn fused(
    view: &dyn View,
    cache: &Cache,
    (recipe, space): (&Recipe, &Space),
    batch: &[ItemNo],
) -> Result<Vec<Row>> {
    let fusion = cache.fusion(view, space)?;
    let sources = sources(view, recipe)?.unwrap_or_default();
    let mut fused = Vec::with_capacity(batch.len());
    for number in batch {
        let parts: Vec<Option<Vec<f32>>> = sources
            .iter()
            .map(|source| Ok(embeddings::get(view, source, *number)?))
            .collect::<Result<_>>()?;
        let borrowed: Vec<Option<&[f32]>> = parts.iter().map(Option::as_deref).collect();
        let source = fresh::fused_source(view, recipe, *number)?;
        fused.push(Row { number: *number, vector: fusion.apply(&borrowed)?, source });
    }
    Ok(fused)
}

/// The spaces that a fusion joins; nothing when one of them is gone or has been made anew since.
pub(super) fn sources(view: &dyn View, recipe: &Recipe) -> Result<Option<Vec<Space>>> {
    let mut found = Vec::new();
    for (part, hash) in recipe.parts.iter().flatten().zip(&recipe.made_from) {
        match spaces::get(view, part)? {
            Some(space) if space.source_hash == *hash => found.push(space),
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Writes vectors and the stamps that say when, from what and by whom they were made.
pub(crate) fn put(write: &Write, space: &Space, recipe: &Recipe, rows: &[Row]) -> Result<()> {
    embeddings::put_many(write, &space.name, rows.iter().map(|row| (row.number, &row.vector)))?;
    let Some(origin) = recipe.origin else { return Ok(()) };
    let made_ms = now_ms();
    let stamp = |row: &Row| (row.number, Stamp { origin, source: row.source, made_ms });
    Ok(stamps::put_many(write, space, rows.iter().map(stamp))?)
}

/// Removes the vectors of items that have nothing to make one from any more.
pub(crate) fn forget(write: &Write, space: &Space, gone: &[ItemNo]) -> Result<()> {
    for number in gone {
        if embeddings::get(write, space, *number)?.is_some() {
            embeddings::delete(write, &space.name, *number)?;
        }
    }
    Ok(())
}
