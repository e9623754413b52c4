//! NEAR: items ranked by how alike their vectors are to a target, within what the predicate accepts.

use std::collections::HashSet;

use sidql_storage::{ItemNo, Space, embeddings, items, sids};

use super::hunt::{Hunt, exact};
use super::row::{Fetch, Known};
use super::select::{self, Reading};
use crate::enrich::image::Where;
use crate::error::{Error, Result};
use crate::index::product;
use crate::index::vectors::Nearest;
use crate::plan::near::{Near, Target};
use crate::plan::select::Select;
use crate::value::{Note, Row, Sid};

/// The rows of a NEAR, the nearest first: as many as LIMIT and OFFSET need, whenever so many qualify; and what it took to
/// find them.
pub(crate) fn rows(reading: Reading<'_>, plan: &Select, near: &Near) -> Result<(Vec<Row>, Note)> {
    let wanted = plan.limit.unwrap_or(usize::MAX).saturating_add(plan.offset);
    let (nearest, mode, why) = match &near.target {
        Target::Sid { sid, generation } => {
            let nearest = by_sid(reading, plan, near, sid, *generation, wanted)?;
            (nearest, "sid", near.search.why.clone())
        }
        target => {
            let query = vector_of(reading, &near.space, target)?;
            // An item is not its own neighbour.
            let own = match target {
                Target::Item(id) => items::number(reading.view, id)?,
                _ => None,
            };
            Hunt::new(reading, plan, near, query, own, wanted).run()?
        }
    };
    let Nearest { found, scanned } = nearest;
    let fetch = Fetch::new(reading.view, &plan.sources)?;
    let note = Note::Near { requested: wanted, returned: found.len(), scanned, mode, why };
    let rows = found
        .into_iter()
        .map(|(item, score)| fetch.row(item, &Known { score: Some(score), ..Known::default() }))
        .collect::<Result<_>>()?;
    Ok((rows, note))
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

/// Near a SID: those that share the longest prefix first, and among them by the codewords.
fn by_sid(
    reading: Reading<'_>,
    plan: &Select,
    near: &Near,
    sid: &Sid,
    generation: u32,
    wanted: usize,
) -> Result<Nearest> {
    let index = reading.cache.index(reading.view, generation)?;
    let mut target = if let Some(artefact) = &index.artefact {
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
    product::normalise(&mut target);
    let allowed: Option<HashSet<ItemNo>> = match plan.filter {
        Some(_) => Some(select::numbers(reading, plan)?.into_iter().collect()),
        None => None,
    };
    let mut ranked = Nearest::default();
    let mut taken: HashSet<ItemNo> = HashSet::new();
    for levels in (0..=sid.levels()).rev() {
        if ranked.found.len() >= wanted {
            break;
        }
        let mut fresh = Vec::new();
        for row in sids::items_under(reading.view, generation, &sid.codes()[..levels])? {
            let (_, item) = row?;
            if allowed.as_ref().is_none_or(|set| set.contains(&item)) && taken.insert(item) {
                fresh.push(item);
            }
        }
        fresh.sort_unstable();
        let missing = wanted - ranked.found.len();
        let more = exact(reading, &near.space, &target, missing, Some(&fresh))?;
        ranked.scanned += more.scanned;
        ranked.found.extend(more.found);
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
    let mut vectors = embeddings::Vectors::new(reading.view, space.clone());
    for row in sids::items_under(reading.view, generation, prefix)? {
        let (_, item) = row?;
        let Some(vector) = vectors.get(item)? else { continue };
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
            let length = product::dot(&other, &other).sqrt();
            let score = product::dot(&other, vector) / length.max(f32::MIN_POSITIVE);
            ranked.push((score, item));
        }
    }
    ranked.sort_by(|l, r| r.0.total_cmp(&l.0).then(l.1.cmp(&r.1)));
    Ok(ranked.into_iter().take(wanted).map(|(_, item)| item).collect())
}
