//! What running work may touch.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sidql_storage::{JobNo, Read, Store, Write, blobs, jobs};

use super::{Answer, queue};
use crate::cache::Cache;
use crate::error::Result;
use crate::progress::{Checkpoint, Progress};

/// How often work is asked to save its place.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// How many times as long as saving took it then works: the place of a large model is gigabytes.
const WORK_PER_SAVE: u32 = 20;

/// The store, the caches, the progress and the checkpoint slot of one running job.
pub(crate) struct Context<'a> {
    /// The file.
    pub(crate) store: &'a Store,
    /// What is kept ready in memory.
    pub(crate) cache: &'a Cache,
    /// Where the work reports and learns that it should stop.
    pub(crate) progress: &'a Progress,
    /// The number of the job.
    pub(crate) job: JobNo,
    /// Where the work saves its place.
    pub(crate) slot: Slot<'a>,
}

impl Context<'_> {
    /// A snapshot.
    pub(crate) fn read(&self) -> Result<Read> {
        Ok(self.store.read()?)
    }

    /// The write transaction.
    pub(crate) fn write(&self) -> Result<Write> {
        Ok(self.store.write()?)
    }

    /// Commits the result of the job together with its end: a kill never leaves a job that seems cut short although
    /// its result is there, which `RESUME JOB` would make a second time.
    pub(crate) fn publish(&self, write: Write, answer: Answer) -> Result<Answer> {
        queue::done(&write, self.job, &answer, self.progress)?;
        write.commit()?;
        Ok(answer)
    }
}

/// The checkpoint of a job, a blob in the file.
pub(crate) struct Slot<'a> {
    store: &'a Store,
    job: JobNo,
    progress: &'a Progress,
    saved: Cell<Instant>,
    /// How long it took.
    cost: Cell<Duration>,
}

impl<'a> Slot<'a> {
    /// The slot of a job.
    pub(crate) fn new(store: &'a Store, job: JobNo, progress: &'a Progress) -> Self {
        let saved = Cell::new(Instant::now());
        Slot { store, job, progress, saved, cost: Cell::default() }
    }
}

impl Checkpoint for Slot<'_> {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        let read = self.store.read()?;
        let blob = jobs::get(&read, self.job)?.and_then(|job| job.checkpoint);
        Ok(match blob {
            Some(blob) => blobs::get(&read, blob)?,
            None => None,
        })
    }

    fn save(&self, state: &[u8]) -> Result<()> {
        let began = Instant::now();
        let write = self.store.write()?;
        if let Some(mut job) = jobs::get(&write, self.job)? {
            // The store removes the blob that is replaced.
            job.checkpoint = Some(blobs::put(&write, state)?);
            // After a kill the figures go on where the work does.
            job.result = Some(queue::with_curves(None, self.progress)?);
            job.done = self.progress.snapshot().done;
            jobs::update(&write, &job)?;
            write.commit()?;
        }
        self.cost.set(began.elapsed());
        self.saved.set(Instant::now());
        Ok(())
    }

    fn due(&self) -> bool {
        self.saved.get().elapsed() >= SAVE_EVERY.max(self.cost.get() * WORK_PER_SAVE)
    }
}
