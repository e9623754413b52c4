//! Models by name.

use super::{Table, rows};
use crate::error::{Error, Result};
use crate::record::Model;
use crate::txn::Write;
use crate::view::View;

/// The model of a name.
pub fn get(view: &dyn View, name: &str) -> Result<Option<Model>> {
    rows::get(view, Table::Models, name.as_bytes())
}

/// All models by name.
pub fn all(view: &dyn View) -> Result<Vec<Model>> {
    rows::all(view, Table::Models)
}

/// Adds a model, whose name must be new.
pub fn create(write: &Write, model: &Model) -> Result<()> {
    if get(write, &model.name)?.is_some() {
        return Err(Error::Conflict(format!("model `{}` exists already", model.name)));
    }
    rows::put(write, Table::Models, model.name.as_bytes(), model)
}

/// Replaces a model. Origins that name it stay as they are.
pub fn update(write: &Write, model: &Model) -> Result<()> {
    if get(write, &model.name)?.is_none() {
        return Err(Error::NotFound(format!("model `{}` does not exist", model.name)));
    }
    rows::put(write, Table::Models, model.name.as_bytes(), model)
}

/// Removes a model; tells whether it was there. What it made stays, and so do the origins that name it.
pub fn drop(write: &Write, name: &str) -> Result<bool> {
    write.remove(Table::Models, name.as_bytes())
}
