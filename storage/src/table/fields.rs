//! The schema of the items' metadata: fields by number, in the order in which they were added.

use super::{Table, rows};
use crate::error::{Error, Result};
use crate::record::{Field, FieldNo, FieldType};
use crate::txn::Write;
use crate::view::View;

/// All fields; the place of each is its number.
pub fn all(view: &dyn View) -> Result<Vec<Field>> {
    rows::all(view, Table::Fields)
}

/// The number and the type of the field of a name.
pub fn find(view: &dyn View, name: &str) -> Result<Option<(FieldNo, FieldType)>> {
    let fields = all(view)?;
    let at = fields.iter().position(|field| field.name == name);
    Ok(at.map(|at| (at as FieldNo, fields[at].kind)))
}

/// Adds a field and gives its number; one that is there already with the same type is left alone.
pub fn add(write: &Write, name: &str, kind: FieldType) -> Result<FieldNo> {
    if let Some((number, known)) = find(write, name)? {
        if known == kind {
            return Ok(number);
        }
        return Err(Error::Conflict(format!(
            "field `{name}` holds {}, not {}",
            known.name(),
            kind.name()
        )));
    }
    let number = FieldNo::try_from(write.len(Table::Fields)?)
        .map_err(|_| Error::Invalid("items can have 65536 fields at most".to_owned()))?;
    let field = Field { name: name.to_owned(), kind };
    rows::put(write, Table::Fields, &field_key(number), &field)?;
    Ok(number)
}

fn field_key(number: FieldNo) -> [u8; 2] {
    number.to_be_bytes()
}
