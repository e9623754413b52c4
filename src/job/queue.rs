//! The queue as the file keeps it: enqueue, claim, finish, and what a kill left behind.

use serde::{Deserialize, Serialize};
use sidql_storage::{JobNo, JobRecord, JobState, Store, Write, failures, jobs};

use super::{Answer, Spec};
use crate::clock::now_ms;
use crate::error::{Error, Kind, Result};
use crate::progress::{Curves, Progress};

/// Writes a new job into the queue.
pub(crate) fn enqueue(store: &Store, spec: &Spec, statement: &str) -> Result<JobNo> {
    let write = store.write()?;
    let record = JobRecord {
        kind: spec.kind.to_owned(),
        statement: statement.to_owned(),
        spec: spec.json.clone(),
        created_ms: now_ms(),
        ..JobRecord::default()
    };
    let number = jobs::create(&write, &record)?;
    write.commit()?;
    Ok(number)
}

/// A job by number.
pub(crate) fn find(store: &Store, number: JobNo) -> Result<JobRecord> {
    let read = store.read()?;
    jobs::get(&read, number)?.ok_or_else(|| {
        Error::input("unknown-job", format!("there is no job {number}"))
            .help("SHOW JOBS lists them")
    })
}

/// Puts a stopped job back into the queue, or one that left failures behind. A job that ended takes the items that
/// failed up again; one that was cut short does not come back to them.
pub(crate) fn requeue(store: &Store, number: JobNo) -> Result<JobRecord> {
    let record = find(store, number)?;
    let left = failures::count_of(&store.read()?, number)? > 0;
    match record.state {
        JobState::Interrupted | JobState::Cancelled => {}
        JobState::Failed => clear_failures(store, number)?,
        JobState::Done if left => clear_failures(store, number)?,
        state => {
            let message = format!("job {number} is {} and cannot be resumed", state.name());
            return Err(Error::input("not-resumable", message)
                .help("interrupted, cancelled and failed jobs can, and jobs that left failures"));
        }
    }
    change(store, number, |job| {
        job.state = JobState::Queued;
        job.error = None;
        job.finished_ms = None;
    })
}

fn clear_failures(store: &Store, number: JobNo) -> Result<()> {
    let write = store.write()?;
    failures::clear(&write, number)?;
    Ok(write.commit()?)
}

/// Marks a job as running.
pub(crate) fn claim(store: &Store, number: JobNo) -> Result<JobRecord> {
    change(store, number, |job| {
        job.state = JobState::Running;
        job.started_ms = Some(now_ms());
    })
}

/// Records within a transaction that a job has done its work.
pub(crate) fn done(
    write: &Write,
    number: JobNo,
    answer: &Answer,
    progress: &Progress,
) -> Result<()> {
    let Some(mut job) = jobs::get(write, number)? else { return Ok(()) };
    end(&mut job, Some(answer), progress)?;
    job.state = JobState::Done;
    job.message.clone_from(&answer.message);
    job.checkpoint = None;
    Ok(jobs::update(write, &job)?)
}

fn end(job: &mut JobRecord, answer: Option<&Answer>, progress: &Progress) -> Result<()> {
    job.finished_ms = Some(now_ms());
    let last = progress.snapshot();
    (job.stage, job.done, job.total) = (last.stage, last.done, last.total);
    job.result = Some(with_curves(answer, progress)?);
    Ok(())
}

/// Records how a job ended, if it has not said so with its result. A checkpoint is kept while the job can still be
/// resumed.
pub(crate) fn finish(
    store: &Store,
    number: JobNo,
    outcome: &Result<Answer>,
    closing: bool,
    progress: &Progress,
) -> Result<()> {
    let write = store.write()?;
    let Some(mut job) = jobs::get(&write, number)? else { return Ok(()) };
    match outcome {
        Ok(_) if job.state == JobState::Done => return Ok(()),
        Ok(answer) => done(&write, number, answer, progress)?,
        Err(error) => {
            end(&mut job, None, progress)?;
            if error.is_cancelled() {
                job.state = if closing { JobState::Interrupted } else { JobState::Cancelled };
            } else {
                job.state = JobState::Failed;
                error.message().clone_into(&mut job.message);
                job.error = Some(error.to_string());
            }
            jobs::update(&write, &job)?;
        }
    }
    write.commit()?;
    Ok(())
}

/// What a job has to show, as it is stored: its answer where there is one, and its curves.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Shown {
    #[serde(flatten)]
    answer: Answer,
    curves: Curves,
}

/// What a job has to show now.
pub(crate) fn with_curves(answer: Option<&Answer>, progress: &Progress) -> Result<String> {
    let answer = answer.cloned().unwrap_or_default();
    Ok(serde_json::to_string(&Shown { answer, curves: progress.curves() })?)
}

/// The curves of a job of another run or process.
pub(crate) fn curves(job: &JobRecord) -> Curves {
    let stored = job.result.as_deref().and_then(|json| serde_json::from_str::<Shown>(json).ok());
    stored.unwrap_or_default().curves
}

/// Marks what was queued or running when the last process ended as interrupted.
pub(crate) fn mark_interrupted(store: &Store) -> Result<()> {
    let stranded: Vec<JobRecord> = jobs::all(&store.read()?)?
        .into_iter()
        .filter(|job| matches!(job.state, JobState::Queued | JobState::Running))
        .collect();
    if stranded.is_empty() {
        return Ok(());
    }
    let write = store.write()?;
    for mut job in stranded {
        job.state = JobState::Interrupted;
        jobs::update(&write, &job)?;
    }
    write.commit()?;
    Ok(())
}

/// The error of a job that failed in an earlier process.
pub(crate) fn stored_error(job: &JobRecord) -> Error {
    let message = job.error.clone().unwrap_or_else(|| job.message.clone());
    Error::new(Kind::Retry, "job-failed", format!("job {} failed: {message}", job.number))
        .help(format!("RESUME JOB {} tries again", job.number))
}

fn change(store: &Store, number: JobNo, how: impl FnOnce(&mut JobRecord)) -> Result<JobRecord> {
    let write = store.write()?;
    let mut job = jobs::get(&write, number)?
        .ok_or_else(|| Error::internal(format!("job {number} vanished")))?;
    how(&mut job);
    jobs::update(&write, &job)?;
    write.commit()?;
    Ok(job)
}
