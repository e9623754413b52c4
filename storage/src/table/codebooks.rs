//! Codebooks by name.

use super::{Table, generations, rows};
use crate::error::{Error, Result};
use crate::record::Codebook;
use crate::txn::Write;
use crate::view::View;

/// The codebook of a name.
pub fn get(view: &dyn View, name: &str) -> Result<Option<Codebook>> {
    rows::get(view, Table::Codebooks, name.as_bytes())
}

/// The codebook of a name, which must be there.
pub fn must(view: &dyn View, name: &str) -> Result<Codebook> {
    get(view, name)?.ok_or_else(|| Error::NotFound(format!("codebook `{name}` does not exist")))
}

/// All codebooks by name.
pub fn all(view: &dyn View) -> Result<Vec<Codebook>> {
    rows::all(view, Table::Codebooks)
}

/// Adds a codebook, whose name must be new. It has no generation yet.
pub fn create(write: &Write, codebook: &Codebook) -> Result<()> {
    if get(write, &codebook.name)?.is_some() {
        return Err(Error::Conflict(format!("codebook `{}` exists already", codebook.name)));
    }
    store(write, &Codebook { published: None, next_ordinal: 1, ..codebook.clone() })
}

/// Removes a codebook with all its generations; tells whether it was there.
pub fn drop(write: &Write, name: &str) -> Result<bool> {
    for generation in generations::of(write, name)? {
        generations::drop(write, generation.number)?;
    }
    write.remove(Table::Codebooks, name.as_bytes())
}

pub(crate) fn store(write: &Write, codebook: &Codebook) -> Result<()> {
    rows::put(write, Table::Codebooks, codebook.name.as_bytes(), codebook)
}
