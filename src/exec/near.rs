//! NEAR: items ranked by how alike their vectors are to a target, within what the predicate accepts.

use std::collections::HashSet;

use sidql_storage::{ItemNo, Space, embeddings, items, sids};

use super::row::{Fetch, Known};
use super::select::{self, Reading};
use crate::enrich::image::Where;
use crate::error::{Error, Result};
use crate::index::sid::{Cells, Effort};
use crate::index::{flat, product};
use crate::plan::near::{Index, Near, Target};
use crate::plan::select::Select;
use crate::quantize::Vectors;
use crate::value::{Row, Sid};

/// The rows of a NEAR, the nearest first: as many as LIMIT and OFFSET need, whenever so many qualify.
pub(crate) fn rows(reading: Reading<'_>, plan: &Select, near: &Near) -> Result<Vec<Row>> {
    let wanted = plan.limit.unwrap_or(usize::MAX).saturating_add(plan.offset);
    let ranked = match &near.target {
        Target::Sid { sid, generation } => by_sid(reading, plan, near, sid, *generation, wanted)?,
        target => {
            let vector = vector_of(reading, &near.space, target)?;
            // An item is not its own neighbour.
            let own = match target {
                Target::Item(id) => items::number(reading.view, id)?,
                _ => None,
            };
            let allowed = allowed(reading, plan)?;
            let keep =
                |item| Some(item) != own && allowed.as_ref().is_none_or(|set| set.contains(item));
            match &near.index {
                Index::Flat => nearest(reading, &near.space, &vector, wanted, keep)?,
                Index::Sid { generation, effort, .. } => {
                    by_tree(reading, &near.space, *generation, &vector, *effort, keep)?
                }
            }
        }
    };
    let fetch = Fetch::new(reading.view, &plan.sources)?;
    ranked
        .into_iter()
        .map(|(item, score)| fetch.row(item, &Known { score: Some(score), ..Known::default() }))
        .collect()
}

/// The items that the predicate accepts; `None` for all.
fn allowed(reading: Reading<'_>, plan: &Select) -> Result<Option<Set>> {
    if plan.filter.is_none() {
        return Ok(None);
    }
    Ok(Some(Set(select::numbers(reading, plan)?.into_iter().collect())))
}

struct Set(HashSet<ItemNo>);

impl Set {
    fn contains(&self, item: ItemNo) -> bool {
        self.0.contains(&item)
    }
}

/// The vector to be near to.
fn vector_of(reading: Reading<'_>, space: &Space, target: &Target) -> Result<Vec<f32>> {
    match target {
        Target::Vector(vector) => Ok(vector.clone()),
        Target::Text(text) => {
            let vector =
                reading.cache.encoder(reading.view, space)?.encode_query(text, reading.progress)?;
            if vector.iter().all(|component| *component == 0.0) {
                let message = format!("the text '{text}' has no word that could be embedded");
                return Err(Error::input("no-words", message));
            }
            Ok(vector)
        }
        Target::Photo(reference) => {
            let encoder = reading.cache.image_encoder(reading.view, space)?;
            let picture = Where::default().load(reference, reading.progress)?;
            encoder.encode(&[&picture], reading.progress)
        }
        Target::Item(id) => {
            let number = items::number(reading.view, id)?.ok_or_else(|| {
                Error::input("unknown-item", format!("there is no item `{id}`"))
                    .help("to look for a text, write NEAR TEXT '…'")
            })?;
            embeddings::get(reading.view, space, number)?.ok_or_else(|| {
                let message = format!("item `{id}` has no vector in space `{}`", space.name);
                Error::input("no-embedding", message)
            })
        }
        Target::Sid { .. } => Err(Error::internal("a sid is not near by its vector alone")),
    }
}

/// Exact search among the items that `keep` accepts.
fn nearest(
    reading: Reading<'_>,
    space: &Space,
    vector: &[f32],
    wanted: usize,
    keep: impl Fn(ItemNo) -> bool,
) -> Result<Vec<(ItemNo, f32)>> {
    let (numbers, data) = embeddings::load(reading.view, space)?;
    reading.progress.check()?;
    let mut bits = vec![0u64; numbers.len().div_ceil(64)];
    for (row, item) in numbers.iter().enumerate() {
        if keep(*item) {
            bits[row / 64] |= 1 << (row % 64);
        }
    }
    let found = flat::nearest(&data, vector, wanted, Some(&bits));
    Ok(found.into_iter().map(|(row, score)| (numbers[row as usize], score)).collect())
}

