//! Models: those that stages ask, under the name that the file gives them.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a model.
pub type Model = ModelV1;

/// One model that the file knows by name.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelV1 {
    /// Its name as users type it.
    pub name: String,
    /// The kind of model.
    pub kind: String,
    /// All its options as JSON.
    pub config: String,
    /// What tells its weights or its service from others.
    pub fingerprint: String,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: i64,
}
