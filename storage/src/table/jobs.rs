//! Jobs by number, which is the order of the queue.

use super::{Table, blobs, failures, rows};
use crate::codec::key;
use crate::error::{Error, Result};
use crate::record::{JobNo, JobRecord, JobState};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::View;

/// The job of a number.
pub fn get(view: &dyn View, job: JobNo) -> Result<Option<JobRecord>> {
    rows::get(view, Table::Jobs, &key::number(job))
}

/// All jobs, oldest first.
pub fn all(view: &dyn View) -> Result<Vec<JobRecord>> {
    rows::all(view, Table::Jobs)
}

/// The jobs in one state, oldest first.
pub fn in_state(view: &dyn View, state: JobState) -> Result<Vec<JobRecord>> {
    Ok(all(view)?.into_iter().filter(|job| job.state == state).collect())
}

/// Adds a job and gives its number.
pub fn create(write: &Write, job: &JobRecord) -> Result<JobNo> {
    let number = write.next(Counter::Job)?;
    let job = JobRecord { number, ..job.clone() };
    rows::put(write, Table::Jobs, &key::number(number), &job)?;
    Ok(number)
}

/// Replaces a job; a checkpoint that is replaced is removed.
pub fn update(write: &Write, job: &JobRecord) -> Result<()> {
    let old = get(write, job.number)?
        .ok_or_else(|| Error::NotFound(format!("job {} does not exist", job.number)))?;
    if old.checkpoint != job.checkpoint {
        blobs::delete_if(write, old.checkpoint)?;
    }
    rows::put(write, Table::Jobs, &key::number(job.number), job)
}

/// Removes a job with its checkpoint and its failures; tells whether it was there.
pub fn delete(write: &Write, job: JobNo) -> Result<bool> {
    let Some(record) = get(write, job)? else { return Ok(false) };
    blobs::delete_if(write, record.checkpoint)?;
    failures::clear(write, job)?;
    write.remove(Table::Jobs, &key::number(job))
}