/// Search over the SID tree: its candidates are compared exactly, and so are items without a SID.
fn by_tree(
    reading: Reading<'_>,
    space: &Space,
    generation: u32,
    vector: &[f32],
    effort: Effort,
    keep: impl Fn(ItemNo) -> bool,
) -> Result<Vec<(ItemNo, f32)>> {
    let index = reading.cache.index(reading.view, generation)?;
    let Some(artefact) = &index.artefact else {
        return Err(Error::internal("a codebook without codewords is not searched"));
    };
    let (catalogue, view) = (&index.catalogue, reading.view);
    let mut query = vector.to_vec();
    // A cosine knows no length, but codewords do: the query gets that of a vector of the space.
    if let Some(item) = catalogue.items.first()
        && let Some(other) = embeddings::get(view, space, *item)?
    {
        let length = product::dot(&other, &other).sqrt();
        product::normalise(&mut query);
        for x in &mut query {
            *x *= length;
        }
    }
    let latent = artefact.encode(&Vectors::new(&query, query.len())?, reading.progress)?;
    let codewords = (0..artefact.levels()).map(|level| artefact.stack().codebook(level));
    let cells = Cells::new(&index.trie, codewords, artefact.latent_dim());
    let found = cells.nearest(&latent, effort, |at| keep(catalogue.items[at as usize]));
    reading.progress.check()?;
    let mut rows: Vec<(ItemNo, Vec<f32>)> = Vec::with_capacity(found.len());
    for item in found.into_iter().map(|at| catalogue.items[at as usize]) {
        rows.extend(embeddings::get(view, space, item)?.map(|vector| (item, vector)));
    }
    // A SID of the generation was made from a vector of the space, so that equal counts are the same items.
    if space.count != catalogue.len() as u64 {
        for block in embeddings::scan(view, space, 0)? {
            let block = block?;
            let bare = block.iter().filter(|(item, _)| catalogue.position(*item).is_none());
            rows.extend(bare.filter(|(item, _)| keep(*item)).map(|(at, row)| (at, row.to_vec())));
        }
    }
    rows.sort_unstable_by_key(|(item, _)| *item);
    let data: Vec<f32> = rows.iter().flat_map(|(_, row)| row).copied().collect();
    let found = flat::nearest(&data, vector, effort.wanted, None);
    Ok(found.into_iter().map(|(row, score)| (rows[row as usize].0, score)).collect())
}

/// Near a SID: those that share the longest prefix first, and among them by the codewords.
fn by_sid(
    reading: Reading<'_>,
    plan: &Select,
    near: &Near,
    sid: &Sid,
    generation: u32,
    wanted: usize,
) -> Result<Vec<(ItemNo, f32)>> {
    let index = reading.cache.index(reading.view, generation)?;
    let target = if let Some(artefact) = &index.artefact {
        // The suffix level has no codewords, and a code that is none ends what is known of the place.
        let sizes = artefact.sizes();
        let is_code = |(code, size): &(&u16, &usize)| usize::from(**code) < **size;
        let known = sid.codes().iter().zip(&sizes).take_while(is_code).count();
        if known == 0 {
            return Err(no_place(sid, sizes[0]));
        }
        artefact.reconstruct(&sid.codes()[..known])
    } else {
        // SIDs that came from elsewhere have no codewords: the middle of those who share the longest prefix.
        let is_used = |levels: &usize| index.trie.node_of(&sid.codes()[..*levels]).is_some();
        let known = (1..=sid.levels().min(index.trie.levels())).rev().find(is_used);
        let first = index.generation.sizes.first().map_or(0, |size| *size as usize);
        let known = known.ok_or_else(|| no_place(sid, first))?;
        centroid(reading, &near.space, generation, &sid.codes()[..known])?.ok_or_else(|| {
            let message =
                format!("no item under {sid} has a vector in space `{}`", near.space.name);
            Error::input("no-embedding", message)
        })?
    };
    let allowed = allowed(reading, plan)?;
    let mut ranked: Vec<(ItemNo, f32)> = Vec::new();
    let mut taken: HashSet<ItemNo> = HashSet::new();
    for levels in (0..=sid.levels()).rev() {
        if ranked.len() >= wanted {
            break;
        }
        let mut fresh = Vec::new();
        for row in sids::items_under(reading.view, generation, &sid.codes()[..levels])? {
            let (_, item) = row?;
            if allowed.as_ref().is_none_or(|set| set.contains(item)) && taken.insert(item) {
                fresh.push(item);
            }
        }
        let set = Set(fresh.into_iter().collect());
        ranked.extend(nearest(reading, &near.space, &target, wanted - ranked.len(), |item| {
            set.contains(item)
        })?);
    }
    Ok(ranked)
}

fn no_place(sid: &Sid, codes: usize) -> Error {
    let message = format!("nothing is near {sid}: the first level has {codes} codes");
    Error::input("unknown-code", message)
        .help("SELECT prefix, items FROM codes WHERE level = 1 lists them")
}

/// The mean direction of the vectors under a prefix; nothing where there are none.
pub(super) fn centroid(
    reading: Reading<'_>,
    space: &Space,
    generation: u32,
    prefix: &[u16],
) -> Result<Option<Vec<f32>>> {
    let mut sum = vec![0.0_f64; space.dim as usize];
    for row in sids::items_under(reading.view, generation, prefix)? {
        let (_, item) = row?;
        let Some(vector) = embeddings::get(reading.view, space, item)? else { continue };
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if length > 0.0 {
            sum.iter_mut().zip(&vector).for_each(|(sum, x)| *sum += f64::from(*x) / length);
        }
    }
    reading.progress.check()?;
    let any = sum.iter().any(|x| *x != 0.0);
    Ok(any.then(|| sum.into_iter().map(|x| x as f32).collect()))
}

/// The items under a prefix whose vectors are nearest to a vector.
pub(super) fn nearest_under(
    reading: Reading<'_>,
    space: &Space,
    (generation, prefix): (u32, &[u16]),
    vector: &[f32],
    wanted: usize,
) -> Result<Vec<ItemNo>> {
    let mut ranked: Vec<(f32, ItemNo)> = Vec::new();
    for row in sids::items_under(reading.view, generation, prefix)? {
        let (_, item) = row?;
        if let Some(other) = embeddings::get(reading.view, space, item)? {
            let length = crate::index::product::dot(&other, &other).sqrt();
            let score = crate::index::product::dot(&other, vector) / length.max(f32::MIN_POSITIVE);
            ranked.push((score, item));
        }
    }
    ranked.sort_by(|l, r| r.0.total_cmp(&l.0).then(l.1.cmp(&r.1)));
    Ok(ranked.into_iter().take(wanted).map(|(_, item)| item).collect())
}
