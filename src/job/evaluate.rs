//! EVALUATE POLICY: hit rate and NDCG by leave-last-out, with the training-free item graph beside as the floor.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sidql_storage::{EvaluationRecord, PolicyCard, View, Write, evaluations, items, policies};

use super::train::{Trained, data_hash, histories_of};
use super::{Answer, Context, Kind};
use crate::cache::Ground;
use crate::clock::now_ms;
use crate::device;
use crate::error::{Error, Result};
use crate::eval::{self, Config, Report, Split};
use crate::kind;
use crate::policy::{self, Policy};
use crate::progress::Checkpoint;
use crate::train::Until;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "evaluate",
    summary: "EVALUATE POLICY: hit rate and ndcg on held-out items, the item graph beside as the floor",
    run,
};

/// The kind of policy that is the floor.
const FLOOR: &str = "item_graph";
/// The metrics of the result table; the rest are stored.
const SHOWN: &[&str] = &["hr", "ndcg"];

/// What to evaluate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The policies.
    pub(crate) policies: Vec<String>,
    /// How.
    pub(crate) config: Config,
}

/// One evaluated policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    policy: String,
    generation: Option<u32>,
    trained_on: String,
    data_hash: u64,
    seconds: f64,
    report: Report,
}

fn run(context: &Context<'_>, spec: &str) -> Result<Answer> {
    let spec: Spec = serde_json::from_str(spec)?;
    let read = context.read()?;
    let place = Place::load(context)?;
    let mut done = place.done.clone();
    for name in spec.policies.iter().skip(done.len()) {
        let card = policies::get(&read, name)?.ok_or_else(|| {
            Error::input("unknown-name", format!("policy `{name}` has been dropped"))
        })?;
        let trained_on = trained_on(&card, spec.config.split)?;
        let ready = context.cache.policy(&read, &card)?;
        let asked = Asked {
            name,
            generation: card.generation,
            trained_on: trained_on.to_owned(),
            policy: &ready.policy,
            ground: &ready.ground,
        };
        done.push(one(context, &read, &spec.config, &asked, &place, &done)?);
    }
    let has_floor = |name: &String| -> Result<bool> {
        Ok(policies::get(&read, name)?.is_some_and(|card| card.kind == FLOOR))
    };
    let mut floored = false;
    for name in &spec.policies {
        floored |= has_floor(name)?;
    }
    if !floored {
        done.push(floor(context, &read, &spec.config, &place, &done)?);
    }
    let write = context.write()?;
    store(&write, &spec.config, &done)?;
    context.publish(write, answer(&spec.config, &done))
}

/// One policy to ask.
struct Asked<'a> {
    name: &'a str,
    generation: Option<u32>,
    trained_on: String,
    policy: &'a Policy,
    ground: &'a Ground,
}

fn one(
    context: &Context<'_>,
    view: &dyn View,
    config: &Config,
    asked: &Asked<'_>,
    place: &Place,
    done: &[Done],
) -> Result<Done> {
    let (known, all) = (asked.ground.catalogue().len() as u64, items::count(view)?);
    if known < all {
        let message = format!(
            "{} of {all} items have no sid in the generation of `{}`, so its ranking would not be of the full \
             catalogue",
            all - known,
            asked.name
        );
        return Err(Error::input("incomplete-generation", message)
            .help("REBUILD CODEBOOK and TRAIN POLICY again"));
    }
    let histories = histories_of(view, asked.ground.catalogue())?;
    let started = Instant::now();
    let slot = Part { context, place, done };
    let report = eval::evaluate(
        asked.policy,
        asked.ground.catalogue(),
        asked.ground.trie(),
        &histories,
        config,
        context.progress,
        &slot,
    )?;
    Ok(Done {
        policy: asked.name.to_owned(),
        generation: asked.generation,
        trained_on: asked.trained_on.clone(),
        data_hash: data_hash(asked.ground, &histories),
        seconds: started.elapsed().as_secs_f64(),
        report,
    })
}

/// The item graph with its defaults, fitted for this evaluation alone.
fn floor(
    context: &Context<'_>,
    view: &dyn View,
    config: &Config,
    place: &Place,
    done: &[Done],
) -> Result<Done> {
    let kind = kind::find(policy::KINDS, "policy kind", FLOOR)?;
    let ground = context.cache.ground(view, None)?;
    let histories = histories_of(view, ground.catalogue())?;
    let options = Json::Object((kind.config)(&[])?);
    let mut graph = (kind.build)(&options, &ground.catalogue().into(), &device::choose("cpu")?, 0)?;
    let cut: Vec<Vec<u32>> =
        histories.iter().map(|history| eval::training(history).to_vec()).collect();
    if let Policy::Score(graph) = &mut graph {
        graph.fit(ground.catalogue(), &cut, context.progress)?;
    }
    let asked = Asked {
        name: "item_graph (floor)",
        generation: None,
        trained_on: "train".to_owned(),
        policy: &graph,
        ground: &ground,
    };
    one(context, view, config, &asked, place, done)
}

