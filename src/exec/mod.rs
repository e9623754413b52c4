//! Runs plans. One match, one call for each arm; each family of statements has a file with the stem that it has
//! in the grammar and the planner.

mod codebook;
mod codes;
mod compare;
mod copy;
mod define;
mod describe;
mod explain;
mod filter;
mod group;
mod hunt;
mod index;
mod jobs;
mod launch;
mod model;
mod near;
mod prefix;
mod recommend;
mod relation;
mod row;
pub(crate) mod select;
mod show;
mod stale;
mod upkeep;
mod write;

use std::sync::Arc;

use sidql_storage::{Read, Store, View, Write};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::job::{JobHandle, Runner};
use crate::plan::Plan;
use crate::progress::{Progress, Snapshot};
use crate::settings::Settings;
use crate::value::{Row, Rows};
use select::Reading;

/// What a statement gives.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A table.
    Rows(Rows),
    /// A sentence about what was done, for example `12,101 items`.
    Done {
        /// The sentence.
        message: String,
        /// How many rows were inserted, updated or deleted; none where a statement does something else.
        changed: Option<u64>,
    },
    /// A job that goes on in the background.
    Started {
        /// Its number.
        job: u64,
    },
}

impl Outcome {
    /// The table.
    ///
    /// # Errors
    /// The statement gave none.
    pub fn into_rows(self) -> Result<Rows> {
        match self {
            Outcome::Rows(rows) => Ok(rows),
            _ => Err(no_rows()),
        }
    }

    /// A sentence.
    pub(crate) fn say(message: impl Into<String>) -> Outcome {
        Outcome::Done { message: message.into(), changed: None }
    }

    /// A sentence about rows that were changed.
    pub(crate) fn changed(rows: usize, message: impl Into<String>) -> Outcome {
        Outcome::Done { message: message.into(), changed: Some(rows as u64) }
    }
}

/// How far the job is that a statement waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobProgress {
    /// The number of the job.
    pub job: u64,
    /// The statement that asked for it.
    pub statement: String,
    /// Whether it has ended, or is waited for no longer.
    pub finished: bool,
    /// How far it is.
    pub snapshot: Snapshot,
}

/// Sees the progress of the job that a statement waits for.
pub(crate) type Observer = Box<dyn FnMut(&JobProgress) + Send>;

/// What the open file gives to every statement.
pub(crate) struct Engine {
    /// The file.
    pub(crate) store: Store,
    /// What is kept ready in memory.
    pub(crate) cache: Arc<Cache>,
    /// The worker of long work.
    pub(crate) runner: Runner,
    /// Whether statements may name files.
    pub(crate) file_access: bool,
}

/// What one statement runs in.
pub(crate) struct Context<'a> {
    /// The open file.
    pub(crate) engine: &'a Engine,
    /// The settings of the session.
    pub(crate) settings: &'a mut Settings,
    /// The explicit transaction of the session.
    pub(crate) transaction: &'a mut Option<Write>,
    /// The snapshot of this statement, where there is no transaction.
    pub(crate) snapshot: Option<Read>,
    /// Where an interruption shows.
    pub(crate) progress: &'a Progress,
    /// Who sees the progress of a job that the statement waits for.
    pub(crate) observer: &'a mut Option<Observer>,
    /// The text of the statement, for the record of a job.
    pub(crate) text: &'a str,
}

impl Context<'_> {
    /// What the statement sees: the transaction, or the snapshot.
    pub(crate) fn view(&self) -> Result<&dyn View> {
        match (&*self.transaction, &self.snapshot) {
            (Some(write), _) => Ok(write),
            (None, Some(read)) => Ok(read),
            (None, None) => Err(Error::internal("a statement without a view")),
        }
    }

    /// What a SELECT reads from.
    pub(crate) fn reading(&self) -> Result<Reading<'_>> {
        // What a transaction has changed, others do not see.
        let snapshot = self.snapshot.as_ref().filter(|_| self.transaction.is_none());
        Ok(Reading {
            view: self.view()?,
            moment: snapshot.and_then(Read::moment),
            cache: &self.engine.cache,
            progress: self.progress,
            runner: &self.engine.runner,
        })
    }

    /// Runs a change in the session's transaction, or in one of its own that is committed.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&Write) -> Result<T>) -> Result<T> {
        if let Some(write) = &*self.transaction {
            return change(write);
        }
        // The snapshot would pin the pages that the change frees.
        self.snapshot = None;
        let write = self.engine.store.write()?;
        let done = change(&write)?;
        write.commit()?;
        Ok(done)
    }

    /// Refuses what cannot run inside an explicit transaction.
    pub(crate) fn outside_transaction(&self, what: &str) -> Result<()> {
        if self.transaction.is_none() {
            return Ok(());
        }
        Err(Error::input("in-transaction", format!("{what} cannot run inside a transaction"))
            .help("COMMIT; or ROLLBACK; first"))
    }
}

