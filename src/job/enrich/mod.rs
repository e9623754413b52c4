//! ENRICH: captions, descriptors and labels by asking (`answers.rs`), vectors by encoding (`vectors.rs`), fusions
//! (`fused.rs`), batch by batch.
//!
//! Every value is written with its stamp: by whom, from what, when. A value that is up to date is not made again, and
//! so a killed job goes on where it was: what is committed is up to date. An item that fails is written down with the
//! model's answer; a job that was cut short leaves it alone when it goes on, one that has ended asks again.

mod answers;
mod fused;
mod pass;
mod vectors;
mod workers;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sidql_storage::{Failure, Item, ItemNo, Read, View, items, models};

use super::{Answer, Context, Kind};
use crate::clock::now_ms;
use crate::count::counted;
use crate::derive::origin::Maker;
use crate::enrich::{self, Makes};
use crate::error::{Error, Result};
use crate::kind;
use crate::model::{self, Make};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "enrich",
    summary: "ENRICH items: captions, descriptors, labels, embeddings, fusions",
    run,
};

/// Items that are read at a time.
const PAGE: usize = 512;

/// What to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The stage.
    pub(crate) stage: String,
    /// The model by name; for a text space also the kind of an encoder that is fitted. None where nothing is asked.
    pub(crate) model: Option<String>,
    /// The options of the stage and, for an encoder that is fitted, its own.
    pub(crate) options: Json,
    /// The options of an encoder that is fitted.
    pub(crate) encoder: Json,
    /// The embedding space to fill, of the stages that make vectors.
    pub(crate) space: String,
    /// These items alone.
    pub(crate) only: Option<Vec<ItemNo>>,
}

impl Spec {
    /// Whether values that are up to date are made again.
    fn again(&self) -> bool {
        self.options["again"].as_bool().unwrap_or(false)
    }

    /// The next items from a number on, at most a page of them.
    fn page(&self, read: &Read, from: ItemNo) -> Result<Vec<(ItemNo, Item)>> {
        let Some(only) = &self.only else {
            return items::scan(read, from)?.take(PAGE).map(|row| Ok(row?)).collect();
        };
        let begin = only.partition_point(|number| *number < from);
        let mut page = Vec::new();
        for number in only[begin..].iter().take(PAGE) {
            // It may have been deleted since the filter named it.
            page.extend(items::get(read, *number)?.map(|item| (*number, item)));
        }
        Ok(page)
    }

    /// How many items there are to look at.
    fn total(&self, view: &dyn View) -> Result<u64> {
        Ok(match &self.only {
            Some(only) => only.len() as u64,
            None => items::count(view)?,
        })
    }
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let mut spec: Spec = serde_json::from_str(spec)?;
    if let Some(only) = &mut spec.only {
        only.sort_unstable();
    }
    let stage = kind::find(enrich::STAGES, "stage", &spec.stage)?;
    match stage.makes {
        Makes::TextVector | Makes::ImageVector => vectors::run(context, &spec, stage),
        Makes::FusedVector => fused::run(context, &spec),
        Makes::Answer(kind, questions) => {
            answers::run(context, &spec, stage, kind, questions(&spec.options)?.as_ref())
        }
    }
}

/// Who makes the values of a run by an opened model; its weights must still be those that it was created with.
fn maker(context: &Context<'_>, name: &str) -> Result<Maker> {
    let record = models::get(&context.read()?, name)?
        .ok_or_else(|| Error::input("no-model", format!("model `{name}` has been dropped")))?;
    let kind = kind::find(model::KINDS, "kind of model", &record.kind)?;
    if let Make::Opened(_, fingerprint) = kind.make {
        context.progress.stage(format!("checking the weights of `{name}`"), 0);
        let config: Json = serde_json::from_str(&record.config)?;
        let found = fingerprint(&config, context.progress)
            .map_err(|error| error.context(format!("model `{name}`")))?;
        if found != record.fingerprint {
            let message =
                format!("the weights of model `{name}` are not those it was created with");
            return Err(Error::input("weights-changed", message).help(format!(
                "DROP MODEL {name}; and CREATE MODEL {name} … again: values made before count as stale then"
            )));
        }
    }
    Ok(Maker { model: record.name, kind: record.kind, fingerprint: record.fingerprint })
}

/// An error as the failure of an item.
fn failure(stage: &str, error: &Error) -> Failure {
    Failure {
        stage: stage.to_owned(),
        code: error.code().to_owned(),
        message: error.message().to_owned(),
        attempts: 1,
        made_ms: now_ms(),
        ..Failure::default()
    }
}

/// What a run did, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Values made.
    made: u64,
    /// Values that were up to date.
    fresh: u64,
    /// Items that have nothing to make a value from.
    nothing: u64,
    /// Items that failed, now or before a resumption.
    failed: u64,
}

impl Tally {
    /// The sentence at the end: what was made, or that there was nothing to make, and what is to be known beside.
    fn say(&self, context: &Context<'_>, what: &str, nothing: &str) -> Answer {
        let idle = self.made == 0 && self.fresh > 0;
        let mut message = if idle { "nothing to make".to_owned() } else { what.to_owned() };
        if self.fresh > 0 {
            message += &format!("; {} up to date", counted(self.fresh as usize, "item"));
        }
        if self.nothing > 0 {
            message += &format!("; {} without {nothing}", counted(self.nothing as usize, "item"));
        }
        if self.failed > 0 {
            let job = context.job;
            message += &format!(
                "; {} failed: SHOW FAILURES JOB {job} lists them, RESUME JOB {job} tries again",
                counted(self.failed as usize, "item")
            );
        }
        Answer::say(message)
    }
}
