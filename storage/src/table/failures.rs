//! Failures by job and item.

use std::ops::Bound;

use super::{Table, rows};
use crate::codec::{archive, key};
use crate::error::Result;
use crate::record::{Failure, ItemNo, JobNo};
use crate::txn::Write;
use crate::view::{Stream, View};

/// Why a job has no value for an item.
pub fn get(view: &dyn View, job: JobNo, item: ItemNo) -> Result<Option<Failure>> {
    rows::get(view, Table::Failures, &key::wide(job, item))
}

/// All failures of a job, in the order of the items.
pub fn of_job(view: &dyn View, job: JobNo) -> Result<Stream<'_, (ItemNo, Failure)>> {
    let rows = rows::under(view, Table::Failures, &key::number(job))?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = key::read_wide(Table::Failures, &row_key)?;
        Ok((item, archive::decode(Table::Failures, &row_key, &value)?))
    })))
}

/// The number of items that failed in a job.
pub fn count_of(view: &dyn View, job: JobNo) -> Result<u64> {
    let mut count = 0;
    for row in rows::under(view, Table::Failures, &key::number(job))? {
        row?;
        count += 1;
    }
    Ok(count)
}

/// Notes that an item failed in a job, in place of what was noted before.
pub fn put(write: &Write, job: JobNo, item: ItemNo, failure: &Failure) -> Result<()> {
    rows::put(write, Table::Failures, &key::wide(job, item), failure)
}

/// Forgets the failure of an item in a job; tells whether there was one.
pub fn remove(write: &Write, job: JobNo, item: ItemNo) -> Result<bool> {
    write.remove(Table::Failures, &key::wide(job, item))
}

/// Forgets all failures of a job.
pub fn clear(write: &Write, job: JobNo) -> Result<()> {
    write.remove_prefix(Table::Failures, &key::number(job))
}

/// Forgets the failures of items in all jobs.
pub(crate) fn remove_items(write: &Write, items: &[ItemNo]) -> Result<()> {
    for job in jobs(write)? {
        write.remove_all(Table::Failures, items.iter().map(|item| key::wide(job, *item)))?;
    }
    Ok(())
}

/// The jobs that have failures, found by leaping from one to the next.
fn jobs(view: &dyn View) -> Result<Vec<JobNo>> {
    let mut jobs = Vec::new();
    let mut from = Some(0);
    while let Some(job) = from {
        let start = key::wide(job, 0);
        let mut rows = view.scan(Table::Failures, Bound::Included(&start), Bound::Unbounded)?;
        from = None;
        if let Some(row) = rows.next() {
            let (job, _) = key::read_wide(Table::Failures, &row?.0)?;
            jobs.push(job);
            from = job.checked_add(1);
        }
    }
    Ok(jobs)
}
