//! ENRICH … BY fused: the vectors of several spaces joined, in one transaction: joining is quick, and the fit needs all
//! of them at once.

use serde_json::json;
use sidql_storage::{ItemNo, Read, Space, embeddings, items, spaces};

use super::vectors::{building, create, finish};
use super::{Spec, Tally};
use crate::count::counted;
use crate::derive::fresh::fused_source;
use crate::derive::origin::{self, Maker};
use crate::derive::recipe::{Recipe, Stage, is_building};
use crate::derive::vectors::{self, Row};
use crate::derive::{self, BATCH};
use crate::enrich::fuse::{Config, Fusion, Part};
use crate::error::{Error, Result};
use crate::job::{Answer, Context};

/// The kind of a space that a fusion made.
const FUSION: &str = "fusion";

/// Makes the fused vectors.
pub(super) fn run(context: &Context<'_>, spec: &Spec) -> Result<Answer> {
    if let Some(only) = &spec.only {
        return some(context, spec, only);
    }
    let read = context.read()?;
    let config: Config = serde_json::from_value(spec.options.clone())?;
    let parts = parts_of(&read, &config, &spec.space)?;
    let numbers: Vec<ItemNo> =
        items::scan(&read, 0)?.map(|row| Ok(row?.0)).collect::<Result<_>>()?;
    let loaded: Vec<Dense> =
        parts.iter().map(|space| Dense::load(&read, space, &numbers)).collect::<Result<_>>()?;
    let views: Vec<Part<'_>> = loaded
        .iter()
        .map(|dense| Part { data: &dense.data, dim: dense.dim, present: &dense.present })
        .collect();
    let (fusion, joined) = Fusion::fit(&views, &config, context.progress)?;
    drop(read);
    let write = context.write()?;
    let maker = Maker { kind: FUSION.to_owned(), ..Maker::default() };
    let origin = origin::intern(&write, &spec.stage, &maker, None, &spec.options)?;
    let recipe = Recipe {
        stage: Stage::Fused,
        parts: Some(parts.iter().map(|space| space.name.clone()).collect()),
        options: json!({"dim": config.dim, "whiten": config.whiten}),
        made_from: parts.iter().map(|space| space.source_hash).collect(),
        model: None,
        fingerprint: None,
        origin: Some(origin),
    };
    let name = building(&spec.space);
    let space = create(&write, &name, &recipe, FUSION, fusion.dim(), &fusion.to_bytes()?)?;
    let mut rows = Vec::with_capacity(BATCH);
    for (number, vector) in numbers.iter().zip(joined.chunks_exact(fusion.dim())) {
        // An item may have been deleted since the snapshot.
        if items::id(&write, *number)?.is_some() {
            let source = fused_source(&write, &recipe, *number)?;
            rows.push(Row { number: *number, vector: vector.to_vec(), source });
        }
        if rows.len() == BATCH {
            vectors::put(&write, &space, &recipe, &rows)?;
            rows.clear();
        }
    }
    vectors::put(&write, &space, &recipe, &rows)?;
    write.commit()?;
    finish(context, &name, &spec.space)?;
    Ok(say(context, spec, spaces::must(&context.read()?, &spec.space)?.count, fusion.dim()))
}

/// Makes the fused vectors of some items again, by the fusion that the space has.
fn some(context: &Context<'_>, spec: &Spec, only: &[ItemNo]) -> Result<Answer> {
    context.progress.stage("fusing", only.len() as u64);
    let write = context.write()?;
    for batch in only.chunks(BATCH) {
        context.progress.check()?;
        derive::follow(&write, context.cache, batch)?;
        context.progress.advance(batch.len() as u64);
    }
    write.commit()?;
    let dim = spaces::must(&context.read()?, &spec.space)?.dim;
    Ok(say(context, spec, only.len() as u64, dim as usize))
}

fn say(context: &Context<'_>, spec: &Spec, count: u64, dim: usize) -> Answer {
    let vectors = counted(count as usize, "vector");
    let what = format!("{vectors} of {dim} components in space `{}`", spec.space);
    Tally { made: count, ..Tally::default() }.say(context, &what, "vectors")
}

/// The spaces to fuse: those named, or every one that is no fusion itself.
fn parts_of(read: &Read, config: &Config, own: &str) -> Result<Vec<Space>> {
    let Some(names) = &config.parts else {
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
            let found = all.iter().find(|space| space.name == *name && *name != own);
            found.cloned().ok_or_else(|| {
                let known = all.iter().map(|space| space.name.as_str());
                Error::unknown("embedding space", name, known.filter(|known| *known != own))
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
