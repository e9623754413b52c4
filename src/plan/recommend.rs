//! RECOMMEND: the policy, the history, the predicate, how to decode.

use std::path::Path;

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use sidql_grammar::ast::{self, Context};
use sidql_grammar::span::Spanned;
use sidql_storage::{
    EvidenceKind, FieldNo, FieldType, GenerationNo, PolicyCard, codebooks, generations,
};

use super::bind::Catalog;
use super::operand;
use super::scope::Scope;
use super::select::{self, Select};
use crate::decode::Decode;
use crate::error::{Error, Result};
use crate::options;

/// How many items RECOMMEND gives without a count.
const DEFAULT_COUNT: usize = 10;
/// The most items that can be asked for, and the widest beam.
const COUNT_MAX: usize = 10_000;

/// A resolved RECOMMEND.
pub(crate) struct Recommend {
    /// How many.
    pub(crate) count: usize,
    /// The policy.
    pub(crate) policy: PolicyCard,
    /// The codes that it speaks, in words.
    pub(crate) spoken: Option<String>,
    /// The history.
    pub(crate) history: History,
    /// The predicate, with its access path.
    pub(crate) filter: Option<Select>,
    /// What a result row shows, beside rank and score.
    pub(crate) shown: Select,
    /// What EXPLAIN ANALYZE shows of an item of the answer.
    pub(crate) told: Select,
    /// At most so many items under one prefix.
    pub(crate) variety: Option<Variety>,
    /// The field that is added to scores, and its weight.
    pub(crate) boost: Option<(FieldNo, f32)>,
    /// The file that takes the rows.
    pub(crate) into: Option<String>,
    /// How to decode.
    pub(crate) options: Options,
}

/// At most `most` items of an answer share their first `length` codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variety {
    /// Codes of the prefix.
    pub(crate) length: usize,
    /// Items under each.
    pub(crate) most: usize,
    /// The generation whose SIDs count.
    pub(crate) generation: GenerationNo,
}

/// What a recommendation continues.
#[derive(Clone, Debug)]
pub(crate) enum History {
    /// The history of a user, by id.
    User(String),
    /// The history of every user.
    Everybody,
    /// Items by id, oldest first.
    Items(Vec<String>),
}

/// Options of RECOMMEND.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Beams of a generator; never fewer than items are asked for.
    pub(crate) beam: usize,
    /// `beam` searches, `exact` looks at every item, `auto` does what suits the policy.
    pub(crate) decode: Decode,
    /// Whether items of the history are left out.
    pub(crate) filter_seen: bool,
    /// Orders items of equal score.
    pub(crate) seed: u64,
    /// The most items of an answer under one prefix; 0 for no limit.
    pub(crate) max_per_prefix: usize,
    /// The codes of that prefix.
    pub(crate) prefix_length: usize,
    /// A field of items, a number or a truth, that is added to the score; none for nothing.
    pub(crate) boost: Option<String>,
    /// Its weight.
    pub(crate) boost_weight: f32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            beam: 20,
            decode: Decode::Auto,
            filter_seen: true,
            seed: 0,
            max_per_prefix: 0,
            prefix_length: 1,
            boost: None,
            boost_weight: 1.0,
        }
    }
}

/// Resolves a RECOMMEND.
pub(crate) fn plan(catalog: &Catalog<'_>, recommend: &ast::Recommend) -> Result<Recommend> {
    let count = match &recommend.count {
        Some(count) => operand::count(catalog, count, "RECOMMEND")?,
        None => DEFAULT_COUNT,
    };
    let policy = match &recommend.using {
        Some(name) => catalog.policy(&name.node).map_err(|error| error.at(name.span.clone()))?,
        None => catalog.default_policy()?,
    };
    let span = &recommend.context.span;
    let history = match &recommend.context.node {
        Context::User(user) => History::User(operand::text(catalog, user, span)?),
        Context::Users => History::Everybody,
        Context::After(items) => History::Items(
            items
                .iter()
                .map(|item| operand::text(catalog, &item.node, &item.span))
                .collect::<Result<_>>()?,
        ),
    };
    let given = operand::options(catalog, &recommend.with)?;
    let options: Options = options::config(&given)?;
    let at = |name: &str, error: Error| match given.iter().find(|option| option.name == name) {
        Some(option) => error.at(option.span.clone()),
        None => error,
    };
    for (name, given) in [("RECOMMEND", count), ("option `beam`", options.beam)] {
        if given > COUNT_MAX {
            let message = format!("{name} takes at most {COUNT_MAX}, not {given}");
            return Err(Error::input("over-limit", message));
        }
    }
    let filter = match &recommend.filter {
        Some(filter) => Some(select::plan_filter(catalog, Some(filter))?),
        None => None,
    };
    let variety =
        variety(catalog, &policy, &options).map_err(|error| at("max_per_prefix", error))?;
    let boost = boost(catalog, &options).map_err(|error| at("boost", error))?;
    let into = recommend.into.as_ref().map(|given| file(catalog, given)).transpose()?;
    let columns: &[&str] = match history {
        // A row for each user and item: what can be looked up by the id is left out.
        History::Everybody => &["id", "score", "sid"],
        _ => &["id", "score", "sid", "title", "brand", "price"],
    };
    let told = shown(catalog, &["id", "sid", "descriptors"])?;
    let shown = shown(catalog, columns)?;
    let spoken = spoken(catalog, &policy)?;
    Ok(Recommend {
        count,
        policy,
        spoken,
        history,
        filter,
        shown,
        told,
        variety,
        boost,
        into,
        options,
    })
}

