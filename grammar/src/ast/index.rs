//! `CREATE INDEX` and `REBUILD INDEX`.

use super::{Name, WithOption};

/// `CREATE INDEX …`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateIndex {
    /// Its name.
    pub name: Name,
    /// The embedding space that it is of.
    pub on: Name,
    /// The kind.
    pub using: Name,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `REBUILD INDEX …`
#[derive(Clone, Debug, PartialEq)]
pub struct RebuildIndex {
    /// Its name.
    pub name: Name,
    /// `IN BACKGROUND`
    pub background: bool,
}
