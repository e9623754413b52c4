//! Embedding spaces by name.

use super::{Table, blobs, changes, embeddings, indexes, rows, stamps};
use crate::codec::key;
use crate::error::{Error, Result};
use crate::record::{Index, Space};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::View;

/// The most components a vector can have.
pub const MAX_DIM: u32 = 65_536;

/// The space of a name.
pub fn get(view: &dyn View, name: &str) -> Result<Option<Space>> {
    rows::get(view, Table::Spaces, name.as_bytes())
}

/// The space of a name, which must be there.
pub fn must(view: &dyn View, name: &str) -> Result<Space> {
    get(view, name)?
        .ok_or_else(|| Error::NotFound(format!("embedding space `{name}` does not exist")))
}

/// All spaces by name.
pub fn all(view: &dyn View) -> Result<Vec<Space>> {
    rows::all(view, Table::Spaces)
}

/// Adds a space, whose name must be new. Number, slots and count are set by the store.
pub fn create(write: &Write, space: &Space) -> Result<Space> {
    if get(write, &space.name)?.is_some() {
        return Err(Error::Conflict(format!("embedding space `{}` exists already", space.name)));
    }
    if space.dim == 0 || space.dim > MAX_DIM {
        return Err(Error::Invalid(format!("a vector has 1 to {MAX_DIM} components")));
    }
    let number = u16::try_from(write.next(Counter::Space)?)
        .map_err(|_| Error::Invalid("the file has no number left for a space".to_owned()))?;
    let slots = embeddings::slots(space.dim);
    let space = Space { number, slots, count: 0, ..space.clone() };
    rows::put(write, Table::Spaces, space.name.as_bytes(), &space)?;
    Ok(space)
}

/// Replaces what is known of a space. Name, number, dimension, slots and count stay as they are; an
/// artefact that is replaced is removed.
pub fn update(write: &Write, space: &Space) -> Result<()> {
    let old = must(write, &space.name)?;
    if old.artefact != space.artefact {
        blobs::delete_if(write, old.artefact)?;
    }
    let space = Space {
        number: old.number,
        dim: old.dim,
        slots: old.slots,
        count: old.count,
        ..space.clone()
    };
    rows::put(write, Table::Spaces, space.name.as_bytes(), &space)
}

/// Gives a space another name, which must be free. Its number, vectors, stamps and indexes stay.
pub fn rename(write: &Write, from: &str, to: &str) -> Result<()> {
    if get(write, to)?.is_some() {
        return Err(Error::Conflict(format!("embedding space `{to}` exists already")));
    }
    let space = Space { name: to.to_owned(), ..must(write, from)? };
    write.remove(Table::Spaces, from.as_bytes())?;
    rows::put(write, Table::Spaces, to.as_bytes(), &space)?;
    for index in indexes::of(write, from)? {
        indexes::update(write, &Index { space: to.to_owned(), ..index })?;
    }
    Ok(())
}

/// Puts a space in the place of another, whose indexes stay, out of date.
pub fn replace(write: &Write, from: &str, to: &str) -> Result<()> {
    remove(write, to)?;
    rename(write, from, to)
}

/// Removes a space with its vectors, their stamps, its indexes and its artefact; tells whether it was there.
pub fn drop(write: &Write, name: &str) -> Result<bool> {
    for index in indexes::of(write, name)? {
        indexes::drop(write, &index.name)?;
    }
    remove(write, name)
}

fn remove(write: &Write, name: &str) -> Result<bool> {
    let Some(space) = get(write, name)? else { return Ok(false) };
    write.remove_prefix(Table::Embeddings, &key::pair(u32::from(space.number), 0)[..4])?;
    stamps::clear(write, space.number)?;
    changes::clear(write, space.number)?;
    blobs::delete_if(write, space.artefact)?;
    write.remove(Table::Spaces, name.as_bytes())
}

/// Stores the number of vectors.
pub(crate) fn set_count(write: &Write, name: &str, change: i64) -> Result<()> {
    if change == 0 {
        return Ok(());
    }
    let mut space = must(write, name)?;
    space.count = space.count.saturating_add_signed(change);
    rows::put(write, Table::Spaces, name.as_bytes(), &space)
}
