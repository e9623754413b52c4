//! Evaluation of a policy: leave-last-out, over the full catalogue, with random ties in expectation.
//!
//! A scorer ranks every item; a generator is decoded by beam or exactly. Each user's target gets a place
//! (`decode::places`), and metrics are computed from places alone, so an interrupted evaluation goes on from
//! the places it has.

mod report;
mod split;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub(crate) use report::Report;
pub(crate) use split::{Case, Split, training};

use crate::decode::{Decode, Placed, Request, Source, Way, places};
use crate::error::{Error, Kind, Result};
use crate::index::{Allowed, Catalogue, Trie};
use crate::metric::Place;
use crate::policy::state::{Reader, Writer, damaged};
use crate::policy::{History, Policy};
use crate::progress::{Checkpoint, Progress};

/// The largest k of a metric: beams are at least twice as wide.
const AT_MAX: usize = 1000;
/// The widest beam.
const BEAM_MAX: usize = 10_000;
/// The narrowest beam that is chosen by itself.
const BEAM_MIN: usize = 20;

/// How to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Which held-out item is asked for.
    pub(crate) split: Split,
    /// The ks of the metrics.
    pub(crate) at: Vec<usize>,
    /// Whether items of the history are left out of the ranking.
    pub(crate) filter_seen: bool,
    /// The width of a generator's beam; by itself 20, or twice the largest k. A policy that can do both generates where
    /// this is given, and scores every item elsewhere.
    pub(crate) beam: Option<usize>,
    /// Whether a generator scores every SID instead of searching.
    pub(crate) exact: bool,
    /// Users between two checkpoints.
    pub(crate) batch: usize,
    /// Resamples of the users for the intervals; 0 for none.
    pub(crate) bootstrap: usize,
    /// The seed of the sample of users and of the intervals.
    pub(crate) seed: u64,
    /// The most users; a seeded sample of them where there are more.
    pub(crate) users: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            split: Split::Test,
            at: vec![5, 10],
            filter_seen: true,
            beam: None,
            exact: false,
            batch: 256,
            bootstrap: 1000,
            seed: 0,
            users: None,
        }
    }
}

impl Config {
    /// Refuses what cannot be evaluated.
    pub(crate) fn check(&self) -> Result<()> {
        let limit = |name: &str, given: usize, most: usize| {
            if (1..=most).contains(&given) {
                return Ok(());
            }
            let message = format!("`{name}` must be between 1 and {most}, not {given}");
            Err(Error::input("bad-option", message))
        };
        if self.at.is_empty() {
            return Err(Error::input("bad-option", "`at` needs at least one number"));
        }
        self.at.iter().try_for_each(|at| limit("at", *at, AT_MAX))?;
        self.beam.map_or(Ok(()), |beam| limit("beam", beam, BEAM_MAX))?;
        self.users.map_or(Ok(()), |users| limit("users", users, usize::MAX))?;
        limit("batch", self.batch, usize::MAX)
    }

    /// The largest k.
    fn most(&self) -> usize {
        self.at.iter().copied().max().unwrap_or(1)
    }

    fn decode(&self) -> Decode {
        match self.beam {
            _ if self.exact => Decode::Exact,
            Some(_) => Decode::Beam,
            None => Decode::Auto,
        }
    }

    /// The width of the beam, never below the largest k.
    fn width(&self) -> usize {
        self.beam.unwrap_or(BEAM_MIN.max(2 * self.most())).max(self.most())
    }
}

