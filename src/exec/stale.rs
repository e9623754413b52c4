//! SHOW STALE: what is missing or out of date, by stage and space, and the statement that mends it.

use std::collections::BTreeMap;

use sidql_storage::{EvidenceKind, Space, View, evidence, items, origins, spaces};

use super::Context;
use crate::derive::fresh::{Fresh, State};
use crate::derive::recipe::{Recipe, Stage, is_building};
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
        let using = match latest_model(view, kind)? {
            Some(model) => format!(" USING {model}"),
            None => String::new(),
        };
        let remedy = format!("ENRICH items BY {}{using} WHERE stale", kind.name());
        rows.push(count.row(kind.name(), "", remedy));
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
        let remedy = format!("ENRICH items BY {stage}{}{only}{named}", with.unwrap_or_default());
        rows.push(count.row(stage, &space.name, remedy));
    }
    Ok(rows)
}

/// The model that last made evidence of a kind.
fn latest_model(view: &dyn View, kind: EvidenceKind) -> Result<Option<String>> {
    let of_kind = origins::all(view)?.into_iter().filter(|origin| origin.stage == kind.name());
    let latest = of_kind.max_by_key(|origin| origin.number);
    let asked = latest.filter(|origin| !matches!(origin.kind.as_str(), "field" | "rule"));
    Ok(asked.map(|origin| origin.model))
}