/// Runs a plan.
pub(crate) fn execute(context: &mut Context<'_>, plan: Plan) -> Result<Outcome> {
    match plan {
        Plan::Select(select) => Ok(Outcome::Rows(select::run(context.reading()?, &select)?)),
        Plan::Insert(insert) => write::insert(context, insert),
        Plan::Update(update) => write::update(context, &update),
        Plan::Delete(delete) => write::delete(context, &delete),
        Plan::Import { spec, background } => copy::import(context, &spec, background),
        Plan::Export(export) => copy::export(context, &export),
        Plan::ExportCodes(export) => copy::export_codes(context, &export),
        Plan::Enrich(enrich) => launch::enrich(context, *enrich),
        Plan::Launch { spec, background } => launch::launch(context, &spec, background),
        Plan::CreateCodebook(codebook) => define::create_codebook(context, &codebook),
        Plan::Publish { generation, said } => define::publish(context, generation, said),
        Plan::DropCodebook(drop) => define::drop_codebook(context, &drop),
        Plan::DropUnused { codebook, keep } => define::drop_unused(context, &codebook, keep),
        Plan::CreatePolicy(card) => define::create_policy(context, &card),
        Plan::DropPolicy(name) => define::drop_policy(context, &name),
        Plan::Recommend(recommend) => recommend::run(context, &recommend),
        Plan::Explain { plan, analyze } => explain::run(context, *plan, analyze),
        Plan::CreateModel(model) => model::create(context, model),
        Plan::DropModel(name) => model::drop(context, &name),
        Plan::CreateIndex(index) => index::create(context, &index),
        Plan::DropIndex(name) => index::drop(context, &name),
        Plan::CompareLabels(compare) => model::compare_labels(context, &compare),
        Plan::CompareCodebooks(compare) => compare::codebooks(context, &compare),
        Plan::Failures(job) => show::failed(context, job),
        Plan::Show(what) => show::show(context, what),
        Plan::Describe(what) => describe::describe(context, &what),
        Plan::Wait(job) => jobs::wait(context, job),
        Plan::Cancel(job) => jobs::cancel(context, job),
        Plan::Resume { job, background } => jobs::resume(context, job, background),
        Plan::Verify => upkeep::verify(context),
        Plan::Compact => upkeep::compact(context),
        Plan::Backup(file) => upkeep::backup(context, &file),
        Plan::Set(option) => upkeep::set(context, option),
        Plan::Begin => upkeep::begin(context),
        Plan::Commit => upkeep::commit(context),
        Plan::Rollback => upkeep::rollback(context),
    }
}

/// Puts vectors that a program gives into a space.
pub(crate) fn embeddings(
    context: &mut Context<'_>,
    space: &str,
    ids: &[&str],
    vectors: &[f32],
) -> Result<Outcome> {
    let (cache, progress) = (Arc::clone(&context.engine.cache), context.progress.clone());
    let insert = crate::job::import::embeddings::insert;
    let (message, rows) =
        context.change(|write| insert(write, &cache, &progress, space, ids, vectors))?;
    Ok(Outcome::changed(rows as usize, message))
}

/// Runs a plan and hands over its rows one by one; those of a SELECT as they are found. Tells their columns first.
pub(crate) fn each(
    context: &mut Context<'_>,
    plan: Plan,
    begin: &mut dyn FnMut(Vec<String>),
    take: &mut dyn FnMut(Row) -> Result<()>,
) -> Result<()> {
    if let Plan::Select(select) = &plan {
        begin(select::columns(select).map(str::to_owned).collect());
        return select::each(context.reading()?, select, take).map(|_| ());
    }
    match execute(context, plan)? {
        Outcome::Rows(rows) => {
            begin(rows.columns);
            rows.rows.into_iter().try_for_each(take)
        }
        _ => Err(no_rows()),
    }
}

fn no_rows() -> Error {
    Error::input("no-rows", "the statement gives no rows").help("run it by `execute`")
}

/// Tells the observer of a session how far a job is.
pub(crate) fn tell(observer: &mut Option<Observer>, handle: &JobHandle, finished: bool) {
    if let Some(observer) = observer {
        observer(&JobProgress {
            job: handle.number(),
            statement: handle.statement().to_owned(),
            finished,
            snapshot: handle.snapshot(),
        });
    }
}
