//! DESCRIBE: one thing in detail.

use serde_json::{Map, Value as Json};
use sidql_storage::{PolicyCard, fields, items};

use super::{Context, Outcome, codebook, index, prefix, relation, show};
use crate::clock::format_ms;
use crate::enrich::prompt::Prompt;
use crate::error::{Error, Result};
use crate::plan::relation::Relation;
use crate::plan::show::Describe;
use crate::schema::value_of_json;
use crate::value::{Rows, Value};

/// Characters of a line of a prompt.
const LINE: usize = 76;

/// Runs a DESCRIBE.
pub(crate) fn describe(context: &Context<'_>, what: &Describe) -> Result<Outcome> {
    Ok(Outcome::Rows(match what {
        Describe::Relation(what) => columns(context, *what)?,
        Describe::Codebook(of, generation) => codebook::describe(context, of, generation.as_ref())?,
        Describe::Policy(card) => policy(context, card)?,
        Describe::Kind(name) => kind(name)?,
        Describe::Model(record) => model(record)?,
        Describe::Index(of) => index::describe(context, of)?,
        Describe::Prompt(prompt) => prompt_words(prompt),
        Describe::Prefix { prefix, generation, space } => {
            prefix::describe(context, prefix, generation, space.as_ref())?
        }
    }))
}

fn columns(context: &Context<'_>, what: Relation) -> Result<Rows> {
    let view = context.view()?;
    if what != Relation::Items {
        let mut rows = Rows::new(["column", "type"]);
        for (name, kind) in what.columns() {
            rows.push(vec![(*name).into(), kind.name().into()]);
        }
        return Ok(rows);
    }
    let schema = fields::all(view)?;
    let mut filled = vec![0u64; schema.len()];
    let mut examples: Vec<Value> = vec![Value::Null; schema.len()];
    for row in items::scan(view, 0)? {
        let (_, item) = row?;
        for (number, value) in &item.fields {
            let at = *number as usize;
            filled[at] += 1;
            if examples[at].is_null() {
                examples[at] = crate::schema::value_of(value);
            }
        }
    }
    let count = items::count(view)?;
    let mut rows = Rows::new(["column", "type", "filled", "example"]);
    let first = items::scan(view, 0)?.next().transpose()?.map(|(_, item)| item.id);
    rows.push(vec!["id".into(), "text".into(), count.into(), first.into()]);
    for (at, field) in schema.iter().enumerate() {
        let example = std::mem::replace(&mut examples[at], Value::Null);
        rows.push(vec![
            field.name.as_str().into(),
            field.kind.name().into(),
            filled[at].into(),
            example,
        ]);
    }
    Ok(rows)
}

/// A table of two columns, one row a fact.
pub(super) struct Facts(pub(super) Rows);

impl Facts {
    pub(super) fn new() -> Self {
        Facts(Rows::new(["property", "value"]))
    }

    pub(super) fn add(&mut self, property: impl Into<String>, value: impl Into<Value>) {
        self.0.push(vec![Value::Text(property.into()), value.into()]);
    }

    pub(super) fn json(&mut self, prefix: &str, json: &str) -> Result<()> {
        let options: Map<String, Json> = serde_json::from_str(json)
            .map_err(|error| Error::internal(format!("stored options are damaged: {error}")))?;
        for (name, value) in &options {
            self.add(format!("{prefix}{name}"), value_of_json(value));
        }
        Ok(())
    }
}

