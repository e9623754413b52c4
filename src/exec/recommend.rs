//! RECOMMEND: histories, a policy, a predicate; the next items.

use std::path::Path;
use std::sync::Arc;

use sidql_storage::{FieldNo, UserNo, View, histories, items, users};

use super::filter::eval;
use super::row::{Fetch, Known};
use super::{Context, Outcome, select};
use crate::cache::{Ground, Ready};
use crate::count::grouped;
use crate::decode::{self, Hit, Request, Source, Trace, Variety};
use crate::error::{Error, Result};
use crate::format;
use crate::index::Allowed;
use crate::plan::recommend::{self as plan, History, Recommend};
use crate::plan::select::Select;
use crate::schema;
use crate::value::{Row, Rows, Value};

/// Users that are answered together: a bulk answer holds no more in memory.
const USERS_AT_ONCE: usize = 2048;

/// Runs a RECOMMEND.
pub(crate) fn run(context: &mut Context<'_>, plan: &Recommend) -> Result<Outcome> {
    let asked = Asked::new(context, plan)?;
    let columns: Vec<String> = columns(plan);
    let Some(file) = &plan.into else {
        let mut rows = Rows::new(columns);
        asked.each(context, plan, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        return Ok(Outcome::Rows(rows));
    };
    let options = format::given(None, None, None);
    let mut writer = format::create_writer(Path::new(file), None, &columns, &options)?;
    let mut written = 0;
    let users = asked.each(context, plan, &mut |row| {
        written += 1;
        writer.write(&row)
    })?;
    writer.finish()?;
    let whom = match &plan.history {
        History::Everybody => format!(" for {} users", grouped(users)),
        _ => String::new(),
    };
    Ok(Outcome::say(format!("{} recommendations{whom} into {file}", grouped(written))))
}

/// The names of the result: whom, which place, then what is shown of an item.
fn columns(plan: &Recommend) -> Vec<String> {
    let user = matches!(plan.history, History::Everybody).then_some("user");
    let shown = plan.shown.columns.iter().map(|(name, _)| name.as_str());
    user.into_iter().chain(["rank"]).chain(shown).map(str::to_owned).collect()
}

/// What is the same for every user of a statement.
struct Asked {
    ready: Arc<Ready>,
    allowed: Arc<Allowed>,
    request: Request,
}

impl Asked {
    fn new(context: &Context<'_>, plan: &Recommend) -> Result<Self> {
        let view = context.view()?;
        let ready = context.engine.cache.policy(view, &plan.policy)?;
        let allowed = allowed(context, plan.filter.as_ref(), &ready.ground)?;
        let catalogue = ready.ground.catalogue();
        let variety = plan.variety.map(|asked| variety(context, &ready.ground, asked));
        let boost = plan.boost.map(|boost| boosts(view, &catalogue.items, boost));
        let request = Request {
            k: plan.count,
            beam: plan.options.beam,
            decode: plan.options.decode,
            exclude_seen: plan.options.filter_seen,
            seed: plan.options.seed,
            variety: variety.transpose()?,
            boost: boost.transpose()?,
        };
        Ok(Asked { ready, allowed, request })
    }

    fn source(&self) -> Source<'_> {
        let ground = &self.ready.ground;
        Source {
            policy: &self.ready.policy,
            catalogue: ground.catalogue(),
            trie: ground.trie(),
            allowed: &self.allowed,
        }
    }

    /// A history as the policy sees it: what it has no codes for is left out.
    fn positions(&self, history: &[u64]) -> Vec<u32> {
        let catalogue = self.ready.ground.catalogue();
        history.iter().filter_map(|item| catalogue.position(*item)).collect()
    }

    /// Hands every row of the answer to `take`, user by user; tells how many users there were.
    fn each(
        &self,
        context: &Context<'_>,
        plan: &Recommend,
        take: &mut dyn FnMut(Row) -> Result<()>,
    ) -> Result<u64> {
        let view = context.view()?;
        let fetch = Fetch::new(view, &plan.shown.sources)?;
        let mut answer = |user: Option<&str>, hits: &[Hit]| -> Result<()> {
            for (rank, hit) in hits.iter().enumerate() {
                let mut row: Row = user.map(Value::from).into_iter().collect();
                row.push(Value::from(rank + 1));
                row.extend(self.shown(&fetch, &plan.shown, hit)?);
                take(row)?;
            }
            Ok(())
        };
        let source = self.source();
        if !matches!(plan.history, History::Everybody) {
            let history = self.positions(&history(view, &plan.history)?);
            let hits = decode::top(&source, &[&history], &self.request, context.progress)?;
            answer(None, &hits.concat())?;
            return Ok(1);
        }
        let mut done = 0;
        context.progress.stage("recommending", users::count(view)?);
        let mut from: UserNo = 0;
        loop {
            let mut batch: Vec<(String, Vec<u32>)> = Vec::new();
            for row in users::scan(view, from)?.take(USERS_AT_ONCE) {
                let (number, user) = row?;
                let history = histories::of(view, number)?.into_iter().map(|one| one.item);
                batch.push((user.id, self.positions(&history.collect::<Vec<_>>())));
                from = number + 1;
            }
            if batch.is_empty() {
                return Ok(done);
            }
            let histories: Vec<&[u32]> = batch.iter().map(|(_, one)| one.as_slice()).collect();
            let hits = decode::top(&source, &histories, &self.request, context.progress)?;
            for ((user, _), hits) in batch.iter().zip(&hits) {
                answer(Some(user), hits)?;
            }
            done += batch.len() as u64;
            context.progress.advance(batch.len() as u64);
        }
    }

    /// What a statement shows of an item of the answer.
    fn shown(&self, fetch: &Fetch<'_>, select: &Select, hit: &Hit) -> Result<Row> {
        let item = self.ready.ground.catalogue().items[hit.position as usize];
        let known = Known { score: Some(hit.score), ..Known::default() };
        let row = fetch.row(item, &known)?;
        Ok(select.columns.iter().map(|(_, expr)| eval(expr, &row)).collect())
    }
}

