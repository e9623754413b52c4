//! Long work: persisted, watched, stopped, resumed. One file for each kind, one line for each in `KINDS`.
//!
//! A job is enqueued with what it has to do as JSON (its *spec*), claimed by the one worker thread of the
//! open file (`runner.rs`), given a [`Context`], and ends with an [`Answer`] or an error. It publishes its
//! result in one transaction or not at all. A kill leaves it `interrupted`; `RESUME JOB` goes on from the last
//! checkpoint.

pub(crate) mod context;
pub(crate) mod enrich;
pub(crate) mod evaluate;
pub(crate) mod handle;
pub(crate) mod holders;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod queue;
pub(crate) mod rebuild;
pub(crate) mod runner;
pub(crate) mod train;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Result;
pub(crate) use context::Context;
pub use handle::JobHandle;
pub(crate) use runner::Runner;

/// Every kind of job.
pub(crate) const KINDS: &[&Kind] =
    &[&import::KIND, &enrich::KIND, &rebuild::KIND, &index::KIND, &train::KIND, &evaluate::KIND];

/// One kind of job: a constant record.
pub(crate) struct Kind {
    /// The name that `SHOW JOBS` prints.
    pub(crate) name: &'static str,
    /// One sentence: what it does.
    pub(crate) summary: &'static str,
    /// Does the work that a spec describes.
    pub(crate) run: fn(&Context<'_>, &str) -> Result<Answer>,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// What a job has to do.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The name of its kind.
    pub(crate) kind: &'static str,
    /// The rest, as the kind reads it.
    pub(crate) json: String,
}

impl Spec {
    /// A spec of a kind from its typed form.
    pub(crate) fn new(kind: &Kind, what: &impl Serialize) -> Result<Spec> {
        Ok(Spec { kind: kind.name, json: serde_json::to_string(what)? })
    }
}

/// A kind of job by name.
pub(crate) fn kind(name: &str) -> Result<&'static Kind> {
    crate::kind::find(KINDS, "job", name)
}

/// What a job says at its end: a sentence, and perhaps a table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// What was done, for example `12,101 items`.
    pub(crate) message: String,
    /// The columns of the table; none where a sentence says it all.
    pub(crate) columns: Vec<String>,
    /// The rows of the table.
    pub(crate) rows: Vec<Vec<Json>>,
    /// How many rows of the catalogue it changed, where it is about rows.
    pub(crate) changed: Option<u64>,
}

impl Answer {
    /// A sentence.
    pub(crate) fn say(message: impl Into<String>) -> Answer {
        Answer { message: message.into(), ..Answer::default() }
    }
}
