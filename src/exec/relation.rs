//! The rows of every relation but `items`.

use std::collections::HashMap;

use serde_json::Value as Json;
use sidql_storage::{
    View, blobs, codebooks, evaluations, generations, histories, indexes, items, jobs, models,
    policies, spaces, users,
};

use super::select::Reading;
use crate::clock::format_ms;
use crate::derive::drift::health_of;
use crate::error::Result;
use crate::job::queue;
use crate::plan::relation::Relation;
use crate::plan::scope::Source;
use crate::quantize::health::{Health, Level};
use crate::value::{Row, Value};

/// The rows of a relation, each with a value for every source.
pub(crate) fn rows(
    reading: Reading<'_>,
    relation: Relation,
    sources: &[Source],
) -> Result<Vec<Row>> {
    let all = whole(reading, relation)?;
    let wanted: Vec<usize> = sources
        .iter()
        .filter_map(|source| if let Source::Column(at) = source { Some(*at) } else { None })
        .collect();
    Ok(all.into_iter().map(|row| wanted.iter().map(|at| row[*at].clone()).collect()).collect())
}

/// The rows of a relation with all its columns.
pub(crate) fn whole(reading: Reading<'_>, relation: Relation) -> Result<Vec<Row>> {
    let view = reading.view;
    match relation {
        // These are read along access paths, in `select.rs` and `codes.rs`.
        Relation::Items | Relation::Codes => Ok(Vec::new()),
        Relation::Interactions => interactions(reading),
        Relation::Users => users_rows(view),
        Relation::Codebooks => codebook_rows(view),
        Relation::Generations => generation_rows(view),
        Relation::Policies => policy_rows(view),
        Relation::Spaces => space_rows(view),
        Relation::Indexes => index_rows(view),
        Relation::Models => model_rows(view),
        Relation::Jobs => job_rows(reading),
        Relation::Curves => curve_rows(reading),
        Relation::Evaluations => evaluation_rows(view),
    }
}

fn interactions(reading: Reading<'_>) -> Result<Vec<Row>> {
    let view = reading.view;
    let mut ids: HashMap<u64, String> = HashMap::new();
    for row in items::scan(view, 0)? {
        let (number, item) = row?;
        ids.insert(number, item.id);
    }
    let mut names: HashMap<u64, String> = HashMap::new();
    for row in users::scan(view, 0)? {
        let (number, user) = row?;
        names.insert(number, user.id);
    }
    let mut rows = Vec::new();
    for row in histories::scan(view, 0)? {
        let (user, history) = row?;
        reading.progress.check()?;
        let user: Value = names.get(&user).map(String::as_str).into();
        rows.extend(history.into_iter().map(|one| {
            vec![
                user.clone(),
                ids.get(&one.item).map(String::as_str).into(),
                one.time.into(),
                one.kind.into(),
                one.weight.into(),
            ]
        }));
    }
    Ok(rows)
}

fn users_rows(view: &dyn View) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for row in users::scan(view, 0)? {
        let (number, user) = row?;
        rows.push(vec![user.id.into(), histories::count_of(view, number)?.into()]);
    }
    Ok(rows)
}

fn codebook_rows(view: &dyn View) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for codebook in codebooks::all(view)? {
        let made = generations::of(view, &codebook.name)?;
        let published = made.iter().find(|one| Some(one.number) == codebook.published);
        rows.push(vec![
            codebook.name.into(),
            codebook.kind.into(),
            codebook.space.into(),
            published.map(|one| one.ordinal).into(),
            made.len().into(),
            codebook.config.into(),
        ]);
    }
    Ok(rows)
}

fn generation_rows(view: &dyn View) -> Result<Vec<Row>> {
    let published: Vec<u32> =
        codebooks::all(view)?.iter().filter_map(|one| one.published).collect();
    let row = |one: sidql_storage::Generation| -> Result<Row> {
        let state = if published.contains(&one.number) { "published" } else { one.state.name() };
        // One that is still being made has not been measured.
        let health: Option<Health> = match one.health.as_str() {
            "" | "{}" => None,
            _ => Some(health_of(&one)?),
        };
        let of = |value: fn(&Health) -> Value| health.as_ref().map_or(Value::Null, value);
        Ok(vec![
            one.codebook.into(),
            one.ordinal.into(),
            state.into(),
            one.kind.into(),
            i64::from(one.levels).into(),
            Value::List(one.sizes.iter().map(|size| (*size).into()).collect()),
            one.items.into(),
            of(|health| by_level(health, |level| level.used.into())),
            of(|health| by_level(health, |level| rounded(level.perplexity, 10.0))),
            of(|health| by_level(health, |level| rounded(level.gini, 1e3))),
            of(|health| health.error.into()),
            of(|health| health.native.items.into()),
            of(|health| health.moved.into()),
            of(|health| health.repaired.largest.into()),
            of(|health| {
                let shared = health.behaviour.as_ref().map(|found| &found.shared);
                shared.map_or(Value::Null, |all| {
                    Value::List(all.iter().map(|share| rounded(*share, 1e4)).collect())
                })
            }),
            format_ms(one.created_ms).into(),
        ])
    };
    generations::all(view)?.into_iter().map(row).collect()
}

fn by_level(health: &Health, of: impl Fn(&Level) -> Value) -> Value {
    Value::List(health.levels.iter().map(of).collect())
}

/// A figure of which so many parts of one are told.
fn rounded(figure: f64, parts: f64) -> Value {
    Value::Float((figure * parts).round() / parts)
}

