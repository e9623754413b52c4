//! What long work is given: a way to report, to be stopped, and to save its place.
//!
//! The work knows no queue, database handle or screen; see `job/` for who stands behind.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A handle on one piece of running work, shared by the work and by whoever watches it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    stage: Mutex<Stage>,
}

#[derive(Debug, Default)]
struct Stage {
    name: String,
    started: Option<Instant>,
    notes: Vec<(String, f64)>,
}

/// What a watcher sees at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What is being done, for example `epoch 3 of 20`.
    pub stage: String,
    /// Steps done in this stage.
    pub done: u64,
    /// Steps of this stage; 0 while unknown.
    pub total: u64,
    /// Time since the stage began.
    pub elapsed: Duration,
    /// The latest figures by name, for example `("loss", 3.2)`.
    pub notes: Vec<(String, f64)>,
}

impl Progress {
    /// Progress that nobody watches.
    pub(crate) fn silent() -> Self {
        Progress::default()
    }

    /// Begins a stage of `total` steps (0 where unknown).
    pub(crate) fn stage(&self, name: impl Into<String>, total: u64) {
        let mut stage = self.lock();
        stage.name = name.into();
        stage.started = Some(Instant::now());
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    /// Counts `steps` more as done.
    pub(crate) fn advance(&self, steps: u64) {
        self.shared.done.fetch_add(steps, Ordering::Relaxed);
    }

    /// Notes the latest figure under a name.
    pub(crate) fn note(&self, name: &str, figure: f64) {
        let mut stage = self.lock();
        match stage.notes.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = figure,
            None => stage.notes.push((name.to_owned(), figure)),
        }
    }

    /// Fails with a cancelled error once a stop was requested. Call it at least ten times a second.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stopping() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Whether a stop was requested.
    pub(crate) fn stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Asks the work to stop at its next check.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// What there is to see now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let stage = self.lock();
        Snapshot {
            stage: stage.name.clone(),
            done: self.shared.done.load(Ordering::Relaxed),
            total: self.shared.total.load(Ordering::Relaxed),
            elapsed: stage.started.map(|at| at.elapsed()).unwrap_or_default(),
            notes: stage.notes.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        // A watcher that panicked leaves plain data behind; it is safe to go on with it.
        self.shared.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where long work saves its place. One slot, replaced whole at each save.
pub(crate) trait Checkpoint {
    /// The last saved state, if the work began before.
    fn load(&self) -> Result<Option<Vec<u8>>>;
    /// Replaces the saved state, durably.
    fn save(&self, state: &[u8]) -> Result<()>;
    /// Whether enough time has passed since the last save. True at most every few seconds.
    fn due(&self) -> bool;
}

/// A checkpoint that is never kept.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unsaved;

#[cfg(test)]
impl Checkpoint for Unsaved {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, _state: &[u8]) -> Result<()> {
        Ok(())
    }

    fn due(&self) -> bool {
        false
    }
}
