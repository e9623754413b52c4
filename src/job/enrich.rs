//! ENRICH … BY text | fused: vectors for items, batch by batch.
//!
//! A space is made under a name of its own beside the one in use, and takes its place when it is complete, so a
//! half-made space is never seen. Each batch is committed with the place it reached; a killed job goes on there.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{Item, ItemNo, Read, Space, Write, blobs, embeddings, fields, items, spaces};
use xxhash_rust::xxh3::xxh3_64;

use super::{Answer, Context, Kind, counted};
use crate::clock::now_ms;
use crate::derive::{self, BATCH, Recipe, Stage, is_building, item_text};
use crate::enrich::fuse::{Fusion, Part};
use crate::error::{Error, Result};
use crate::kind;
use crate::model::{self, Encoder, Make};
use crate::progress::Checkpoint;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "enrich",
    summary: "ENRICH items: makes embeddings of the items' text, or fuses spaces into one",
    run,
};

/// Batches between two commits: a commit costs as much as encoding some hundred short texts.
const BATCHES_A_COMMIT: usize = 8;

/// What to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The space, which has the name of its stage.
    pub(crate) space: String,
    /// The encoder, for a text space.
    pub(crate) encoder: String,
    /// How the vectors are made.
    pub(crate) recipe: Recipe,
    /// These items alone, with the encoder that the space has; all items, with a new one, when not given.
    pub(crate) only: Option<Vec<ItemNo>>,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    if let Some(only) = &spec.only {
        return some(context, &spec, only);
    }
    match spec.recipe.stage {
        Stage::Text => text(context, &spec),
        Stage::Fused => fused(context, &spec),
    }
}

/// Re-makes the vectors of some items by the encoder that the space has.
fn some(context: &Context<'_>, spec: &Spec, only: &[ItemNo]) -> Result<Answer> {
    context.progress.stage("encoding", only.len() as u64);
    let write = context.write()?;
    for batch in only.chunks(BATCH) {
        context.progress.check()?;
        derive::refresh(&write, context.cache, batch)?;
        context.progress.advance(batch.len() as u64);
    }
    write.commit()?;
    Ok(Answer::say(format!("{} in space `{}`", counted(only.len(), "vector"), spec.space)))
}

/// The name under which a space is made.
fn building(space: &str) -> String {
    format!("{space}~building")
}

/// Where an interrupted run stands: the next item to encode.
#[derive(Serialize, Deserialize)]
struct Place {
    next: ItemNo,
}

fn text(context: &Context<'_>, spec: &Spec) -> Result<Answer> {
    let name = building(&spec.space);
    let place: Option<Place> = match context.slot.load()? {
        Some(bytes) => Some(serde_json::from_slice(&bytes)?),
        None => None,
    };
    let resumed = spaces::get(&context.read()?, &name)?.zip(place);
    let (space, mut next) = match resumed {
        Some((space, place)) => (space, place.next),
        None => (begin_text(context, spec, &name)?, 0),
    };
    let read = context.read()?;
    let encoder = context.cache.encoder(&read, &space)?;
    context.progress.stage("encoding", items::count(&read)?);
    context.progress.advance(next.min(items::count(&read)?));
    loop {
        let batch = batch(&read, next, BATCH * BATCHES_A_COMMIT)?;
        let Some((last, _)) = batch.last() else { break };
        next = last + 1;
        let write = context.write()?;
        encode(context, &write, &encoder, spec, &space, &batch)?;
        write.commit()?;
        context.slot.save(&serde_json::to_vec(&Place { next })?)?;
    }
    finish(context, spec, &name, encoder.dim()?)
}

/// Fits the encoder on the texts of all items and makes the empty space.
fn begin_text(context: &Context<'_>, spec: &Spec, name: &str) -> Result<Space> {
    let kind = kind::find(model::KINDS, "model", &spec.encoder)?;
    let read = context.read()?;
    let schema = fields::all(&read)?;
    context.progress.stage("reading texts", items::count(&read)?);
    let mut texts = Vec::new();
    for row in items::scan(&read, 0)? {
        let (_, item) = row?;
        texts.push(item_text(&schema, &item, spec.recipe.parts.as_deref()));
        context.progress.advance(1);
        context.progress.check()?;
    }
    if texts.is_empty() {
        return Err(Error::input("no-items", "there are no items to enrich")
            .help("COPY items FROM 'items.jsonl.gz';"));
    }
    if texts.iter().all(|text| text.trim().is_empty()) {
        return Err(Error::input("no-text", "no item has any text")
            .help("WITH (parts = ['…']) names the fields to read"));
    }
    let Make::Fitted(fit, _) = kind.make else {
        return Err(Error::internal(format!("`{}` is not fitted", kind.name)));
    };
    let encoder = fit(&spec.recipe.options, &texts, context.progress)?;
    let write = context.write()?;
    let space = begin(&write, spec, name, encoder.dim()?, &encoder.to_bytes())?;
    write.commit()?;
    Ok(space)
}

fn begin(write: &Write, spec: &Spec, name: &str, dim: usize, artefact: &[u8]) -> Result<Space> {
    spaces::drop(write, name)?;
    let config = serde_json::to_string(&spec.recipe)?;
    let mut stamped = artefact.to_vec();
    stamped.extend_from_slice(config.as_bytes());
    let space = Space {
        name: name.to_owned(),
        dim: dim as u32,
        encoder: spec.encoder.clone(),
        config,
        artefact: Some(blobs::put(write, artefact)?),
        source_hash: xxh3_64(&stamped),
        created_ms: now_ms(),
        ..Space::default()
    };
    Ok(spaces::create(write, &space)?)
}

