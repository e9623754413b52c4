//! Any key or value as readable text.

use std::fmt::Write as _;

use crate::error::Result;
use crate::table::Table;
use crate::view::View;

/// Appends every row of a table to `out`: key, ` = `, value, one line each.
pub fn table(_view: &dyn View, _table: Table, _out: &mut String) -> Result<()> {
    Ok(())
}

/// A key as readable text.
pub(crate) fn key_text(_table: &str, key: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in key {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