/// The file that takes the rows, of a format that its name tells.
fn file(catalog: &Catalog<'_>, given: &Spanned<ast::Operand>) -> Result<String> {
    let file = operand::text(catalog, &given.node, &given.span)?;
    let help = "a name ends in .jsonl, .csv or .tsv, perhaps with .gz or .zst";
    crate::format::format_of(Path::new(&file), None)
        .map_err(|error| error.help(help).at(given.span.clone()))?;
    Ok(file)
}

/// The generation that a policy answers on, which need not be the published one.
fn spoken(catalog: &Catalog<'_>, policy: &PolicyCard) -> Result<Option<String>> {
    let (Some(codebook), Some(number)) = (&policy.codebook, policy.generation) else {
        return Ok(policy.codebook.clone());
    };
    let ordinal = |number| -> Result<Option<u32>> {
        Ok(generations::get(catalog.view, number)?.map(|one| one.ordinal))
    };
    let Some(own) = ordinal(number)? else { return Ok(Some(codebook.clone())) };
    let published = codebooks::get(catalog.view, codebook)?.and_then(|one| one.published);
    let others = match published.filter(|published| *published != number) {
        Some(other) => ordinal(other)?,
        None => None,
    };
    Ok(Some(match others {
        Some(other) => format!("{codebook}, generation {own}, not the published {other}"),
        None => format!("{codebook}, generation {own}"),
    }))
}

/// What the options say of prefixes: those of the policy's own codes, or of the published ones where it has none.
fn variety(
    catalog: &Catalog<'_>,
    policy: &PolicyCard,
    options: &Options,
) -> Result<Option<Variety>> {
    if options.max_per_prefix == 0 {
        return Ok(None);
    }
    let generation = match policy.generation {
        Some(number) => generations::must(catalog.view, number)?,
        None => catalog.generation(None, None)?,
    };
    let (length, levels) = (options.prefix_length, generation.levels as usize);
    if !(1..=levels).contains(&length) {
        let message =
            format!("option `prefix_length` must lie between 1 and {levels}, not {length}");
        return Err(Error::input("bad-option", message));
    }
    let most = options.max_per_prefix;
    Ok(Some(Variety { length, most, generation: generation.number }))
}

/// The field that the options add to scores.
fn boost(catalog: &Catalog<'_>, options: &Options) -> Result<Option<(FieldNo, f32)>> {
    let Some(name) = &options.boost else { return Ok(None) };
    let Some((number, field)) = catalog.field(name) else {
        let known = catalog.fields().iter().map(|field| field.name.as_str());
        return Err(Error::unknown("field", name, known));
    };
    if !matches!(field.kind, FieldType::Int | FieldType::Float | FieldType::Bool) {
        let message = format!("field `{name}` holds no numbers that could be added to a score");
        return Err(Error::input("bad-option", message));
    }
    if !options.boost_weight.is_finite() {
        return Err(Error::input("bad-option", "option `boost_weight` must be a finite number"));
    }
    Ok(Some((number, options.boost_weight)))
}

/// The columns of a recommended item, those of the names that the catalogue has.
fn shown(catalog: &Catalog<'_>, names: &[&str]) -> Result<Select> {
    let relation = super::relation::Relation::Items;
    let mut scope = Scope::new(catalog, relation).with_score();
    let mut columns = Vec::new();
    for &name in names {
        let known = match name {
            "id" | "score" => true,
            "sid" => catalog.has_published(),
            "descriptors" => catalog.has_evidence(EvidenceKind::Intent)?,
            field => catalog.field(field).is_some(),
        };
        if known {
            columns.push((name.to_owned(), scope.column(name)?.0));
        }
    }
    let mut select = select::plan_filter(catalog, None)?;
    (select.sources, select.labels) = scope.into_sources();
    select.columns = columns;
    Ok(select)
}
