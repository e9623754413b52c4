//! Policies: what is known of each and where its weights lie.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a policy card.
pub type PolicyCard = PolicyCardV1;
/// The newest set of policy states.
pub type PolicyState = PolicyStateV1;

/// A policy of the file.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct PolicyCardV1 {
    /// Its name as users type it.
    pub name: String,
    /// The kind of policy.
    pub kind: String,
    /// Its options as JSON.
    pub config: String,
    /// The name of its codebook, for kinds that speak SIDs.
    pub codebook: Option<String>,
    /// The generation it was trained on, once trained. It stays when that generation is dropped.
    pub generation: Option<u32>,
    /// Where it stands.
    pub state: PolicyStateV1,
    /// The trained weights.
    pub weights: Option<u64>,
    /// The report of the last training as JSON.
    pub report: String,
    /// A hash of the data it was trained on.
    pub data_hash: u64,
    /// When it was created, in milliseconds of Unix time.
    pub created_ms: i64,
    /// When it was last trained, in milliseconds of Unix time.
    pub trained_ms: Option<i64>,
}

/// Where a policy stands.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PolicyStateV1 {
    /// Not trained yet.
    #[default]
    Untrained,
    /// Ready to recommend.
    Trained,
}

impl PolicyStateV1 {
    /// The name as `SHOW` prints it.
    pub fn name(self) -> &'static str {
        match self {
            PolicyStateV1::Untrained => "untrained",
            PolicyStateV1::Trained => "trained",
        }
    }
}
