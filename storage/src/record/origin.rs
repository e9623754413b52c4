//! Origins: what made a derived value. Many values share one.

use rkyv::{Archive, Deserialize, Serialize};

use super::OriginNo;

/// The newest shape of an origin.
pub type Origin = OriginV1;

/// One maker of derived values: a stage, the model it asked, and how.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginV1 {
    /// Its number; set by the store.
    pub number: OriginNo,
    /// The stage, for example `caption`.
    pub stage: String,
    /// The name of the model.
    pub model: String,
    /// The kind of the model.
    pub kind: String,
    /// What tells the model from others of its name.
    pub fingerprint: String,
    /// The name or the file of the prompt; empty for none.
    pub prompt: String,
    /// A hash of the prompt; empty for none.
    pub prompt_hash: String,
    /// Everything else that shapes the answer, as JSON.
    pub parameters: String,
    /// When it was first used, in milliseconds of Unix time.
    pub created_ms: i64,
}

impl OriginV1 {
    /// Whether both make the same of the same; number and time do not count.
    pub fn is_same(&self, other: &OriginV1) -> bool {
        let made = |one: &OriginV1| OriginV1 { number: 0, created_ms: 0, ..one.clone() };
        made(self) == made(other)
    }
}
