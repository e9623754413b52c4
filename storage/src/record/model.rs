//! Models: what `ENRICH … USING` names.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a model.
pub type Model = ModelV1;

/// A model by name. Its weights lie elsewhere, or are asked behind an address.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelV1 {
    /// Its name as users type it.
    pub name: String,
    /// The kind, for example `bert`.
    pub kind: String,
    /// All its options as JSON.
    pub config: String,
    /// What tells its weights from others.
    pub fingerprint: String,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: i64,
}
