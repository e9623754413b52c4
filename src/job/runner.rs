//! The worker thread: claims a job, runs it, catches a panic, records the end.
//!
//! One job runs at a time, in the order of the queue: training and bulk work use all cores anyway.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use sidql_storage::{JobNo, Store};

use super::context::Slot;
use super::{Answer, Context, JobHandle, KINDS, Spec, queue};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::kind;

/// The worker of an open file. Dropping it stops the running job, which stays resumable.
pub(crate) struct Runner {
    store: Store,
    cache: Arc<Cache>,
    shared: Arc<Shared>,
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    sender: Sender<JobHandle>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    closing: AtomicBool,
    handles: Mutex<HashMap<JobNo, JobHandle>>,
}

impl Shared {
    fn handles(&self) -> MutexGuard<'_, HashMap<JobNo, JobHandle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// A runner without a thread yet; the first job starts it.
    pub(crate) fn new(store: Store, cache: Arc<Cache>) -> Self {
        Runner { store, cache, shared: Arc::default(), worker: Mutex::default() }
    }

    /// Enqueues a job.
    pub(crate) fn launch(&self, spec: &Spec, statement: &str) -> Result<JobHandle> {
        let number = queue::enqueue(&self.store, spec, statement)?;
        self.submit(number, statement)
    }

    /// Puts a stopped job back to work.
    pub(crate) fn resume(&self, number: JobNo) -> Result<JobHandle> {
        if let Some(handle) = self.handle(number) {
            return Ok(handle);
        }
        let record = queue::requeue(&self.store, number)?;
        self.submit(number, &record.statement)
    }

    /// The handle of a job that is queued or running in this process.
    pub(crate) fn handle(&self, number: JobNo) -> Option<JobHandle> {
        self.shared.handles().get(&number).cloned()
    }

    fn submit(&self, number: JobNo, statement: &str) -> Result<JobHandle> {
        let handle = JobHandle::new(number, statement.to_owned());
        self.shared.handles().insert(number, handle.clone());
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            *worker = Some(self.start()?);
        }
        let sent = worker.as_ref().is_some_and(|worker| worker.sender.send(handle.clone()).is_ok());
        if sent { Ok(handle) } else { Err(Error::internal("the job worker is gone")) }
    }

    fn start(&self) -> Result<Worker> {
        let (sender, receiver) = channel();
        let (store, cache, shared) =
            (self.store.clone(), Arc::clone(&self.cache), Arc::clone(&self.shared));
        let thread = std::thread::Builder::new()
            .name("sidql-jobs".to_owned())
            .spawn(move || work(&store, &cache, &shared, &receiver))
            .map_err(|error| {
                Error::new(crate::error::Kind::Resource, "no-thread", error.to_string())
            })?;
        Ok(Worker { sender, thread })
    }

    /// Stops the running job and waits for the worker to end.
    pub(crate) fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for handle in self.shared.handles().values() {
            handle.cancel();
        }
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Worker { sender, thread }) = worker {
            drop(sender);
            // A worker that panicked outside a job has nothing left to save.
            drop(thread.join());
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.close();
    }
}

fn work(store: &Store, cache: &Cache, shared: &Shared, receiver: &Receiver<JobHandle>) {
    while let Ok(handle) = receiver.recv() {
        let end = run(store, cache, &handle);
        let closing = shared.closing.load(Ordering::SeqCst);
        let recorded = queue::finish(store, handle.number(), &end, closing, handle.progress());
        shared.handles().remove(&handle.number());
        // The work's own error says more than a failure to record it.
        handle.finish(end.and_then(|answer| recorded.map(|()| answer)));
    }
}

fn run(store: &Store, cache: &Cache, handle: &JobHandle) -> Result<Answer> {
    handle.progress().check()?;
    let record = queue::claim(store, handle.number())?;
    let kind = kind::find(KINDS, "job", &record.kind)?;
    handle.progress().go_on(queue::curves(&record), record.done);
    let slot = Slot::new(store, handle.number(), handle.progress());
    let context = Context { store, cache, progress: handle.progress(), job: handle.number(), slot };
    let ran = catch_unwind(AssertUnwindSafe(|| (kind.run)(&context, &record.spec)));
    ran.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::internal(format!("job {} panicked: {what}", handle.number())))
    })
}
