//! Origins by number: who made derived values.

use super::{Table, rows};
use crate::error::{Error, Result};
use crate::record::{Origin, OriginNo};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::View;

/// The origin of a number.
pub fn get(view: &dyn View, number: OriginNo) -> Result<Option<Origin>> {
    rows::get(view, Table::Origins, &number.to_be_bytes())
}

/// All origins, the oldest first.
pub fn all(view: &dyn View) -> Result<Vec<Origin>> {
    rows::all(view, Table::Origins)
}

/// The number of an origin: that of one which makes values alike, or a new one.
pub fn intern(write: &Write, origin: &Origin) -> Result<OriginNo> {
    if let Some(known) = all(write)?.iter().find(|known| known.same_as(origin)) {
        return Ok(known.number);
    }
    let number = u32::try_from(write.next(Counter::Origin)?)
        .map_err(|_| Error::Invalid("the file has no number left for an origin".to_owned()))?;
    let origin = Origin { number, ..origin.clone() };
    rows::put(write, Table::Origins, &number.to_be_bytes(), &origin)?;
    Ok(number)
}
