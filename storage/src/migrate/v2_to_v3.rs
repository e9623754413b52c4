//! Format 3: vector indexes, and the revisions of the vectors that they need. Two tables are
//! born empty; what lay in the file stays as it was, and counts as unchanged since revision 0.

use crate::error::Result;
use crate::table::Table;
use crate::txn::Write;

const BORN: [Table; 2] = [Table::Indexes, Table::Changes];

pub(super) fn run(write: &Write) -> Result<()> {
    BORN.into_iter().try_for_each(|table| write.create_table(table))
}
