//! Failures: items that a job could not make a value for.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a failure.
pub type Failure = FailureV1;

/// Why a job could not make a value for an item.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureV1 {
    /// The stage.
    pub stage: String,
    /// The stable code of the error.
    pub code: String,
    /// What was wrong.
    pub message: String,
    /// What the model said; empty where it said nothing.
    pub answer: String,
    /// How often it was asked.
    pub attempts: u32,
    /// When it was given up, in milliseconds of Unix time.
    pub made_ms: i64,
}