fn policy_rows(view: &dyn View) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for card in policies::all(view)? {
        let generation =
            card.generation.map(|no| generations::get(view, no)).transpose()?.flatten();
        rows.push(vec![
            card.name.as_str().into(),
            card.kind.as_str().into(),
            card.codebook.clone().into(),
            generation.as_ref().map(|one| one.ordinal).into(),
            policy_state(view, &card)?.into(),
            card.trained_ms.map(format_ms).into(),
            card.config.as_str().into(),
        ]);
    }
    Ok(rows)
}

/// `untrained`, `trained`, `stale` (a newer generation is published), or `orphaned` (its generation is gone).
pub(crate) fn policy_state(
    view: &dyn View,
    card: &sidql_storage::PolicyCard,
) -> Result<&'static str> {
    let Some(number) = card.generation else { return Ok(card.state.name()) };
    if card.weights.is_none() {
        return Ok(card.state.name());
    }
    if generations::get(view, number)?.is_none() {
        return Ok("orphaned");
    }
    let codebook = card.codebook.as_deref().unwrap_or_default();
    let published = codebooks::get(view, codebook)?.and_then(|codebook| codebook.published);
    Ok(if published == Some(number) { card.state.name() } else { "stale" })
}

fn space_rows(view: &dyn View) -> Result<Vec<Row>> {
    let visible = spaces::all(view)?.into_iter().filter(|space| !space.name.contains('~'));
    Ok(visible
        .map(|space| {
            vec![
                space.name.into(),
                space.dim.into(),
                space.count.into(),
                space.encoder.into(),
                format_ms(space.created_ms).into(),
                space.config.into(),
            ]
        })
        .collect())
}

fn index_rows(view: &dyn View) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for index in indexes::all(view)? {
        let space = spaces::must(view, &index.space)?;
        let (state, changed) = super::index::state(view, &index, &space)?;
        let size = index.artefact.map(|blob| blobs::info(view, blob)).transpose()?.flatten();
        rows.push(vec![
            index.name.into(),
            index.kind.into(),
            index.space.into(),
            state.into(),
            index.built_ms.map(|_| index.rows).into(),
            changed.into(),
            size.map(|size| size.length).into(),
            index.built_ms.map(format_ms).into(),
            index.config.into(),
        ]);
    }
    Ok(rows)
}

fn model_rows(view: &dyn View) -> Result<Vec<Row>> {
    let row = |model: sidql_storage::Model| {
        let kind = crate::model::KINDS.iter().find(|kind| kind.name == model.kind);
        let makes =
            kind.iter().flat_map(|kind| kind.abilities).map(|ability| ability.name().into());
        vec![
            model.name.into(),
            model.kind.into(),
            Value::List(makes.collect()),
            model.fingerprint.into(),
            format_ms(model.created_ms).into(),
            model.config.into(),
        ]
    };
    Ok(models::all(view)?.into_iter().map(row).collect())
}

/// The jobs as the file has them, with the progress of those that run in this process.
fn job_rows(reading: Reading<'_>) -> Result<Vec<Row>> {
    let row = |mut job: sidql_storage::JobRecord| {
        if let Some(handle) = reading.runner.handle(job.number) {
            let live = handle.snapshot();
            (job.stage, job.done, job.total) = (live.stage, live.done, live.total);
            let notes = live.notes.iter().map(|(name, figure)| format!("{name} {figure:.4}"));
            job.message = notes.collect::<Vec<_>>().join(", ");
        }
        let seconds = match (job.started_ms, job.finished_ms) {
            (Some(from), Some(to)) => Value::Float((to - from) as f64 / 1000.0),
            _ => Value::Null,
        };
        vec![
            job.number.into(),
            job.kind.into(),
            job.state.name().into(),
            job.stage.into(),
            job.done.into(),
            job.total.into(),
            seconds,
            job.message.into(),
            job.statement.into(),
        ]
    };
    Ok(jobs::all(reading.view)?.into_iter().map(row).collect())
}

/// The curves as the file has them, and those of the jobs that run in this process up to now.
fn curve_rows(reading: Reading<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for job in jobs::all(reading.view)? {
        let curves = match reading.runner.handle(job.number) {
            Some(handle) => handle.progress().curves(),
            None => queue::curves(&job),
        };
        for curve in &curves.curves {
            rows.extend(curve.points.iter().map(|(step, value)| {
                vec![
                    job.number.into(),
                    curve.figure.as_str().into(),
                    (*step).into(),
                    (*value).into(),
                ]
            }));
        }
    }
    Ok(rows)
}

fn evaluation_rows(view: &dyn View) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for one in evaluations::all(view)? {
        let generation = one.generation.map(|no| generations::get(view, no)).transpose()?.flatten();
        let metrics: Json = serde_json::from_str(&one.metrics).unwrap_or_default();
        let mut row: Row =
            vec![one.number.into(), one.policy.into(), one.split.into(), one.users.into()];
        // The columns between `users` and `generation` are named like the stored figures.
        let columns = Relation::Evaluations.columns().iter().map(|(name, _)| *name);
        row.extend(
            columns
                .filter(|name| name.contains('@'))
                .map(|name| Value::from(metrics[name]["mean"].as_f64())),
        );
        row.extend([
            generation.map(|generation| generation.ordinal).into(),
            format_ms(one.created_ms).into(),
            one.metrics.into(),
            one.config.into(),
        ]);
        rows.push(row);
    }
    Ok(rows)
}