/// Evaluates a policy over whole histories (positions of the catalogue, oldest first, one for each user).
///
/// # Errors
/// A configuration out of its limits, no user with three items, or a request to stop; then the work goes on
/// from the checkpoint when called again with the same arguments.
pub(crate) fn evaluate(
    policy: &Policy,
    catalogue: &Catalogue,
    trie: Option<&Trie>,
    histories: &[Vec<u32>],
    config: &Config,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Report> {
    config.check()?;
    let (cases, left_out, unsampled) = cases(histories, config)?;
    let allowed = Allowed::all(catalogue.len());
    let source = Source { policy, catalogue, trie, allowed: &allowed };
    let request = Request {
        k: config.most(),
        beam: config.width(),
        decode: config.decode(),
        exclude_seen: config.filter_seen,
        seed: config.seed,
        ..Request::default()
    };
    let stamp = stamp(catalogue, histories, config)?;
    let mut done = match checkpoint.load()? {
        Some(state) => restore(&state, &stamp, cases.len())?,
        None => Vec::with_capacity(cases.len()),
    };
    progress.stage("evaluate", cases.len() as u64);
    progress.advance(done.len() as u64);
    while done.len() < cases.len() {
        let batch = &cases[done.len()..cases.len().min(done.len() + config.batch)];
        let shown: Vec<History<'_>> = batch.iter().map(|case| case.history).collect();
        let targets: Vec<u32> = batch.iter().map(|case| case.target).collect();
        match places(&source, &shown, &targets, &request, progress) {
            Ok(places) => done.extend(places),
            Err(error) => {
                if error.is_cancelled() {
                    checkpoint.save(&saved(&done, &stamp))?;
                }
                return Err(error);
            }
        }
        progress.advance(batch.len() as u64);
        if checkpoint.due() {
            checkpoint.save(&saved(&done, &stamp))?;
        }
    }
    let decode = match Way::of(policy, config.decode()) {
        Way::Score(_) => "scores",
        Way::Generate(_) if config.exact => "exact",
        Way::Generate(_) => "beam",
    };
    Ok(Report {
        split: config.split.name().to_owned(),
        decode: decode.to_owned(),
        beam: if decode == "beam" { config.width() } else { 0 },
        users: done.len(),
        left_out,
        unsampled,
        filter_seen: config.filter_seen,
        seed: config.seed,
        bootstrap: config.bootstrap,
        figures: report::figures(&done, config, progress)?,
    })
}

/// The questions, the number of users without one, and the number of users not drawn.
fn cases<'a>(histories: &'a [Vec<u32>], config: &Config) -> Result<(Vec<Case<'a>>, usize, usize)> {
    let all: Vec<Case<'_>> =
        histories.iter().filter_map(|history| config.split.case(history)).collect();
    let left_out = histories.len() - all.len();
    if all.is_empty() {
        let message = format!("none of {left_out} users has a history of three items or more");
        return Err(Error::input("no-users", message)
            .help("the last item of a history is the test target, the last but one validation"));
    }
    let users = config.users.unwrap_or(all.len()).min(all.len());
    if users == all.len() {
        return Ok((all, left_out, 0));
    }
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let mut drawn = index::sample(&mut random, all.len(), users).into_vec();
    drawn.sort_unstable();
    let unsampled = all.len() - users;
    Ok((drawn.into_iter().map(|at| all[at]).collect(), left_out, unsampled))
}

/// What a checkpoint must agree with: the configuration and the size of the data.
fn stamp(catalogue: &Catalogue, histories: &[Vec<u32>], config: &Config) -> Result<Vec<u64>> {
    let text = serde_json::to_vec(config)?;
    // FNV-1a: a stamp against mistakes, not against malice.
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let interactions = histories.iter().map(Vec::len).sum::<usize>();
    Ok(vec![hash, catalogue.len() as u64, histories.len() as u64, interactions as u64])
}

fn saved(done: &[Placed], stamp: &[u64]) -> Vec<u8> {
    let numbers: Vec<u32> = done
        .iter()
        .flat_map(|placed| [placed.item, placed.sid])
        .flat_map(|place| [place.before, place.tied])
        .collect();
    let mut state = Writer::default();
    state.u64s(stamp).u32s(&numbers);
    state.finish()
}

fn restore(state: &[u8], stamp: &[u64], cases: usize) -> Result<Vec<Placed>> {
    let mut state = Reader::new(state);
    let (saved, numbers) = (state.u64s()?, state.u32s()?);
    state.finish()?;
    if saved != stamp {
        let message = "items or interactions have changed since the evaluation was interrupted";
        return Err(
            Error::new(Kind::Input, "stale-checkpoint", message).help("start the evaluation anew")
        );
    }
    let (places, rest) = numbers.as_chunks::<4>();
    if !rest.is_empty() || places.len() > cases {
        return Err(damaged());
    }
    let place = |before, tied| Place { before, tied };
    Ok(places
        .iter()
        .map(|[a, b, c, d]| Placed { item: place(*a, *b), sid: place(*c, *d) })
        .collect())
}

#[cfg(test)]
mod tests;
