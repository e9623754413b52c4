//! Vector indexes: structures that follow from the vectors of a space.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a vector index.
pub type Index = IndexV1;

/// One vector index of a space.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexV1 {
    /// Its name as users type it.
    pub name: String,
    /// The name of its space.
    pub space: String,
    /// The kind of index.
    pub kind: String,
    /// All its options as JSON.
    pub config: String,
    /// What was built; nothing before the first build, or where the kind keeps nothing.
    pub artefact: Option<u64>,
    /// The number of the space that it was built from.
    pub space_number: u16,
    /// The revision that the space had then: blocks changed after it are not covered.
    pub revision: u64,
    /// The source hash that the space had then.
    pub source_hash: u64,
    /// How many vectors it was built from.
    pub rows: u64,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: i64,
    /// When it was built, in milliseconds of Unix time.
    pub built_ms: Option<i64>,
}
