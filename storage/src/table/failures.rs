//! Failures by job and item.

use std::ops::Bound;

use super::{Table, rows};
use crate::codec::{archive, key};
use crate::error::{Error, Result};
use crate::record::{Failure, ItemNo, JobNo};
use crate::txn::Write;
use crate::view::{Stream, View};

/// The key of a row: the job, then the item.
fn row_key(job: JobNo, item: ItemNo) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&job.to_be_bytes());
    key[8..].copy_from_slice(&item.to_be_bytes());
    key
}

/// Reads a key of this table.
pub(crate) fn read_key(row_key: &[u8]) -> Result<(JobNo, ItemNo)> {
    let Some((job, item)) = row_key.split_at_checked(8) else {
        return Err(Error::corrupt(Table::Failures.name(), row_key, "not a key of a failure"));
    };
    let number = |part| key::read_number(Table::Failures, part);
    Ok((number(job)?, number(item)?))
}

/// The failure of a job at an item.
pub fn get(view: &dyn View, job: JobNo, item: ItemNo) -> Result<Option<Failure>> {
    rows::get(view, Table::Failures, &row_key(job, item))
}

/// The failures of a job by item.
pub fn of_job(view: &dyn View, job: JobNo) -> Result<Stream<'_, (ItemNo, Failure)>> {
    let rows = rows::under(view, Table::Failures, &job.to_be_bytes())?;
    Ok(Box::new(rows.map(|row| {
        let (row_key, value) = row?;
        let (_, item) = read_key(&row_key)?;
        Ok((item, archive::decode(Table::Failures, &row_key, &value)?))
    })))
}

/// Whether a job failed at any item.
pub fn any(view: &dyn View, job: JobNo) -> Result<bool> {
    rows::under(view, Table::Failures, &job.to_be_bytes())?
        .next()
        .transpose()
        .map(|row| row.is_some())
}

/// Stores the failure of a job at an item.
pub fn put(write: &Write, job: JobNo, item: ItemNo, failure: &Failure) -> Result<()> {
    rows::put(write, Table::Failures, &row_key(job, item), failure)
}

/// Removes the failure of a job at an item; tells whether it was there.
pub fn remove(write: &Write, job: JobNo, item: ItemNo) -> Result<bool> {
    write.remove(Table::Failures, &row_key(job, item))
}

/// Removes the failures of a job.
pub fn clear(write: &Write, job: JobNo) -> Result<()> {
    write.remove_prefix(Table::Failures, &job.to_be_bytes())
}

/// Removes the failures of all jobs at some items. They are searched once for all.
pub(crate) fn remove_items(write: &Write, items: &[ItemNo]) -> Result<()> {
    let mut gone = Vec::new();
    for row in write.scan(Table::Failures, Bound::Unbounded, Bound::Unbounded)? {
        let (row_key, _) = row?;
        if items.contains(&read_key(&row_key)?.1) {
            gone.push(row_key);
        }
    }
    for row_key in gone {
        write.remove(Table::Failures, &row_key)?;
    }
    Ok(())
}
