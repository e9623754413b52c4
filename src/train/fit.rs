//! `fit`: a scoring policy learns from the histories in closed form, in one pass.

use documented::DocumentedFieldsOpt;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Course, Kind, Report, Until};
use crate::error::{Error, Result};
use crate::options;
use crate::policy::Policy;
use crate::progress::{Checkpoint, Progress};

/// The record of this objective.
pub(super) const KIND: Kind = Kind {
    name: "fit",
    summary: "counts in closed form, for policies without gradient",
    start: super::Start::Fresh,
    rewarded: false,
    ranked: false,
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, |_: &Config| Ok(())),
    train: run,
};

/// What can be set.
#[derive(Clone, Debug, Default, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Which part of each history is learned.
    until: Until,
}

fn run(
    policy: &mut Policy,
    course: &Course<'_>,
    config: &Json,
    progress: &Progress,
    _checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    let config: Config = serde_json::from_value(config.clone())?;
    let Policy::Score(policy) = policy else {
        return Err(Error::input("wrong-objective", "`fit` is for policies that count")
            .help("train a policy that learns by gradient with `sft`"));
    };
    let started = std::time::Instant::now();
    let learned: Vec<Vec<u32>> =
        course.histories.iter().map(|h| config.until.cut(h).to_vec()).collect();
    policy.fit(course.catalogue, &learned, progress)?;
    let seconds = started.elapsed().as_secs_f64();
    let samples = learned.len() as u64;
    let samples_per_second = samples as f64 / seconds.max(1e-9);
    Ok(Report { samples, seconds, samples_per_second, ..Report::default() })
}
