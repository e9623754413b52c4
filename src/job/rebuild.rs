//! REBUILD CODEBOOK: a new generation beside the one in use.
//!
//! The quantizer is trained on a snapshot of the space; items that came or changed meanwhile are placed in the
//! transaction that writes the generation, so it is complete when it appears.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{
    Generation, ItemNo, Read, Space, Write, blobs, codebooks, embeddings, generations, items, sids,
    spaces,
};

use super::{Answer, Context, Kind};
use crate::clock::now_ms;
use crate::count::grouped;
use crate::derive;
use crate::derive::recipe::{Recipe, Stage};
use crate::error::{Error, Result};
use crate::kind;
use crate::quantize::{self, Built, Input, Vectors};
use crate::value::Sid;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "rebuild",
    summary: "REBUILD CODEBOOK: trains a quantizer and gives every item its sid, as a new generation",
    run,
};

/// What to rebuild.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The codebook.
    pub(crate) codebook: String,
    /// The options of the quantizer, every field present.
    pub(crate) config: Json,
    /// Whether queries use the new generation at once; by itself when none is published yet.
    pub(crate) publish: Option<bool>,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    let read = context.read()?;
    let codebook = codebooks::must(&read, &spec.codebook)?;
    let kind = kind::find(quantize::KINDS, "quantizer", &codebook.kind)?;
    let space = spaces::must(&read, &codebook.space)?;
    let (numbers, data) = embeddings::load(&read, &space)?;
    if numbers.is_empty() {
        let message = format!("space `{}` has no vectors to quantize", space.name);
        return Err(
            Error::input("no-embeddings", message).help(format!("ENRICH items BY {};", space.name))
        );
    }
    let vectors = Vectors::new(&data, space.dim as usize)?;
    let parts = parts_of(context, &read, &space)?;
    let input = Input { vectors, parts: &parts };
    let built = quantize::build(kind, &spec.config, &input, context.progress, &context.slot)?;
    drop(read);
    context.progress.stage("writing the generation", 0);
    let write = context.write()?;
    let generation = store(&write, &spec, &space, &numbers, &built)?;
    place_late(context, &write, &generation, &numbers)?;
    let publish =
        spec.publish.unwrap_or(codebooks::must(&write, &spec.codebook)?.published.is_none());
    if publish {
        generations::publish(&write, generation.number)?;
    } else {
        generations::ready(&write, generation.number)?;
    }
    context.progress.check()?;
    write.commit()?;
    Ok(Answer::say(said(&spec.codebook, &generation, &built, publish)))
}

/// Components of each part of the vectors of a fused space; none where they are of one piece.
fn parts_of(context: &Context<'_>, read: &Read, space: &Space) -> Result<Vec<usize>> {
    if Recipe::of(space)?.stage != Stage::Fused {
        return Ok(Vec::new());
    }
    Ok(context.cache.fusion(read, space)?.parts().unwrap_or_default())
}

fn store(
    write: &Write,
    spec: &Spec,
    space: &Space,
    numbers: &[ItemNo],
    built: &Built,
) -> Result<Generation> {
    let sizes = built.artefact.sid_sizes();
    let artefact = blobs::put(write, &built.artefact.to_bytes()?)?;
    let generation = generations::begin(
        write,
        &Generation {
            codebook: spec.codebook.clone(),
            kind: codebooks::must(write, &spec.codebook)?.kind,
            config: spec.config.to_string(),
            levels: sizes.len() as u8,
            sizes: sizes.iter().map(|size| *size as u32).collect(),
            artefact: Some(artefact),
            health: serde_json::to_string(&built.health)?,
            source_hash: space.source_hash,
            created_ms: now_ms(),
            ..Generation::default()
        },
    )?;
    let mut rows = Vec::with_capacity(numbers.len());
    for (number, codes) in numbers.iter().zip(built.codes.chunks_exact(sizes.len())) {
        // An item may have been deleted since the snapshot.
        if items::get(write, *number)?.is_some() {
            rows.push((*number, Sid::new(codes)?));
        }
    }
    sids::load_many(write, generation.number, rows)?;
    Ok(generation)
}

/// Places the items that came since the snapshot.
fn place_late(
    context: &Context<'_>,
    write: &Write,
    generation: &Generation,
    numbers: &[ItemNo],
) -> Result<()> {
    let codebook = codebooks::must(write, &generation.codebook)?;
    let space = spaces::must(write, &codebook.space)?;
    if space.source_hash != generation.source_hash {
        let message = format!("space `{}` was made anew while its codebook was built", space.name);
        return Err(Error::new(crate::error::Kind::Retry, "space-changed", message)
            .help(format!("REBUILD CODEBOOK {}; again", generation.codebook)));
    }
    let known: HashSet<ItemNo> = numbers.iter().copied().collect();
    let mut late = Vec::new();
    for row in items::scan(write, 0)? {
        let (number, _) = row?;
        if !known.contains(&number) {
            late.push(number);
        }
    }
    derive::place(write, context.cache, generation, &space, &late)
}

fn said(name: &str, generation: &Generation, built: &Built, published: bool) -> String {
    let health = &built.health;
    let shape: Vec<String> = generation.sizes.iter().map(ToString::to_string).collect();
    let state = if published { "published" } else { "not published" };
    format!(
        "generation {} of `{name}`, {state}: {} items, {} codes, {} moved to be unique",
        generation.ordinal,
        grouped(health.items as u64),
        shape.join(" x "),
        grouped(health.moved as u64),
    )
}
