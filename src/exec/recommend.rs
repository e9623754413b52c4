//! RECOMMEND: a history, a policy, a predicate; the next items.

use std::sync::Arc;

use sidql_storage::{View, histories, items, users};

use super::filter::eval;
use super::row::{Fetch, Known};
use super::{Context, Outcome, select};
use crate::cache::Ready;
use crate::decode::{self, Allowed, Hit, Request, Source, Trace};
use crate::error::{Error, Result};
use crate::plan::recommend::{Decode, History, Recommend};
use crate::progress::Progress;
use crate::value::{Rows, Value};

/// Runs a RECOMMEND.
pub(crate) fn run(context: &mut Context<'_>, plan: &Recommend) -> Result<Outcome> {
    let (ready, hits, _) = hits(context, plan, false)?;
    Ok(Outcome::Rows(rows(context, plan, &ready, &hits)?))
}

/// The items, and what happened at each level of the beam if that is wanted.
pub(crate) fn hits(
    context: &Context<'_>,
    plan: &Recommend,
    traced: bool,
) -> Result<(Arc<Ready>, Vec<Hit>, Trace)> {
    let view = context.view()?;
    let ready = context.engine.cache.policy(view, &plan.policy)?;
    let catalogue = ready.ground.catalogue();
    let history: Vec<u32> = history(view, &plan.history)?
        .into_iter()
        .filter_map(|item| catalogue.position(item))
        .collect();
    let allowed = match &plan.filter {
        None => Allowed::all(catalogue.len()),
        Some(filter) => {
            let numbers = select::numbers(context.reading()?, filter)?;
            let positions = numbers.into_iter().filter_map(|number| catalogue.position(number));
            Allowed::only(catalogue.len(), ready.ground.trie(), positions)
        }
    };
    let request = Request {
        k: plan.count,
        beam: plan.options.beam,
        exact: plan.options.decode == Decode::Exact,
        exclude_seen: plan.options.filter_seen,
        seed: plan.options.seed,
    };
    let source =
        Source { policy: &ready.policy, catalogue, trie: ready.ground.trie(), allowed: &allowed };
    let progress: &Progress = context.progress;
    let (hits, trace) = if traced {
        decode::traced(&source, &history, &request, progress)?
    } else {
        let mut all = decode::top(&source, &[&history], &request, progress)?;
        (all.pop().unwrap_or_default(), Trace::default())
    };
    Ok((ready, hits, trace))
}

fn history(view: &dyn View, history: &History) -> Result<Vec<u64>> {
    match history {
        History::User(id) => {
            let user = users::number(view, id)?.ok_or_else(|| {
                Error::input("unknown-user", format!("there is no user `{id}`"))
                    .help("for somebody new, name the items: RECOMMEND 10 AFTER ('…', '…')")
            })?;
            Ok(histories::of(view, user)?.into_iter().map(|one| one.item).collect())
        }
        History::Items(ids) => ids
            .iter()
            .map(|id| {
                items::number(view, id)?
                    .ok_or_else(|| Error::input("unknown-item", format!("there is no item `{id}`")))
            })
            .collect(),
    }
}

/// The result table: rank, then what a person looks for in an item.
fn rows(context: &Context<'_>, plan: &Recommend, ready: &Ready, hits: &[Hit]) -> Result<Rows> {
    let columns = plan.shown.columns.iter().map(|(name, _)| name.as_str());
    let mut rows = Rows::new(std::iter::once("rank").chain(columns));
    let fetch = Fetch::new(context.view()?, &plan.shown.sources)?;
    for (rank, hit) in hits.iter().enumerate() {
        let item = ready.ground.catalogue().items[hit.position as usize];
        let known = Known { score: Some(hit.score), ..Known::default() };
        let row = fetch.row(item, &known)?;
        let mut shown = vec![Value::from(rank + 1)];
        shown.extend(plan.shown.columns.iter().map(|(_, expr)| eval(expr, &row)));
        rows.push(shown);
    }
    Ok(rows)
}
