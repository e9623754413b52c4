//! Settings of the file: text by name.

use std::ops::Bound;

use super::Table;
use crate::codec::frame;
use crate::error::{Error, Result};
use crate::txn::Write;
use crate::view::View;

/// The text of a setting.
pub fn get(view: &dyn View, name: &str) -> Result<Option<String>> {
    let value = view.get(Table::Settings, name.as_bytes())?;
    value.map(|value| read(name.as_bytes(), &value)).transpose()
}

/// All settings by name.
pub fn all(view: &dyn View) -> Result<Vec<(String, String)>> {
    let rows = view.scan(Table::Settings, Bound::Unbounded, Bound::Unbounded)?;
    rows.map(|row| {
        let (key, value) = row?;
        let name = String::from_utf8(key.to_vec())
            .map_err(|_| Error::corrupt(Table::Settings.name(), &key, "the name is not text"))?;
        Ok((name, read(&key, &value)?))
    })
    .collect()
}

/// Sets a setting.
pub fn set(write: &Write, name: &str, text: &str) -> Result<()> {
    write.put(Table::Settings, name.as_bytes(), &frame::wrap(Table::Settings, text.as_bytes())?)
}

/// Removes a setting; tells whether it was there.
pub fn remove(write: &Write, name: &str) -> Result<bool> {
    write.remove(Table::Settings, name.as_bytes())
}

pub(crate) fn read(key: &[u8], framed: &[u8]) -> Result<String> {
    let text = frame::open(Table::Settings, key, framed)?;
    String::from_utf8(text.to_vec())
        .map_err(|_| Error::corrupt(Table::Settings.name(), key, "the value is not text"))
}
