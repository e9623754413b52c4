//! The workers of ENRICH … BY caption | intent | quality: each takes an item, gets its photo where one is needed, asks,
//! and tells what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender};

use serde_json::Value as Json;
use sidql_storage::ItemNo;

use super::failure;
use crate::enrich::Subject;
use crate::enrich::answer::{Answered, Interview};
use crate::enrich::image::Where;
use crate::error::{Error, Result};
use crate::model::Usage;
use crate::progress::Progress;

/// Answers that are committed together at the most.
pub(super) const MAX_GROUP: usize = 512;

/// One item to ask about.
pub(super) struct Task {
    pub(super) number: ItemNo,
    pub(super) subject: Subject,
    pub(super) data: Json,
    pub(super) source: u64,
}

/// What came of a task.
pub(super) struct Done {
    pub(super) number: ItemNo,
    pub(super) source: u64,
    pub(super) end: Result<Answered>,
}

/// A result and the others that have arrived.
pub(super) fn group(first: Done, hear: &Receiver<Done>) -> Vec<Done> {
    std::iter::once(first).chain(hear.try_iter().take(MAX_GROUP - 1)).collect()
}

/// One worker: takes tasks until there are no more.
pub(super) fn work(
    interview: &Interview<'_>,
    place: &Where,
    take: &Mutex<Receiver<Task>>,
    tell: &Sender<Done>,
    (progress, stop): (&Progress, &Progress),
) {
    loop {
        let task = take.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        let end = if stop.stopping() {
            Err(Error::cancelled())
        } else {
            // A task without an end would be waited for without one.
            let looked = catch_unwind(AssertUnwindSafe(|| look(interview, place, &task, progress)));
            looked.unwrap_or_else(|_| Err(Error::internal("a model panicked")))
        };
        let done = Done { number: task.number, source: task.source, end };
        if tell.send(done).is_err() {
            return;
        }
    }
}

/// Gets the picture that a question needs, and asks.
fn look(
    interview: &Interview<'_>,
    place: &Where,
    task: &Task,
    progress: &Progress,
) -> Result<Answered> {
    let wanted = interview.questions.needs_picture();
    let picture = match task.subject.picture.as_ref().filter(|_| wanted) {
        None => None,
        Some(reference) => match place.load(reference, progress) {
            Ok(picture) => Some(picture),
            Err(error) if error.is_cancelled() => return Err(error),
            // A photo that cannot be had is the item's fault, and no sign of a model that is away.
            Err(error) => {
                let end = Err(failure(interview.stage, &error));
                return Ok(Answered { end, usage: Usage::default() });
            }
        },
    };
    interview.ask(&task.subject, &task.data, picture.as_ref(), progress)
}
