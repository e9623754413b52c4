//! Format 2: derived values keep their provenance. Five tables are born empty, with four counters; what lay
//! in the file stays as it was.

use crate::error::Result;
use crate::table::Table;
use crate::table::counters::{self, Counter};
use crate::txn::Write;

const BORN: [Table; 5] =
    [Table::Models, Table::Origins, Table::Evidence, Table::Stamps, Table::Failures];

const COUNTED: [(Counter, u64); 4] =
    [(Counter::Origin, 1), (Counter::Captions, 0), (Counter::Intents, 0), (Counter::Qualities, 0)];

pub(super) fn run(write: &Write) -> Result<()> {
    for table in BORN {
        write.create_table(table)?;
    }
    for (counter, value) in COUNTED {
        let value = counters::encode(Table::Counters, value)?;
        write.put(Table::Counters, &counter.key(), &value)?;
    }
    Ok(())
}
