//! Steps from one format of the file to the next, each in a file of its own that is never edited later.

mod v1_to_v2;

use crate::error::Result;
use crate::txn::Write;

/// The oldest format that this build reads.
pub(crate) const OLDEST: u32 = 1;

/// The step from each format to the next, the oldest first.
const STEPS: &[fn(&Write) -> Result<()>] = &[v1_to_v2::step];

/// Runs the steps from a format to the newest, within one transaction: a kill leaves the file as it was.
pub(crate) fn migrate(write: &Write, from: u32) -> Result<()> {
    STEPS.iter().skip((from - OLDEST) as usize).try_for_each(|step| step(write))
}
