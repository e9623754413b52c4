//! Format 2 adds evidence and provenance: the tables `models`, `origins`, `evidence`, `stamps` and `failures`, and the
//! counter of origins. Nothing that format 1 has changes.

use crate::error::Result;
use crate::table::Table;
use crate::table::counters::{self, Counter};
use crate::txn::Write;

/// Makes the empty tables.
pub(super) fn step(write: &Write) -> Result<()> {
    let new = [Table::Models, Table::Origins, Table::Evidence, Table::Stamps, Table::Failures];
    for table in new {
        write.create_table(table)?;
    }
    let first = counters::encode(Table::Counters, 1)?;
    write.put(Table::Counters, &Counter::Origin.key(), &first)
}