fn policy(context: &Context<'_>, card: &PolicyCard) -> Result<Rows> {
    let view = context.view()?;
    let mut facts = Facts::new();
    facts.add("policy", card.name.as_str());
    facts.add("kind", card.kind.as_str());
    facts.add("codebook", card.codebook.clone());
    let generation =
        card.generation.map(|no| sidql_storage::generations::get(view, no)).transpose()?.flatten();
    facts.add("generation", generation.map(|one| one.ordinal));
    facts.add("state", relation::policy_state(view, card)?);
    facts.json("option ", &card.config)?;
    facts.add("created", format_ms(card.created_ms));
    facts.add("trained", card.trained_ms.map(format_ms));
    let report: Json = serde_json::from_str(&card.report).unwrap_or_default();
    if let Some(objective) = report.get("objective") {
        facts.add("objective", value_of_json(objective));
        for (name, value) in report["config"].as_object().into_iter().flatten() {
            facts.add(format!("training option {name}"), value_of_json(value));
        }
        let rewards = report["rewards"].as_array();
        for term in rewards.into_iter().flatten() {
            facts.add(format!("reward {}", value_of_json(&term[0])), value_of_json(&term[1]));
        }
        let fitted = report["report"]["epochs"].as_array().is_none_or(Vec::is_empty);
        for (name, value) in report["report"].as_object().into_iter().flatten() {
            // A closed form has histories and a duration; the rest is about steps that it does not make.
            if name == "epochs"
                || name == "curve"
                || fitted && !matches!(name.as_str(), "samples" | "seconds")
            {
                continue;
            }
            let rounded =
                value.as_f64().filter(|_| value.is_f64()).map(|x| (x * 1e3).round() / 1e3);
            let shown = rounded.map_or_else(|| value_of_json(value), Value::Float);
            facts.add(name.replace('_', " "), shown);
        }
        for (at, epoch) in report["report"]["epochs"].as_array().into_iter().flatten().enumerate() {
            let figure = |name: &str| epoch.get(name).and_then(Json::as_f64).unwrap_or(f64::NAN);
            let (loss, validation) = (figure("loss"), figure("validation_loss"));
            let said = match rewards {
                None => format!("loss {loss:.4}, validation {validation:.4}"),
                Some(_) => format!("loss {loss:.4}, ndcg@10 {:.4}", 1.0 - validation),
            };
            facts.add(format!("epoch {}", at + 1), said);
        }
    }
    Ok(facts.0)
}

fn kind(name: &str) -> Result<Rows> {
    let mut rows = Rows::new(["property", "value", "what"]);
    let mut known = Vec::new();
    for (registry, members) in show::registries() {
        for member in members {
            known.push(member.name());
            if member.name().eq_ignore_ascii_case(name) {
                rows.push(vec![registry.into(), member.name().into(), member.summary().into()]);
                let meanings = member.meanings();
                for (option, default) in member.defaults()? {
                    let meaning = meanings.iter().find(|(name, _)| *name == option);
                    rows.push(vec![
                        Value::Text(format!("option {option}")),
                        value_of_json(&default),
                        meaning.map(|(_, meaning)| meaning.as_str()).into(),
                    ]);
                }
            }
        }
    }
    if rows.is_empty() {
        return Err(Error::unknown("kind", name, known));
    }
    Ok(rows)
}

fn model(record: &sidql_storage::Model) -> Result<Rows> {
    let kind = crate::kind::find(crate::model::KINDS, "kind of model", &record.kind)?;
    let mut facts = Facts::new();
    facts.add("model", record.name.as_str());
    facts.add("kind", record.kind.as_str());
    facts.add("what", kind.summary);
    let can: Vec<&str> = kind.abilities.iter().map(|ability| ability.name()).collect();
    facts.add("makes", can.join(", "));
    facts.add("fingerprint", record.fingerprint.as_str());
    facts.json("option ", &record.config)?;
    facts.add("created", format_ms(record.created_ms));
    Ok(facts.0)
}

/// The words of a prompt, wrapped to lines that a terminal shows whole.
fn prompt_words(prompt: &Prompt) -> Rows {
    let mut rows = Rows::new(["words"]);
    for paragraph in prompt.words().text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > LINE {
                rows.push(vec![std::mem::take(&mut line).into()]);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        rows.push(vec![line.into()]);
    }
    rows
}