/// Answers with what happened at each level of the beam, and a line for each item of the answer.
pub(crate) fn traced(context: &Context<'_>, plan: &Recommend) -> Result<(Trace, Vec<String>)> {
    let view = context.view()?;
    if matches!(plan.history, History::Everybody) {
        let message = "EXPLAIN ANALYZE shows the beam of one user";
        return Err(Error::input("one-user", message)
            .help("name one, as in EXPLAIN ANALYZE RECOMMEND 5 FOR USER '…'"));
    }
    let asked = Asked::new(context, plan)?;
    let history = asked.positions(&history(view, &plan.history)?);
    let (hits, trace) =
        decode::traced(&asked.source(), &history, &asked.request, context.progress)?;
    let fetch = Fetch::new(view, &plan.told.sources)?;
    let mut lines = Vec::with_capacity(hits.len());
    for (rank, hit) in hits.iter().enumerate() {
        let told = asked.shown(&fetch, &plan.told, hit)?;
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        lines.push(format!("{}: {}, score {:.4}", rank + 1, told.join(" "), hit.score));
    }
    Ok((trace, lines))
}

/// The items that a predicate allows. It is looked up once for a state of the file.
fn allowed(
    context: &Context<'_>,
    filter: Option<&Select>,
    ground: &Ground,
) -> Result<Arc<Allowed>> {
    let catalogue = ground.catalogue();
    let Some(filter) = filter else { return Ok(Arc::new(Allowed::all(catalogue.len()))) };
    let reading = context.reading()?;
    reading.cache.allowed(reading.moment, ground, &select::predicate(filter), || {
        select::accepted(reading, filter)
    })
}

/// Which items of a policy count as alike.
fn variety(context: &Context<'_>, ground: &Ground, asked: plan::Variety) -> Result<Variety> {
    let plan::Variety { length, most, generation } = asked;
    if let Some(trie) = ground.trie() {
        return Ok(Variety::of_trie(trie, length, most));
    }
    let index = context.engine.cache.index(context.view()?, generation)?;
    Ok(Variety::of_others(ground.catalogue(), &index.catalogue, &index.trie, length, most))
}

/// What a field adds to the score of each item; nothing where an item has none.
fn boosts(view: &dyn View, numbers: &[u64], (field, weight): (FieldNo, f32)) -> Result<Arc<[f32]>> {
    let boost = |number: &u64| -> Result<f32> {
        let item = items::get(view, *number)?;
        let value = item.as_ref().and_then(|item| item.field(field)).map(schema::value_of);
        let value = match value {
            Some(Value::Bool(truth)) => f64::from(u8::from(truth)),
            other => other.and_then(|value| value.as_f64()).unwrap_or(0.0),
        };
        Ok(weight * value as f32)
    };
    numbers.iter().map(boost).collect()
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
        History::Everybody => Ok(Vec::new()),
    }
}
