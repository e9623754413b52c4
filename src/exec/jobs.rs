//! WAIT, CANCEL and RESUME.

use sidql_storage::{JobNo, JobState, jobs};

use super::{Context, Outcome, launch};
use crate::error::{Error, Result};
use crate::job::{Answer, queue};

/// Waits for a job and gives what it says.
pub(crate) fn wait(context: &mut Context<'_>, job: JobNo) -> Result<Outcome> {
    context.outside_transaction("WAIT")?;
    if let Some(handle) = context.engine.runner.handle(job) {
        return launch::wait(context, &handle);
    }
    let record = queue::find(&context.engine.store, job)?;
    match record.state {
        JobState::Done => {
            let stored = record.result.as_deref().unwrap_or("{}");
            let answer: Answer = serde_json::from_str(stored)
                .unwrap_or_else(|_| Answer::say(record.message.as_str()));
            Ok(launch::outcome(&answer))
        }
        JobState::Failed => Err(queue::stored_error(&record)),
        state => Err(Error::input("not-running", format!("job {job} is {}", state.name()))
            .help(format!("RESUME JOB {job};"))),
    }
}

/// Asks a job to stop and waits until it has.
pub(crate) fn cancel(context: &mut Context<'_>, job: JobNo) -> Result<Outcome> {
    context.outside_transaction("CANCEL")?;
    if let Some(handle) = context.engine.runner.handle(job) {
        handle.cancel();
        return match launch::wait(context, &handle) {
            Err(error) if error.is_cancelled() => Ok(Outcome::say(format!(
                "job {job} is cancelled; RESUME JOB {job} goes on with it"
            ))),
            other => other,
        };
    }
    let mut record = queue::find(&context.engine.store, job)?;
    if record.state.is_over() {
        return Ok(Outcome::say(format!("job {job} is {} already", record.state.name())));
    }
    record.state = JobState::Cancelled;
    context.change(|write| Ok(jobs::update(write, &record)?))?;
    Ok(Outcome::say(format!("job {job} is cancelled")))
}

/// Puts a stopped job back to work.
pub(crate) fn resume(context: &mut Context<'_>, job: JobNo, background: bool) -> Result<Outcome> {
    context.outside_transaction("RESUME")?;
    context.snapshot = None;
    let handle = context.engine.runner.resume(job)?;
    if background { Ok(Outcome::Started { job }) } else { launch::wait(context, &handle) }
}
