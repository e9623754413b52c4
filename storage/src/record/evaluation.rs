//! Evaluations: what a policy scored.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of an evaluation.
pub type EvaluationRecord = EvaluationRecordV1;

/// One evaluation of one policy.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct EvaluationRecordV1 {
    /// Its number; set by the store.
    pub number: u64,
    /// The policy that was evaluated.
    pub policy: String,
    /// The split, for example `test`.
    pub split: String,
    /// The cut-offs, for example 5 and 10.
    pub at: Vec<u32>,
    /// The number of users.
    pub users: u64,
    /// The figures by name, as JSON.
    pub metrics: String,
    /// The options, as JSON.
    pub config: String,
    /// The generation of the policy.
    pub generation: Option<u32>,
    /// A hash of the data.
    pub data_hash: u64,
    /// When, in milliseconds of Unix time.
    pub created_ms: i64,
}
