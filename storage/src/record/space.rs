//! Embedding spaces: a name, a dimension and where the vectors came from.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a space.
pub type Space = SpaceV1;

/// One embedding space of the items.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct SpaceV1 {
    /// Its number in keys; set by the store.
    pub number: u16,
    /// Its name as users type it.
    pub name: String,
    /// The number of components of each vector.
    pub dim: u32,
    /// The number of items in one stored block; set by the store.
    pub slots: u32,
    /// The number of vectors; kept by the store.
    pub count: u64,
    /// The kind of encoder that made the vectors.
    pub encoder: String,
    /// The options of the encoder as JSON.
    pub config: String,
    /// What the encoder learnt, for example document frequencies or a projection.
    pub artefact: Option<u64>,
    /// A hash of what the vectors were made from.
    pub source_hash: u64,
    /// When the vectors were made, in milliseconds of Unix time.
    pub created_ms: i64,
}
