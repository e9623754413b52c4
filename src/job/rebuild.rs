//! REBUILD CODEBOOK: a new generation beside the one in use.
//!
//! The quantizer is trained on a snapshot of the space; items that came or changed meanwhile are placed in the
//! transaction that writes the generation, so it is complete when it appears.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{
    Generation, GenerationNo, ItemNo, Read, Space, View, Write, blobs, codebooks, embeddings,
    generations, items, sids, spaces,
};

use super::{Answer, Context, Kind};
use crate::clock::now_ms;
use crate::count::grouped;
use crate::derive;
use crate::derive::recipe::{Recipe, Stage};
use crate::error::{Error, Result};
use crate::kind;
use crate::quantize::{self, Built, Input, Target, Vectors, align};
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
    /// The generation of the same codebook whose codes items shall keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) align_to: Option<GenerationNo>,
    /// How much larger the squared error of an item may be for that, as a share of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) align_slack: Option<f64>,
}

/// How far an item may lie from its nearest codes to keep old ones, unless it is said.
pub(crate) const ALIGN_SLACK: f64 = 0.1;

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
    let old = old_sids(&read, &spec, &numbers)?;
    let target = old.as_ref().map(|(_, old)| Target {
        old: old.as_slice(),
        slack: spec.align_slack.unwrap_or(ALIGN_SLACK),
    });
    let parts = parts_of(context, &read, &space)?;
    let input = Input { vectors, parts: &parts };
    let (progress, slot) = (context.progress, &context.slot);
    let mut built = quantize::build(kind, &spec.config, &input, target.as_ref(), progress, slot)?;
    let usage = derive::usage::usage(&read, &numbers, progress)?;
    built.health.observe(&built.codes, &usage, progress)?;
    built.health.bound = Some(items::bound(&read)?);
    if let Some((ordinal, old)) = &old {
        let width = built.artefact.sid_sizes().len();
        built.health.aligned = Some(align::kept(*ordinal, old, &built.codes, width));
    }
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
    context.publish(write, Answer::say(said(&spec.codebook, &generation, &built, publish)))
}

/// Components of each part of the vectors of a fused space; none where they are of one piece.
fn parts_of(context: &Context<'_>, read: &Read, space: &Space) -> Result<Vec<usize>> {
    if Recipe::of(space)?.stage != Stage::Fused {
        return Ok(Vec::new());
    }
    Ok(context.cache.fusion(read, space)?.parts().unwrap_or_default())
}

/// The old SIDs of the items, and the ordinal of their generation, where the codebook is built near one.
fn old_sids(
    view: &dyn View,
    spec: &Spec,
    numbers: &[ItemNo],
) -> Result<Option<(u32, Vec<Option<Sid>>)>> {
    let Some(number) = spec.align_to else { return Ok(None) };
    let generation = generations::get(view, number)?.ok_or_else(|| {
        let message = "the generation to align with has been dropped";
        Error::input("dropped-generation", message)
            .help(format!("REBUILD CODEBOOK {}; without align_to, or with another", spec.codebook))
    })?;
    let mut known: HashMap<ItemNo, Sid> = HashMap::with_capacity(generation.items as usize);
    for row in sids::by_item(view, number)? {
        let (item, sid) = row?;
        known.insert(item, sid);
    }
    let old = numbers.iter().map(|number| known.remove(number)).collect();
    Ok(Some((generation.ordinal, old)))
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
    let moved = grouped(health.moved as u64);
    let moved = match &health.aligned {
        None => format!("{moved} moved to be unique"),
        Some(aligned) => format!(
            "{} of {} kept their sids of generation {}, {moved} not at their nearest codes",
            grouped(aligned.kept as u64),
            grouped(aligned.items as u64),
            aligned.to
        ),
    };
    format!(
        "generation {} of `{name}`, {state}: {} items, {} codes, {moved}",
        generation.ordinal,
        grouped(health.items as u64),
        shape.join(" x "),
    )
}
