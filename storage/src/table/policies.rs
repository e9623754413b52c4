//! Policies by name.

use super::{Table, blobs, rows};
use crate::error::{Error, Result};
use crate::record::PolicyCard;
use crate::txn::Write;
use crate::view::View;

/// The policy of a name.
pub fn get(view: &dyn View, name: &str) -> Result<Option<PolicyCard>> {
    rows::get(view, Table::Policies, name.as_bytes())
}

/// All policies by name.
pub fn all(view: &dyn View) -> Result<Vec<PolicyCard>> {
    rows::all(view, Table::Policies)
}

/// Adds a policy, whose name must be new.
pub fn create(write: &Write, card: &PolicyCard) -> Result<()> {
    if get(write, &card.name)?.is_some() {
        return Err(Error::Conflict(format!("policy `{}` exists already", card.name)));
    }
    rows::put(write, Table::Policies, card.name.as_bytes(), card)
}

/// Replaces a policy; weights that are replaced are removed.
pub fn update(write: &Write, card: &PolicyCard) -> Result<()> {
    let old = get(write, &card.name)?
        .ok_or_else(|| Error::NotFound(format!("policy `{}` does not exist", card.name)))?;
    if old.weights != card.weights {
        blobs::delete_if(write, old.weights)?;
    }
    rows::put(write, Table::Policies, card.name.as_bytes(), card)
}

/// Removes a policy with its weights; tells whether it was there.
pub fn drop(write: &Write, name: &str) -> Result<bool> {
    let Some(card) = get(write, name)? else { return Ok(false) };
    blobs::delete_if(write, card.weights)?;
    write.remove(Table::Policies, name.as_bytes())
}
