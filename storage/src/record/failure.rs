//! Failures: the items for which a job got nothing of use, and why.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a failure.
pub type Failure = FailureV1;

/// Why a job has no value for an item.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureV1 {
    /// The stage that failed, for example `caption`.
    pub stage: String,
    /// The code of the error, for programs.
    pub code: String,
    /// The error, for people.
    pub message: String,
    /// What the model said, cut by the caller; empty for nothing.
    pub answer: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds of Unix time.
    pub made_ms: i64,
}
