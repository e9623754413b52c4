//! Histories: what each user did, in time order, packed into blocks.

use crate::error::{Error, Result};
use crate::record::{Interaction, ItemNo, UserNo};
use crate::txn::Write;
use crate::view::{Stream, View};

fn later<T>() -> Result<T> {
    Err(Error::Closed)
}

/// What a user did, oldest first.
pub fn of(_view: &dyn View, _user: UserNo) -> Result<Vec<Interaction>> {
    later()
}

/// The number of interactions of a user.
pub fn count_of(_view: &dyn View, _user: UserNo) -> Result<u64> {
    later()
}

/// The number of interactions of all users.
pub fn count(_view: &dyn View) -> Result<u64> {
    later()
}

/// All users from a number on that have a history, with it.
pub fn scan(_view: &dyn View, _from: UserNo) -> Result<Stream<'_, (UserNo, Vec<Interaction>)>> {
    later()
}

/// Adds to a history. Interactions of the same time stay in the order in which they came.
pub fn append(_write: &Write, _user: UserNo, _new: &[Interaction]) -> Result<()> {
    later()
}

/// Replaces a history; an empty one takes no room.
pub fn replace(_write: &Write, _user: UserNo, _history: &[Interaction]) -> Result<()> {
    later()
}

/// Removes all interactions with these items from all histories; tells how many there were.
pub fn remove_items(_write: &Write, _items: &[ItemNo]) -> Result<u64> {
    later()
}
