//! Origins: who made a derived value. Many values share one.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of an origin.
pub type Origin = OriginV1;

/// Who made derived values, and how.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginV1 {
    /// Its number; set by the store.
    pub number: u32,
    /// The stage, for example `caption`.
    pub stage: String,
    /// The model by name; empty where none was asked.
    pub model: String,
    /// The kind of the model, or of what took its place.
    pub kind: String,
    /// What told the weights of the model from others.
    pub fingerprint: String,
    /// The prompt by name, or its file; empty where there is none.
    pub prompt: String,
    /// A hash of the words of the prompt.
    pub prompt_hash: String,
    /// The options that the value depends on, as JSON.
    pub parameters: String,
    /// When it was first used, in milliseconds of Unix time.
    pub created_ms: i64,
}

impl OriginV1 {
    /// Whether values of both were made alike: all but the number and the time is the same.
    pub fn same_as(&self, other: &OriginV1) -> bool {
        let bare = |one: &OriginV1| OriginV1 { number: 0, created_ms: 0, ..one.clone() };
        bare(self) == bare(other)
    }
}
