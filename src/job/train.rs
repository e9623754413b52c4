//! TRAIN POLICY: a policy learns, is bound to its generation, and its weights go into the file.

use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{
    Body, EvidenceKind, PolicyState, View, blobs, codebooks, generations, histories, policies,
};

use super::{Answer, Context, Kind};
use crate::cache::{Ground, bytes, content, untrained};
use crate::clock::now_ms;
use crate::count::{counted, grouped};
use crate::derive::subject::body;
use crate::device::AUTO;
use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::kind;
use crate::reward::{Known, Need, Sum};
use crate::train::{Course, Judge, OBJECTIVES, Report, Start, train};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "train",
    summary: "TRAIN POLICY: learns from histories and binds the policy to the published generation",
    run,
};

/// What to train.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The policy.
    pub(crate) policy: String,
    /// The objective.
    pub(crate) objective: String,
    /// The options of the objective, every field present.
    pub(crate) config: Json,
    /// Rewards with their weights, for an objective that learns from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rewards: Vec<(String, f64)>,
}

/// What a policy card keeps of its training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Trained {
    /// The objective.
    pub(crate) objective: String,
    /// Its options.
    pub(crate) config: Json,
    /// Rewards with their weights, where it learned from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rewards: Vec<(String, f64)>,
    /// What it did.
    pub(crate) report: Report,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    let read = context.read()?;
    let mut card = policies::get(&read, &spec.policy)?.ok_or_else(|| gone(&spec.policy))?;
    let objective = kind::find(OBJECTIVES, "objective", &spec.objective)?;
    let start = match spec.config.get("start") {
        Some(start) => serde_json::from_value(start.clone())?,
        None => objective.start,
    };
    if start == Start::Trained && card.weights.is_none() {
        return Err(taught(&spec));
    }
    // What is rewarded stays on the generation that it was taught.
    card.generation = match &card.codebook {
        Some(_) if objective.start == Start::Trained => card.generation,
        Some(name) => Some(published(&read, name)?),
        None => None,
    };
    let ground = context.cache.ground(&read, card.generation)?;
    let histories = histories_of(&read, ground.catalogue())?;
    let seed = spec.config.get("seed").and_then(Json::as_u64).unwrap_or_default();
    let device = spec.config.get("device").and_then(Json::as_str).filter(|name| *name != AUTO);
    let device = device.map_or_else(|| context.cache.device(), str::to_owned);
    let mut policy = untrained(&read, &card, &ground, (&device, seed))?;
    if let (Start::Trained, Some(weights)) = (start, card.weights) {
        policy.load(ground.catalogue(), &bytes(&read, weights)?)?;
    }
    let rewarded = !spec.rewards.is_empty();
    let reward = rewarded.then(|| judge(&read, &spec, &ground)).transpose()?;
    drop(read);
    let report = train(
        objective,
        &mut policy,
        &Course {
            catalogue: ground.catalogue(),
            trie: ground.trie(),
            histories: &histories,
            reward,
        },
        &spec.config,
        context.progress,
        &context.slot,
    )?;
    let weights = policy.save(ground.catalogue())?;
    let said = said(&spec, objective.ranked, &report, weights.len());

    let write = context.write()?;
    let mut stored = policies::get(&write, &spec.policy)?.ok_or_else(|| gone(&spec.policy))?;
    if let Some(number) = card.generation
        && generations::get(&write, number)?.is_none()
    {
        return Err(Error::input(
            "dropped-generation",
            format!("the generation that `{}` was being trained on has been dropped", spec.policy),
        )
        .help(format!("TRAIN POLICY {}; again", spec.policy)));
    }
    stored.generation = card.generation;
    stored.weights = Some(blobs::put(&write, &weights)?);
    stored.state = PolicyState::Trained;
    stored.trained_ms = Some(now_ms());
    stored.data_hash = data_hash(&ground, &histories);
    let trained =
        Trained { objective: spec.objective, config: spec.config, rewards: spec.rewards, report };
    stored.report = json!(trained).to_string();
    policies::update(&write, &stored)?;
    context.publish(write, Answer::say(said))
}

