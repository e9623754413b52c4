//! Users by number and by id.

use super::{Table, histories, rows};
use crate::codec::key;
use crate::error::{Error, Result};
use crate::record::{User, UserNo};
use crate::table::counters::{self, Counter};
use crate::table::items::MAX_ID_BYTES;
use crate::txn::Write;
use crate::view::{Stream, View};

/// The user of a number.
pub fn get(view: &dyn View, user: UserNo) -> Result<Option<User>> {
    rows::get(view, Table::Users, &key::number(user))
}

/// The number of the user of an id.
pub fn number(view: &dyn View, id: &str) -> Result<Option<UserNo>> {
    let value = view.get(Table::UserIds, id.as_bytes())?;
    value.map(|value| counters::decode(Table::UserIds, id.as_bytes(), &value)).transpose()
}

/// The number of users.
pub fn count(view: &dyn View) -> Result<u64> {
    view.len(Table::Users)
}

/// One more than the highest number ever given, for arrays indexed by user.
pub fn bound(view: &dyn View) -> Result<UserNo> {
    view.counter(Counter::User)
}

/// All users from a number on, in the order of their numbers.
pub fn scan(view: &dyn View, from: UserNo) -> Result<Stream<'_, (UserNo, User)>> {
    let rows = rows::scan::<User>(view, Table::Users, &key::number(from))?;
    Ok(Box::new(rows.map(|row| {
        let (key, user) = row?;
        Ok((key::read_number(Table::Users, &key)?, user))
    })))
}

/// The number of the user of an id, who is added if new.
pub fn get_or_insert(write: &Write, id: &str) -> Result<UserNo> {
    if let Some(user) = number(write, id)? {
        return Ok(user);
    }
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(Error::Invalid(format!("a user's id has 1 to {MAX_ID_BYTES} bytes")));
    }
    let user = write.next(Counter::User)?;
    rows::put(write, Table::Users, &key::number(user), &User { id: id.to_owned() })?;
    write.put(Table::UserIds, id.as_bytes(), &counters::encode(Table::UserIds, user)?)?;
    Ok(user)
}

/// Removes a user with the history; tells whether there was one.
pub fn delete(write: &Write, user: UserNo) -> Result<bool> {
    let Some(record) = get(write, user)? else { return Ok(false) };
    histories::replace(write, user, &[])?;
    write.remove(Table::UserIds, record.id.as_bytes())?;
    write.remove(Table::Users, &key::number(user))
}
