//! SHOW STALE: what is missing or out of date, by stage and space, and the statement that mends it.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use sidql_storage::{EvidenceKind, Space, View, evidence, items, origins, spaces};

use super::Context;
use crate::derive::fresh::{Fresh, State};
use crate::derive::origin::{FIELD, RULE};
use crate::derive::recipe::{Recipe, Stage, is_building};
use crate::enrich;
use crate::error::Result;
use crate::value::{Rows, Value};

/// One kind of derived value, counted over the items.
#[derive(Default)]
struct Count {
    fresh: u64,
    missing: u64,
    outdated: u64,
    reasons: BTreeMap<&'static str, u64>,
}

impl Count {
    fn add(&mut self, state: &State) {
        match state {
            State::Fresh => self.fresh += 1,
            State::Missing => self.missing += 1,
            State::Outdated(why) => {
                self.outdated += 1;
                *self.reasons.entry(why).or_default() += 1;
            }
            State::Nothing => {}
        }
    }

    fn row(&self, stage: &str, place: &str, remedy: String) -> Vec<Value> {
        let reason = |(why, count): (&&str, &u64)| format!("{count} {why}");
        let reasons: Vec<String> = self.reasons.iter().map(reason).collect();
        let stale = self.missing + self.outdated > 0;
        vec![
            stage.into(),
            place.into(),
            self.fresh.into(),
            self.missing.into(),
            self.outdated.into(),
            (!reasons.is_empty()).then(|| reasons.join(", ")).into(),
            stale.then_some(remedy).into(),
        ]
    }
}

/// The rows of SHOW STALE: every kind of evidence of which there is any, and every space.
pub(super) fn show(context: &Context<'_>) -> Result<Rows> {
    let view = context.view()?;
    let fresh = Fresh::new(view)?;
    let mut kinds: Vec<(EvidenceKind, Count)> = Vec::new();
    for kind in EvidenceKind::ALL {
        if evidence::count(view, kind)? > 0 {
            kinds.push((kind, Count::default()));
        }
    }
    let mut all: Vec<(Space, Recipe, Count)> = Vec::new();
    for space in spaces::all(view)? {
        if !is_building(&space) {
            let recipe = Recipe::of(&space)?;
            all.push((space, recipe, Count::default()));
        }
    }
    if !kinds.is_empty() || !all.is_empty() {
        for row in items::scan(view, 0)? {
            let (number, item) = row?;
            context.progress.check()?;
            for (kind, count) in &mut kinds {
                count.add(&fresh.evidence(*kind, number, &item)?);
            }
            for (space, _, count) in &mut all {
                count.add(&fresh.vector(space, number, &item)?);
            }
        }
    }
    let columns = ["stage", "space", "fresh", "missing", "outdated", "because", "remedy"];
    let mut rows = Rows::new(columns);
    for (kind, count) in kinds {
        rows.push(count.row(kind.name(), "", remedy(view, kind)?));
    }
    for (space, recipe, count) in all {
        let stage = recipe.stage.name();
        let named = if space.name == stage {
            String::new()
        } else {
            format!(" WITH (space = '{}')", space.name)
        };
        // New weights make other vectors: the whole space has to follow them.
        let anew = count.reasons.contains_key("model changed");
        let with = recipe.model.as_ref().filter(|_| anew).map(|model| format!(" USING {model}"));
        let only = if anew || recipe.stage == Stage::Fused { "" } else { " WHERE stale" };
        let remedy = match recipe.stage {
            Stage::File => format!("COPY embeddings FROM '…' WITH (space = '{}')", space.name),
            _ => format!("ENRICH items BY {stage}{}{only}{named}", with.unwrap_or_default()),
        };
        rows.push(count.row(stage, &space.name, remedy));
    }
    Ok(rows)
}

/// The statement that makes evidence of a kind as it was last made: by the same model, with the same options.
fn remedy(view: &dyn View, kind: EvidenceKind) -> Result<String> {
    let mut statement = format!("ENRICH items BY {}", kind.name());
    let of_kind = origins::all(view)?.into_iter().filter(|origin| origin.stage == kind.name());
    let Some(latest) = of_kind.max_by_key(|origin| origin.number) else { return Ok(statement) };
    if !matches!(latest.kind.as_str(), FIELD | RULE) {
        statement += &format!(" USING {}", latest.model);
    }
    statement += " WHERE stale";
    let defaults = (enrich::Kind::of(kind).config)(&[])?;
    let parameters: Map<String, Json> = serde_json::from_str(&latest.parameters)?;
    let changed: Vec<String> = parameters
        .iter()
        .filter(|(name, value)| defaults.get(*name) != Some(value))
        .map(|(name, value)| format!("{name} = {}", literal(value)))
        .collect();
    if !changed.is_empty() {
        statement += &format!(" WITH ({})", changed.join(", "));
    }
    Ok(statement)
}

/// An option as it is typed.
fn literal(value: &Json) -> String {
    match value {
        Json::String(text) => format!("'{}'", text.replace('\'', "''")),
        Json::Array(list) => {
            format!("[{}]", list.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
