//! SHOW: lists.

use sidql_storage::{JobNo, failures, histories, items, users};

use super::{Context, Outcome, codes, relation, stale};
use crate::enrich::prompt::PROMPTS;
use crate::error::Result;
use crate::job::queue;
use crate::kind::Kind;
use crate::options;
use crate::plan::Show;
use crate::plan::relation::Relation;
use crate::settings::MEANINGS;
use crate::value::{Row, Rows, Value};

/// Runs a SHOW.
pub(crate) fn show(context: &Context<'_>, what: Show) -> Result<Outcome> {
    let of = |relation| listed(context, relation);
    Ok(Outcome::Rows(match what {
        Show::Relations => relations(context)?,
        Show::Codebooks => of(Relation::Codebooks)?,
        Show::Generations => of(Relation::Generations)?,
        Show::Policies => of(Relation::Policies)?,
        Show::Spaces => of(Relation::Spaces)?,
        Show::Indexes => of(Relation::Indexes)?,
        Show::Models => of(Relation::Models)?,
        Show::Stale => stale::show(context)?,
        Show::Prompts => prompts(),
        Show::Jobs => of(Relation::Jobs)?,
        Show::Evaluations => evaluations(context)?,
        Show::Kinds => kinds(),
        Show::Settings => settings(context)?,
        Show::Space => space(context)?,
        _ => Rows::default(),
    }))
}

fn listed(context: &Context<'_>, what: Relation) -> Result<Rows> {
    let mut rows = Rows::new(what.columns().iter().map(|(name, _)| *name));
    rows.rows = relation::whole(context.reading()?, what)?;
    Ok(rows)
}

/// The figures of an evaluation that a person compares; the relation has the rest.
const FIGURES: &[&str] =
    &["evaluation", "policy", "split", "users", "hr@5", "hr@10", "ndcg@5", "ndcg@10", "created"];

fn evaluations(context: &Context<'_>) -> Result<Rows> {
    let all = listed(context, Relation::Evaluations)?;
    let mut rows = Rows::new(FIGURES.iter().copied());
    for at in 0..all.len() {
        let shown = FIGURES.iter().map(|name| all.get(at, name).cloned().unwrap_or(Value::Null));
        rows.push(shown.collect());
    }
    Ok(rows)
}

fn relations(context: &Context<'_>) -> Result<Rows> {
    let mut rows = Rows::new(["relation", "rows", "what"]);
    for what in Relation::ALL {
        let view = context.view()?;
        let count = match what {
            Relation::Items => items::count(view)?,
            Relation::Users => users::count(view)?,
            Relation::Interactions => histories::count(view)?,
            Relation::Codes => codes::nodes_in_use(context.reading()?)?,
            other => relation::whole(context.reading()?, *other)?.len() as u64,
        };
        rows.push(vec![what.name().into(), count.into(), what.summary().into()]);
    }
    Ok(rows)
}

/// Every registry with its word, in the order of `SHOW KINDS`.
pub(crate) fn registries() -> Vec<(&'static str, Vec<&'static dyn Kind>)> {
    fn all<K: Kind>(kinds: &'static [&'static K]) -> Vec<&'static dyn Kind> {
        kinds.iter().map(|kind| *kind as &dyn Kind).collect()
    }
    vec![
        ("model", all(crate::model::KINDS)),
        ("stage", all(crate::enrich::STAGES)),
        ("quantizer", all(crate::quantize::KINDS)),
        ("index", all(crate::index::KINDS)),
        ("policy", all(crate::policy::KINDS)),
        ("objective", all(crate::train::OBJECTIVES)),
        ("reward", all(crate::reward::KINDS)),
        ("metric", all(crate::metric::METRICS)),
        ("format", all(crate::format::FORMATS)),
        ("job", all(crate::job::KINDS)),
    ]
}

fn kinds() -> Rows {
    let mut rows = Rows::new(["registry", "kind", "what"]);
    for (registry, members) in registries() {
        for kind in members {
            rows.push(vec![registry.into(), kind.name().into(), kind.summary().into()]);
        }
    }
    rows
}

fn prompts() -> Rows {
    let mut rows = Rows::new(["prompt", "hash", "words"]);
    for prompt in PROMPTS {
        let words = prompt.words();
        let first = words.text.lines().next().unwrap_or_default().to_owned();
        rows.push(vec![words.name.into(), words.hash.into(), first.into()]);
    }
    rows
}

/// The items that a job could not make a value for, with what the model said.
pub(crate) fn failed(context: &Context<'_>, job: JobNo) -> Result<Outcome> {
    // An unknown job is told, rather than shown to have no failures.
    queue::find(&context.engine.store, job)?;
    let view = context.view()?;
    let mut rows = Rows::new(["id", "stage", "code", "message", "attempts", "answer"]);
    for row in failures::of_job(view, job)? {
        let (number, failure) = row?;
        rows.push(vec![
            items::id(view, number)?.into(),
            failure.stage.into(),
            failure.code.into(),
            failure.message.into(),
            failure.attempts.into(),
            failure.answer.into(),
        ]);
    }
    Ok(Outcome::Rows(rows))
}

fn settings(context: &Context<'_>) -> Result<Rows> {
    let mut rows = Rows::new(["setting", "value", "what"]);
    let values = options::fields_of(&*context.settings)?;
    for (name, meaning) in MEANINGS {
        let value = values.get(*name).map_or(Value::Null, crate::schema::value_of_json);
        rows.push(vec![(*name).into(), value, (*meaning).into()]);
    }
    Ok(rows)
}

fn space(context: &Context<'_>) -> Result<Rows> {
    let mut rows = Rows::new(["table", "rows", "stored_bytes", "page_bytes"]);
    let read = context.engine.store.read()?;
    for table in context.engine.store.space(&read)? {
        let row: Row = vec![
            table.table.name().into(),
            table.rows.into(),
            table.stored_bytes.into(),
            table.page_bytes.into(),
        ];
        rows.push(row);
    }
    if let Some(file) = context.engine.store.path().and_then(|path| std::fs::metadata(path).ok()) {
        rows.push(vec!["(file)".into(), Value::Null, Value::Null, file.len().into()]);
    }
    Ok(rows)
}
