//! Origins by number. There are as many as there were ways to make a value, so they are few.

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

/// All origins by number.
pub fn all(view: &dyn View) -> Result<Vec<Origin>> {
    rows::all(view, Table::Origins)
}

/// The number of an origin that is the same, and was added if there is none; number and time of this one
/// do not count. All are looked at, so ask once for many values.
pub fn intern(write: &Write, origin: &Origin) -> Result<OriginNo> {
    if let Some(known) = all(write)?.iter().find(|known| known.is_same(origin)) {
        return Ok(known.number);
    }
    let number = OriginNo::try_from(write.next(Counter::Origin)?)
        .map_err(|_| Error::Invalid("the file has no number left for an origin".to_owned()))?;
    let origin = Origin { number, ..origin.clone() };
    rows::put(write, Table::Origins, &number.to_be_bytes(), &origin)?;
    Ok(number)
}
