//! A hold on one job: see how far it is, wait for it, stop it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use sidql_storage::JobNo;

use super::Answer;
use crate::error::Result;
use crate::progress::{Progress, Snapshot};

/// A hold on a job of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobHandle {
    number: JobNo,
    statement: String,
    progress: Progress,
    end: Arc<End>,
}

#[derive(Debug, Default)]
struct End {
    answer: Mutex<Option<Result<Answer>>>,
    changed: Condvar,
}

impl JobHandle {
    pub(crate) fn new(number: JobNo, statement: String) -> Self {
        JobHandle { number, statement, progress: Progress::default(), end: Arc::default() }
    }

    /// The number of the job, as `SHOW JOBS` prints it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The statement that asked for it.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// How far it is.
    pub fn snapshot(&self) -> Snapshot {
        self.progress.snapshot()
    }

    /// Asks it to stop; it does so within a second and can be resumed.
    pub fn cancel(&self) {
        self.progress.stop();
    }

    /// Waits until it ends and gives what it says.
    ///
    /// # Errors
    /// The error that ended it.
    pub fn wait(&self) -> Result<String> {
        loop {
            if let Some(answer) = self.wait_timeout(Duration::from_hours(1)) {
                return answer;
            }
        }
    }

    /// Waits for at most this long and gives what it says; `None` when it is still at work.
    pub fn wait_timeout(&self, time: Duration) -> Option<Result<String>> {
        self.wait_for(time).map(|end| end.map(|answer| answer.message))
    }

    /// Waits for at most this long; `None` when it is still at work.
    pub(crate) fn wait_for(&self, time: Duration) -> Option<Result<Answer>> {
        let answer = self.end.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.end.changed.wait_timeout_while(answer, time, |answer| answer.is_none());
        let (answer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        answer.clone()
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn finish(&self, answer: Result<Answer>) {
        let mut slot = self.end.answer.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(answer);
        self.end.changed.notify_all();
    }
}
