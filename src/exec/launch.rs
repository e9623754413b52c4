//! Long work: enqueued, and waited for unless it shall go on in the background.

use std::time::Duration;

use super::{Context, Outcome, select, tell};
use crate::error::Result;
use crate::job::{Answer, JobHandle, Spec};
use crate::plan::enrich::Enrich;
use crate::schema::value_of_json;
use crate::value::Rows;

/// How often a waiting statement looks up.
const TICK: Duration = Duration::from_millis(100);

/// Enqueues a job.
pub(crate) fn launch(context: &mut Context<'_>, spec: &Spec, background: bool) -> Result<Outcome> {
    context.outside_transaction("long work")?;
    context.snapshot = None;
    let handle = context.engine.runner.launch(spec, context.text)?;
    if background { Ok(Outcome::Started { job: handle.number() }) } else { wait(context, &handle) }
}

/// Enqueues an ENRICH, after its filter has named the items.
pub(crate) fn enrich(context: &mut Context<'_>, enrich: Enrich) -> Result<Outcome> {
    let mut spec = enrich.spec;
    if let Some(only) = &enrich.only {
        spec.only = Some(select::numbers(context.reading()?, only)?);
    }
    let spec = Spec::new(crate::job::kind("enrich")?, &spec)?;
    launch(context, &spec, enrich.background)
}

/// Waits for a job; an interruption of the statement cancels it, unless the wait alone shall end.
pub(crate) fn wait(context: &mut Context<'_>, handle: &JobHandle) -> Result<Outcome> {
    loop {
        if context.progress.stopping() {
            handle.cancel();
        }
        match handle.wait_for(TICK) {
            None if context.progress.detached() => {
                tell(context.observer, handle, true);
                return Ok(Outcome::Started { job: handle.number() });
            }
            None => tell(context.observer, handle, false),
            Some(end) => {
                tell(context.observer, handle, true);
                return end.map(|answer| outcome(&answer)).map_err(|error| {
                    let again = format!("RESUME JOB {}; goes on with it", handle.number());
                    if error.is_cancelled() { error.help(again) } else { error }
                });
            }
        }
    }
}

/// What a job said, as the outcome of a statement.
pub(crate) fn outcome(answer: &Answer) -> Outcome {
    if answer.columns.is_empty() {
        return Outcome::Done { message: answer.message.clone(), changed: answer.changed };
    }
    let mut rows = Rows::new(answer.columns.iter().map(String::as_str));
    for row in &answer.rows {
        rows.push(row.iter().map(value_of_json).collect());
    }
    Outcome::Rows(rows)
}
