//! Vector indexes by name. What an index holds follows from the vectors of its space; `changes` tells which
//! of them came after it was built.

use super::{Table, blobs, rows, spaces};
use crate::error::{Error, Result};
use crate::record::Index;
use crate::txn::Write;
use crate::view::View;

/// The index of a name.
pub fn get(view: &dyn View, name: &str) -> Result<Option<Index>> {
    rows::get(view, Table::Indexes, name.as_bytes())
}

/// All indexes by name.
pub fn all(view: &dyn View) -> Result<Vec<Index>> {
    rows::all(view, Table::Indexes)
}

/// The indexes of a space by name.
pub fn of(view: &dyn View, space: &str) -> Result<Vec<Index>> {
    Ok(all(view)?.into_iter().filter(|index| index.space == space).collect())
}

/// Adds an index, whose name must be new and whose space must be there.
pub fn create(write: &Write, index: &Index) -> Result<()> {
    if get(write, &index.name)?.is_some() {
        return Err(Error::Conflict(format!("index `{}` exists already", index.name)));
    }
    spaces::must(write, &index.space)?;
    rows::put(write, Table::Indexes, index.name.as_bytes(), index)
}

/// Replaces an index; an artefact that is replaced is removed.
pub fn update(write: &Write, index: &Index) -> Result<()> {
    let old = get(write, &index.name)?
        .ok_or_else(|| Error::NotFound(format!("index `{}` does not exist", index.name)))?;
    if old.artefact != index.artefact {
        blobs::delete_if(write, old.artefact)?;
    }
    rows::put(write, Table::Indexes, index.name.as_bytes(), index)
}

/// Removes an index with its artefact; tells whether it was there.
pub fn drop(write: &Write, name: &str) -> Result<bool> {
    let Some(index) = get(write, name)? else { return Ok(false) };
    blobs::delete_if(write, index.artefact)?;
    write.remove(Table::Indexes, name.as_bytes())
}