/// Rewards, with what they must know of the items.
fn judge<'g>(view: &dyn View, spec: &Spec, ground: &'g Ground) -> Result<Judge<'g>> {
    let sum = Sum::new(spec.rewards.iter().map(|(name, weight)| (name.as_str(), *weight)))?;
    let Ground::Index(index) = ground else {
        return Err(Error::internal("rewards are for SIDs"));
    };
    let catalogue = &index.catalogue;
    let mut known = Known {
        catalogue,
        levels: index.artefact.as_ref().map_or(catalogue.levels(), |artefact| artefact.levels()),
        quality: Vec::new(),
        vectors: Vec::new(),
    };
    if sum.needs(Need::Quality) {
        known.quality = quality(view, catalogue)?;
    }
    if sum.needs(Need::Vectors) {
        known.vectors = content(view, index)?.0;
    }
    Ok(Judge { sum, known })
}

/// The quality of every position; 0 where nobody has judged.
fn quality(view: &dyn View, catalogue: &Catalogue) -> Result<Vec<f32>> {
    let mut judged = 0;
    let mut scores = vec![0.0; catalogue.len()];
    for (score, item) in scores.iter_mut().zip(&catalogue.items) {
        if let Some(Body::Quality { score: known, .. }) = body(view, EvidenceKind::Quality, *item)?
        {
            *score = known;
            judged += 1;
        }
    }
    if judged == 0 {
        let message = "the reward `quality` needs the quality of items, and none has any";
        return Err(Error::input("no-quality", message)
            .help("ENRICH items BY quality …; or reward something else: REWARD exact, prefix"));
    }
    Ok(scores)
}

fn taught(spec: &Spec) -> Error {
    let (policy, objective) = (&spec.policy, &spec.objective);
    let message = format!("`{objective}` goes on from weights, and policy `{policy}` has none yet");
    Error::input("untrained", message).help(format!("TRAIN POLICY {policy} USING sft; first"))
}

fn gone(name: &str) -> Error {
    Error::input("unknown-name", format!("policy `{name}` has been dropped"))
}

fn published(view: &dyn View, codebook: &str) -> Result<u32> {
    codebooks::must(view, codebook)?.published.ok_or_else(|| {
        let message = format!("codebook `{codebook}` has no published generation to learn from");
        Error::input("not-published", message).help(format!("REBUILD CODEBOOK {codebook};"))
    })
}

/// Every user's history as positions of a catalogue, oldest first, in the order of user numbers. Items that the
/// catalogue lacks are left out.
pub(crate) fn histories_of(view: &dyn View, catalogue: &Catalogue) -> Result<Vec<Vec<u32>>> {
    let mut all = Vec::new();
    for row in histories::scan(view, 0)? {
        let (_, history) = row?;
        all.push(history.iter().filter_map(|one| catalogue.position(one.item)).collect());
    }
    if all.is_empty() {
        return Err(Error::input("no-interactions", "there are no interactions to learn from")
            .help("COPY interactions FROM 'sequences.tsv.gz' WITH (layout = 'sequences');"));
    }
    Ok(all)
}

/// A hash of the items and histories that were learned from.
pub(crate) fn data_hash(ground: &Ground, histories: &[Vec<u32>]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for item in &ground.catalogue().items {
        hasher.write_u64(*item);
    }
    for history in histories {
        hasher.write_u64(history.len() as u64);
        for position in history {
            hasher.write_u32(*position);
        }
    }
    hasher.finish()
}

fn said(spec: &Spec, ranked: bool, report: &Report, bytes: usize) -> String {
    let seconds = report.seconds;
    let size = grouped(bytes.div_ceil(1024) as u64);
    if report.epochs.is_empty() {
        format!("policy `{}` fitted in {seconds:.1} s, {size} KiB", spec.policy)
    } else {
        let best = report.best_epoch.checked_sub(1).and_then(|at| report.epochs.get(at));
        let loss = best.and_then(|epoch| epoch.validation_loss);
        let loss = loss.map_or(String::new(), |loss| {
            if ranked {
                format!(", validation ndcg@10 {:.4}", 1.0 - loss)
            } else {
                format!(", validation loss {loss:.4}")
            }
        });
        format!(
            "policy `{}` trained for {} in {seconds:.0} s, best epoch {}{loss}, {size} KiB",
            spec.policy,
            counted(report.epochs.len(), "epoch"),
            report.best_epoch,
        )
    }
}
