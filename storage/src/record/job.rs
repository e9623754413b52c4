//! Jobs: long work that is queued, watched and resumed.

use rkyv::{Archive, Deserialize, Serialize};

/// The newest shape of a job.
pub type JobRecord = JobRecordV1;
/// The newest set of job states.
pub type JobState = JobStateV1;

/// One job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct JobRecordV1 {
    /// Its number; set by the store.
    pub number: u64,
    /// The kind of work, for example `train`.
    pub kind: String,
    /// The statement that asked for it.
    pub statement: String,
    /// What to do, as JSON.
    pub spec: String,
    /// Where it stands.
    pub state: JobStateV1,
    /// What is being done, for example `epoch 3 of 20`.
    pub stage: String,
    /// Steps done in this stage.
    pub done: u64,
    /// Steps of this stage; 0 while unknown.
    pub total: u64,
    /// The latest word of the work.
    pub message: String,
    /// Why it failed.
    pub error: Option<String>,
    /// From where to go on.
    pub checkpoint: Option<u64>,
    /// What came out, as JSON.
    pub result: Option<String>,
    /// When it was asked for, in milliseconds of Unix time.
    pub created_ms: i64,
    /// When it last started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
}

/// Where a job stands.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JobStateV1 {
    /// Waiting for its turn.
    #[default]
    Queued,
    /// At work.
    Running,
    /// Stopped by the end of its process; can be resumed.
    Interrupted,
    /// Finished.
    Done,
    /// Ended by an error.
    Failed,
    /// Stopped on request; can be resumed.
    Cancelled,
}

impl JobStateV1 {
    /// The name as `SHOW JOBS` prints it.
    pub fn name(self) -> &'static str {
        match self {
            JobStateV1::Queued => "queued",
            JobStateV1::Running => "running",
            JobStateV1::Interrupted => "interrupted",
            JobStateV1::Done => "done",
            JobStateV1::Failed => "failed",
            JobStateV1::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens unless somebody asks.
    pub fn is_over(self) -> bool {
        matches!(self, JobStateV1::Done | JobStateV1::Failed | JobStateV1::Cancelled)
    }
}
