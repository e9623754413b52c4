//! Who needs a generation. What is needed is never dropped.
//!
//! A generation is in use while it is published, while a policy is bound to it, or while a job that is queued or at
//! work may read it: one that trains or evaluates a policy of the codebook, or builds the codebook anew near it.

use serde_json::Value as Json;
use sidql_storage::{Codebook, GenerationNo, JobRecord, JobState, View, jobs, policies};

use super::rebuild;
use crate::error::Result;

/// Somebody who needs a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// What it is, as the end of a sentence about the generation.
    pub(crate) why: String,
    /// How it lets go.
    pub(crate) remedy: String,
}

/// Everybody who needs a generation of a codebook.
pub(crate) fn holders(
    view: &dyn View,
    codebook: &Codebook,
    generation: GenerationNo,
) -> Result<Vec<Holder>> {
    let name = &codebook.name;
    let mut holders = Vec::new();
    if codebook.published == Some(generation) {
        holders.push(Holder {
            why: "is published".to_owned(),
            remedy: format!("PUBLISH CODEBOOK {name} GENERATION …; another one first"),
        });
    }
    let speakers =
        policies::all(view)?.into_iter().filter(|card| card.codebook.as_ref() == Some(name));
    let speakers: Vec<_> = speakers.collect();
    for card in speakers.iter().filter(|card| card.generation == Some(generation)) {
        holders.push(Holder {
            why: format!("is what policy `{}` answers on", card.name),
            remedy: format!(
                "TRAIN POLICY {0}; binds it to the published generation, DROP POLICY {0}; ends it",
                card.name
            ),
        });
    }
    let live = |job: &JobRecord| matches!(job.state, JobState::Queued | JobState::Running);
    for job in jobs::all(view)?.into_iter().filter(live) {
        let spec: Json = serde_json::from_str(&job.spec)?;
        let named = |policy: &Json| speakers.iter().any(|card| policy == card.name.as_str());
        let needs = match job.kind.as_str() {
            "rebuild" => {
                let spec: rebuild::Spec = serde_json::from_value(spec)?;
                spec.align_to == Some(generation)
            }
            "train" => named(&spec["policy"]),
            "evaluate" => spec["policies"].as_array().is_some_and(|all| all.iter().any(named)),
            _ => false,
        };
        if needs {
            holders.push(Holder {
                why: format!("is needed by job {}, {}", job.number, job.kind),
                remedy: format!("WAIT JOB {0}; or CANCEL JOB {0};", job.number),
            });
        }
    }
    Ok(holders)
}
