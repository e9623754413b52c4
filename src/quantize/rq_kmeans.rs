//! RQ-KMeans: k-means on the vectors, then on what each level leaves over. No gradients; within a few per
//! cent of RQ-VAE in what a recommender makes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::artefact::{Artefact, MAX_CODES, MAX_LEVELS, floats_of, split};
use super::kmeans;
use super::residual::Stack;
use super::{Collisions, Kind, Vectors};
use crate::error::{Error, Result};
use crate::options;
use crate::progress::{Checkpoint, Progress};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "rq_kmeans",
    summary: "residual k-means: each level clusters what the levels before left over",
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Options of `rq_kmeans`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Levels of a SID, without the suffix level.
    pub(crate) levels: usize,
    /// Codes of each level.
    pub(crate) codes: usize,
    /// The most passes of k-means at each level.
    pub(crate) iterations: usize,
    /// k-means stops when a pass lowers the error by less than this share of it.
    pub(crate) tolerance: f64,
    /// Vectors for each update of k-means; 0 for all of them.
    pub(crate) batch: usize,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// What is done about items with equal codes.
    pub(crate) collisions: Collisions,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            levels: 3,
            codes: 256,
            iterations: 100,
            tolerance: 1e-5,
            batch: 0,
            seed: 42,
            collisions: Collisions::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        let within = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            let message =
                format!("option `{name}` must lie between {least} and {most}, not {value}");
            Err(Error::input("bad-option", message))
        };
        within("levels", self.levels, 1, MAX_LEVELS)?;
        within("codes", self.codes, 2, MAX_CODES)?;
        within("iterations", self.iterations, 1, 10_000)?;
        if !(0.0..1.0).contains(&self.tolerance) {
            let message =
                format!("option `tolerance` must lie between 0 and 1, not {}", self.tolerance);
            return Err(Error::input("bad-option", message));
        }
        Ok(())
    }
}

/// Trains level by level; a finished level is saved and not trained again.
fn fit(
    config: &Json,
    vectors: &Vectors<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Artefact> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let sign = fingerprint(&config, vectors)?;
    let done = resume(checkpoint, &sign, &config, vectors.dim())?;
    let stack = Stack::train(
        done,
        config.levels,
        vectors,
        progress,
        |level, residuals| {
            let stage = format!("training level {} of {}", level + 1, config.levels);
            progress.stage(stage, config.iterations as u64);
            let settings = kmeans::Settings {
                codes: config.codes,
                iterations: config.iterations,
                tolerance: config.tolerance,
                batch: config.batch,
                // Every level draws from a source of its own, so that a resumed build ends the same.
                seed: config.seed.wrapping_add(level as u64),
            };
            kmeans::fit(residuals, vectors.dim(), &settings, progress)
        },
        |stack| checkpoint.save(&save(&sign, stack)),
    )?;
    Ok(Artefact::new(stack, config.collisions))
}

/// What a saved state must have been made from to be of use.
fn fingerprint(config: &Config, vectors: &Vectors<'_>) -> Result<Vec<u8>> {
    // FNV-1a over the bits: it tells changed vectors from the same ones, no more is asked of it.
    let sum = vectors.data().iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, x| {
        (sum ^ u64::from(x.to_bits())).wrapping_mul(0x0100_0000_01b3)
    });
    let config = serde_json::to_value(config)?;
    let sign = json!({"config": config, "rows": vectors.len(), "dim": vectors.dim(), "sum": sum});
    Ok(serde_json::to_vec(&sign)?)
}

fn save(sign: &[u8], stack: &Stack) -> Vec<u8> {
    let mut bytes = (sign.len() as u32).to_le_bytes().to_vec();
    bytes.extend(sign);
    for level in 0..stack.levels() {
        bytes.extend(stack.codebook(level).iter().flat_map(|x| x.to_le_bytes()));
    }
    bytes
}

/// The levels that were finished before; none where the state is of other work.
fn resume(checkpoint: &dyn Checkpoint, sign: &[u8], config: &Config, dim: usize) -> Result<Stack> {
    let saved = checkpoint.load()?;
    let codebooks = match saved.as_deref().and_then(split) {
        Some((saved, floats)) if saved == sign => floats_of(floats)
            .chunks_exact(config.codes * dim)
            .take(config.levels)
            .map(<[f32]>::to_vec)
            .collect(),
        _ => Vec::new(),
    };
    Ok(Stack::new(dim, codebooks))
}