fn batch(read: &Read, from: ItemNo, most: usize) -> Result<Vec<(ItemNo, Item)>> {
    items::scan(read, from)?.take(most).map(|row| Ok(row?)).collect()
}

fn encode(
    context: &Context<'_>,
    write: &Write,
    encoder: &std::sync::Arc<dyn Encoder>,
    spec: &Spec,
    space: &Space,
    batch: &[(ItemNo, Item)],
) -> Result<()> {
    let schema = fields::all(write)?;
    for part in batch.chunks(BATCH) {
        context.progress.check()?;
        let texts: Vec<String> = part
            .iter()
            .map(|(_, item)| item_text(&schema, item, spec.recipe.parts.as_deref()))
            .collect();
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = encoder.encode(&borrowed, context.progress)?;
        let rows = part.iter().map(|(number, _)| *number);
        embeddings::put_many(write, &space.name, rows.zip(vectors.chunks_exact(encoder.dim()?)))?;
        context.progress.advance(part.len() as u64);
    }
    Ok(())
}

/// Puts the finished space in the place of the old one, after making what came or changed meanwhile.
fn finish(context: &Context<'_>, spec: &Spec, name: &str, dim: usize) -> Result<Answer> {
    context.progress.stage("publishing the space", 0);
    let write = context.write()?;
    spaces::drop(&write, &spec.space)?;
    spaces::rename(&write, name, &spec.space)?;
    let space = spaces::must(&write, &spec.space)?;
    let mut late = Vec::new();
    for row in items::scan(&write, 0)? {
        let (number, _) = row?;
        if embeddings::get(&write, &space, number)?.is_none() {
            late.push(number);
        }
    }
    derive::refresh(&write, context.cache, &late)?;
    let count = spaces::must(&write, &spec.space)?.count;
    context.progress.check()?;
    write.commit()?;
    Ok(Answer::say(format!(
        "{} of {dim} components in space `{}`",
        counted(count as usize, "vector"),
        spec.space
    )))
}

/// Fuses in one transaction: joining vectors is quick, and the fit needs all of them at once.
fn fused(context: &Context<'_>, spec: &Spec) -> Result<Answer> {
    let read = context.read()?;
    let parts = parts_of(&read, spec)?;
    let mut spec = spec.clone();
    spec.recipe.parts = Some(parts.iter().map(|space| space.name.clone()).collect());
    spec.recipe.made_from = parts.iter().map(|space| space.source_hash).collect();
    let numbers: Vec<ItemNo> =
        items::scan(&read, 0)?.map(|row| Ok(row?.0)).collect::<Result<_>>()?;
    let loaded: Vec<Dense> =
        parts.iter().map(|space| Dense::load(&read, space, &numbers)).collect::<Result<_>>()?;
    let views: Vec<Part<'_>> = loaded
        .iter()
        .map(|dense| Part { data: &dense.data, dim: dense.dim, present: &dense.present })
        .collect();
    let dim = spec.recipe.options.get("dim").and_then(Json::as_u64).map(|dim| dim as usize);
    let (fusion, vectors) = Fusion::fit(&views, dim, context.progress)?;
    let name = building(&spec.space);
    let write = context.write()?;
    begin(&write, &spec, &name, fusion.dim(), &fusion.to_bytes()?)?;
    let known = |number: &ItemNo| items::get(&write, *number).map(|item| item.is_some());
    let mut rows = Vec::with_capacity(numbers.len());
    for (number, vector) in numbers.iter().zip(vectors.chunks_exact(fusion.dim())) {
        // An item may have been deleted since the snapshot.
        if known(number)? {
            rows.push((*number, vector));
        }
    }
    embeddings::put_many(&write, &name, rows)?;
    write.commit()?;
    finish(context, &spec, &name, fusion.dim())
}

/// The spaces to fuse: those named, or every one that is no fusion itself.
fn parts_of(read: &Read, spec: &Spec) -> Result<Vec<Space>> {
    let Some(names) = &spec.recipe.parts else {
        let mut parts = Vec::new();
        for space in spaces::all(read)? {
            if !is_building(&space) && Recipe::of(&space)?.stage != Stage::Fused {
                parts.push(space);
            }
        }
        if parts.is_empty() {
            return Err(Error::input("no-embeddings", "there is nothing to fuse yet")
                .help("ENRICH items BY text;"));
        }
        return Ok(parts);
    };
    let all = spaces::all(read)?;
    names
        .iter()
        .map(|name| {
            let found = all.iter().find(|space| space.name == *name && *name != spec.space);
            found.cloned().ok_or_else(|| {
                let known = all.iter().map(|space| space.name.as_str());
                Error::unknown("embedding space", name, known.filter(|known| *known != spec.space))
            })
        })
        .collect()
}

/// A space as a matrix with a row for every item.
struct Dense {
    data: Vec<f32>,
    dim: usize,
    present: Vec<bool>,
}

impl Dense {
    fn load(read: &Read, space: &Space, numbers: &[ItemNo]) -> Result<Dense> {
        let dim = space.dim as usize;
        let (known, vectors) = embeddings::load(read, space)?;
        let mut dense = Dense {
            data: vec![0.0; numbers.len() * dim],
            dim,
            present: vec![false; numbers.len()],
        };
        // Both lists ascend.
        let mut row = 0;
        for (number, vector) in known.iter().zip(vectors.chunks_exact(dim)) {
            while row < numbers.len() && numbers[row] < *number {
                row += 1;
            }
            if numbers.get(row) == Some(number) {
                dense.data[row * dim..(row + 1) * dim].copy_from_slice(vector);
                dense.present[row] = true;
            }
        }
        Ok(dense)
    }
}
