//! The format of the file: its row in `meta`, and the steps that bring an older file to the newest one.
//!
//! A step has a file of its own and is never edited once a build with it has been given away: what it makes
//! is what files of its format hold. All steps that a file needs run in one transaction, so a file has either
//! the format it had or the newest.

mod v1_to_v2;
mod v2_to_v3;

use crate::codec::frame;
use crate::error::{Error, Result};
use crate::table::Table;
use crate::txn::Write;
use crate::view::View;

/// The format number that this build writes, and the newest one it reads.
pub const FORMAT: u32 = 3;
/// The oldest format number that this build reads.
pub const OLDEST_FORMAT: u32 = 1;

/// Stands at the front of the format row.
const MAGIC: &[u8; 8] = b"sidql\0\r\n";
const FORMAT_KEY: &[u8] = b"format";

/// Brings a file to the next format.
type Step = fn(&Write) -> Result<()>;

/// Every step; the first one begins with the oldest format.
const STEPS: [Step; (FORMAT - OLDEST_FORMAT) as usize] = [v1_to_v2::run, v2_to_v3::run];

/// Brings a file from the format it was found in to the newest one.
pub(crate) fn run(write: &Write, found: u32) -> Result<()> {
    for (from, step) in (OLDEST_FORMAT..).zip(STEPS) {
        if from >= found {
            step(write)?;
        }
    }
    mark(write)
}

/// Says in the file that it has the newest format.
pub(crate) fn mark(write: &Write) -> Result<()> {
    let mut payload = MAGIC.to_vec();
    payload.extend_from_slice(&FORMAT.to_le_bytes());
    write.put(Table::Meta, FORMAT_KEY, &frame::wrap(Table::Meta, &payload)?)
}

/// The format number of a file, which is one that this build reads.
pub(crate) fn check(view: &dyn View) -> Result<u32> {
    let row = match view.get(Table::Meta, FORMAT_KEY) {
        Ok(Some(row)) => row,
        Ok(None) | Err(Error::Corrupt { table: "file", .. }) => return Err(Error::NotSidql),
        Err(error) => return Err(error),
    };
    match read(&row)? {
        found @ OLDEST_FORMAT..=FORMAT => Ok(found),
        0 => Err(Error::corrupt(Table::Meta.name(), FORMAT_KEY, "no file has format 0")),
        found => Err(Error::Version { found, supported: FORMAT }),
    }
}

/// The format number in a format row.
pub(crate) fn read(framed: &[u8]) -> Result<u32> {
    let payload = frame::open(Table::Meta, FORMAT_KEY, framed)?;
    match payload.strip_prefix(MAGIC).map(<[u8; 4]>::try_from) {
        Some(Ok(number)) => Ok(u32::from_le_bytes(number)),
        _ => Err(Error::NotSidql),
    }
}
