//! RECOMMEND: the policy, the history, the predicate, how to decode.

use serde::{Deserialize, Serialize};
use sidql_grammar::ast::{self, Context};
use sidql_storage::PolicyCard;

use super::bind::Catalog;
use super::operand;
use super::scope::Scope;
use super::select::{self, Select};
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
    /// The history.
    pub(crate) history: History,
    /// The predicate, with its access path.
    pub(crate) filter: Option<Select>,
    /// What a result row shows, beside rank and score.
    pub(crate) shown: Select,
    /// How to decode.
    pub(crate) options: Options,
}

/// What a recommendation continues.
#[derive(Clone, Debug)]
pub(crate) enum History {
    /// The history of a user, by id.
    User(String),
    /// Items by id, oldest first.
    Items(Vec<String>),
}

/// Options of RECOMMEND.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Options {
    /// Beams of a generator; never fewer than items are asked for.
    pub(crate) beam: usize,
    /// `beam` searches, `exact` scores every item.
    pub(crate) decode: Decode,
    /// Whether items of the history are left out.
    pub(crate) filter_seen: bool,
    /// Orders items of equal score.
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { beam: 20, decode: Decode::Beam, filter_seen: true, seed: 0 }
    }
}

/// How a generator is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decode {
    /// The best beams at each level of the trie.
    Beam,
    /// Every item that the predicate allows.
    Exact,
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
        Context::After(items) => History::Items(
            items
                .iter()
                .map(|item| operand::text(catalog, &item.node, &item.span))
                .collect::<Result<_>>()?,
        ),
    };
    let options: Options = options::config(&operand::options(catalog, &recommend.with)?)?;
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
    Ok(Recommend { count, policy, history, filter, shown: shown(catalog)?, options })
}

/// The columns of a recommended item: id, sid, title and the other short ones a person looks for.
fn shown(catalog: &Catalog<'_>) -> Result<Select> {
    let relation = super::relation::Relation::Items;
    let mut scope = Scope::new(catalog, relation).with_score();
    let mut columns = Vec::new();
    for name in ["id", "score", "sid", "title", "brand", "price"] {
        let known = match name {
            "id" | "score" => true,
            "sid" => catalog.has_published(),
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