/// Which part of the histories a policy learned; it must not contain what is asked for.
fn trained_on(card: &PolicyCard, split: Split) -> Result<&'static str> {
    let trained: Option<Trained> = serde_json::from_str(&card.report).ok();
    let until = trained.and_then(|trained| trained.config.get("until").cloned());
    let until: Until = until.map_or(Ok(Until::Train), serde_json::from_value)?;
    let (name, leaks) = match until {
        Until::Train => ("train", false),
        Until::Validation => ("train + validation", split == Split::Validation),
        Until::All => ("all", true),
    };
    if leaks {
        let message = format!(
            "policy `{}` has learned the {} items that it would be asked for",
            card.name,
            split.name()
        );
        return Err(Error::input("leak", message)
            .help(format!("TRAIN POLICY {} WITH (until = 'train');", card.name)));
    }
    Ok(name)
}

fn store(write: &Write, config: &Config, done: &[Done]) -> Result<()> {
    for one in done {
        let mut metrics = serde_json::Map::new();
        for figure in &one.report.figures {
            let interval = json!({"mean": figure.mean, "low": figure.low, "high": figure.high});
            metrics.insert(figure.column(), interval);
        }
        let stated = json!({
            "filter_seen": one.report.filter_seen,
            "trained_on": one.trained_on,
            "decode": one.report.decode,
            "beam": one.report.beam,
            "left_out": one.report.left_out,
            "bootstrap": one.report.bootstrap,
            "seed": one.report.seed,
            "seconds": one.seconds,
        });
        evaluations::add(
            write,
            &EvaluationRecord {
                policy: one.policy.clone(),
                split: one.report.split.clone(),
                at: config.at.iter().map(|at| *at as u32).collect(),
                users: one.report.users as u64,
                metrics: Json::Object(metrics).to_string(),
                config: stated.to_string(),
                generation: one.generation,
                data_hash: one.data_hash,
                created_ms: now_ms(),
                ..EvaluationRecord::default()
            },
        )?;
    }
    Ok(())
}

/// The table: one row a policy, item-level figures first, then the string-level ones.
fn answer(config: &Config, done: &[Done]) -> Answer {
    let mut columns: Vec<String> = ["policy", "split", "users"].map(str::to_owned).to_vec();
    let mut figures = Vec::new();
    for suffix in ["", "_sid"] {
        for metric in SHOWN {
            for at in &config.at {
                figures.push(format!("{metric}@{at}{suffix}"));
            }
        }
    }
    columns.extend(figures.iter().cloned());
    columns.extend(["seen_filtered", "trained_on", "seconds"].map(str::to_owned));
    let row = |one: &Done| {
        let mut row = vec![json!(one.policy), json!(one.report.split), json!(one.report.users)];
        let mean = |column: &String| one.report.figure(column).map(|figure| rounded(figure.mean));
        row.extend(figures.iter().map(|column| json!(mean(column))));
        row.extend([
            json!(one.report.filter_seen),
            json!(one.trained_on),
            json!(tenths(one.seconds)),
        ]);
        row
    };
    let users = done.first().map_or(0, |one| one.report.users);
    Answer {
        message: format!(
            "{} policies over {} users",
            done.len(),
            crate::count::grouped(users as u64)
        ),
        rows: done.iter().map(row).collect(),
        columns,
        changed: None,
    }
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e5).round() / 1e5
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

/// Where an interrupted evaluation of several policies stands.
#[derive(Default, Serialize, Deserialize)]
struct Place {
    done: Vec<Done>,
    inner: Option<Vec<u8>>,
}

impl Place {
    fn load(context: &Context<'_>) -> Result<Place> {
        match context.slot.load()? {
            Some(bytes) => Ok(serde_json::from_slice(&bytes)?),
            None => Ok(Place::default()),
        }
    }
}

/// The checkpoint of one policy within the checkpoint of the whole evaluation.
struct Part<'a> {
    context: &'a Context<'a>,
    place: &'a Place,
    done: &'a [Done],
}

impl Checkpoint for Part<'_> {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        let same = self.place.done.len() == self.done.len();
        Ok(if same { self.place.inner.clone() } else { None })
    }

    fn save(&self, state: &[u8]) -> Result<()> {
        let place = Place { done: self.done.to_vec(), inner: Some(state.to_vec()) };
        self.context.slot.save(&serde_json::to_vec(&place)?)
    }

    fn due(&self) -> bool {
        self.context.slot.due()
    }
}
