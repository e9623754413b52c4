//! CREATE MODEL, DROP MODEL, COMPARE LABELS.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;
use sidql_storage::{
    Body, EvidenceKind, Model, PolicyCard, evidence, items, models, policies, spaces,
};

use super::{Context, Outcome};
use crate::cache;
use crate::derive::recipe::Recipe;
use crate::derive::subject::subject;
use crate::enrich::agreement::Agreement;
use crate::error::{Error, Result};
use crate::format;
use crate::kind;
use crate::model::{self, Make};
use crate::plan::model::CompareLabels;
use crate::value::{Rows, Value};

/// Adds a model, once it can be opened and its weights have been hashed.
pub(crate) fn create(context: &mut Context<'_>, mut model: Model) -> Result<Outcome> {
    let kind = kind::find(model::KINDS, "kind of model", &model.kind)?;
    if let Make::Opened(_, fingerprint) = kind.make {
        cache::open(&model, &context.engine.cache.device())?;
        let config: Json = serde_json::from_str(&model.config)?;
        model.fingerprint = fingerprint(&config, context.progress)?;
    }
    context.change(|write| Ok(models::create(write, &model)?))?;
    let makes: Vec<&str> = kind.abilities.iter().map(|ability| ability.name()).collect();
    Ok(Outcome::say(format!("model `{}` created; it makes {}", model.name, makes.join(", "))))
}

/// Removes a model. What it made stays, with its provenance.
pub(crate) fn drop(context: &mut Context<'_>, name: &str) -> Result<Outcome> {
    let mut bound = Vec::new();
    for space in spaces::all(context.view()?)? {
        if Recipe::of(&space)?.model.as_deref() == Some(name) {
            bound.push(space.name);
        }
    }
    let over = |card: &PolicyCard| -> Result<bool> {
        let options: Json = serde_json::from_str(&card.config)?;
        Ok(options["base"] == name)
    };
    let mut standing = Vec::new();
    for card in policies::all(context.view()?)? {
        if over(&card)? {
            standing.push(card.name);
        }
    }
    context.change(|write| Ok(models::drop(write, name)?))?;
    let mut message = format!("model `{name}` dropped");
    if !bound.is_empty() {
        message += &format!(
            "; new items get no vectors in {} until a model of this name is created again",
            bound.join(", ")
        );
    }
    if !standing.is_empty() {
        message += &format!(
            "; policies over it ({}) are not opened until one over the same weights is created again",
            standing.join(", ")
        );
    }
    Ok(Outcome::say(message))
}

/// The labels that people gave, by item and descriptor.
type Labels = HashMap<String, Vec<(String, bool)>>;

/// How far the stored labels agree with those of a file: the counts and Cohen's kappa, one row a fact.
pub(crate) fn compare_labels(context: &Context<'_>, compare: &CompareLabels) -> Result<Outcome> {
    let people = read(compare)?;
    let view = context.view()?;
    let schema = sidql_storage::fields::all(view)?;
    let (mut agreement, mut unlabelled, mut unknown) = (Agreement::default(), 0u64, 0u64);
    for (id, labels) in &people {
        context.progress.check()?;
        let Some((number, item)) = items::by_id(view, id)? else {
            unknown += labels.len() as u64;
            continue;
        };
        let subject = subject(view, &schema, number, &item)?;
        let judged = evidence::get(view, EvidenceKind::Quality, number)?.map(|one| one.body);
        let Some(Body::Quality { labels: judged, .. }) = judged else {
            unlabelled += labels.len() as u64;
            continue;
        };
        for (descriptor, label) in labels {
            let at = subject.descriptors.iter().position(|one| one.text == *descriptor);
            match at.and_then(|at| judged.get(at)) {
                Some(judge) => agreement.add(*judge, *label),
                None => unknown += 1,
            }
        }
    }
    let mut rows = Rows::new(["property", "value"]);
    let mut add = |what: &str, value: Value| rows.push(vec![what.into(), value]);
    add("pairs", agreement.pairs().into());
    add("both 1", agreement.both.into());
    add("judge 1, file 0", agreement.first.into());
    add("judge 0, file 1", agreement.second.into());
    add("both 0", agreement.neither.into());
    add("agreement", agreement.observed().into());
    add("Cohen's kappa", agreement.kappa().into());
    add("not labelled here", unlabelled.into());
    add("unknown item or descriptor", unknown.into());
    Ok(Outcome::Rows(rows))
}

fn read(compare: &CompareLabels) -> Result<Labels> {
    let (file, options) = (Path::new(&compare.file), &compare.options);
    let reader = format::open_reader(file, options.format.as_deref(), &Json::Null)?;
    let mut labels = Labels::new();
    for record in reader {
        let record = record?;
        let bad = |what: String| {
            let place = format!("{}:{}", compare.file, record.line);
            Error::input("bad-label", format!("{place}: {what}"))
                .help("WITH (id = '…', descriptor = '…', label = '…') names the fields")
        };
        let field = |name: &str| {
            let found = record.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let text = found.map(|(_, value)| match value {
                Json::String(text) => text.trim().to_owned(),
                other => other.to_string(),
            });
            text.ok_or_else(|| bad(format!("there is no field `{name}`")))
        };
        let label = match field(&options.label)?.as_str() {
            "1" | "true" => true,
            "0" | "false" => false,
            other => return Err(bad(format!("the label must be 0 or 1, not `{other}`"))),
        };
        let (id, descriptor) = (field(&options.id)?, field(&options.descriptor)?);
        labels.entry(id).or_default().push((descriptor, label));
    }
    if labels.is_empty() {
        let message = format!("`{}` has no labels", compare.file);
        return Err(Error::input("no-labels", message));
    }
    Ok(labels)
}
