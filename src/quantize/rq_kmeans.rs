//! RQ-KMeans: k-means on the vectors, then on what each level leaves over. No gradients; within a few per
//! cent of RQ-VAE in what a recommender makes of it.

use documented::DocumentedFieldsOpt;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artefact::{Artefact, MAX_CODES, MAX_LEVELS};
use super::coder::Coder;
use super::kmeans::{self, Seeding, gather};
use super::residual::{Level, Stack};
use super::{Collisions, Input, Kind, Vectors, balance, saved, within};
use crate::error::{Error, Result};
use crate::index::principal::Principal;
use crate::options;
use crate::progress::{Checkpoint, Progress};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "rq_kmeans",
    summary: "residual k-means: each level clusters what the levels before left over",
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Options of `rq_kmeans`.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Levels of a SID, without the suffix level.
    pub(crate) levels: usize,
    /// Codes of each level.
    pub(crate) codes: usize,
    /// The most passes of k-means at each level.
    pub(crate) iterations: usize,
    /// K-means stops when a pass lowers the error by less than this share of it.
    pub(crate) tolerance: f64,
    /// Vectors for each update of k-means; 0 for all of them.
    pub(crate) batch: usize,
    /// Vectors that k-means sees for each code, at most; 0 for all.
    pub(crate) sample: usize,
    /// Where k-means starts: `kmeans++`, or `pca`, in more and more principal components.
    pub(crate) seeding: Seeding,
    /// Whether codes are given to about as many items each.
    pub(crate) balanced: bool,
    /// Principal components that are clustered in place of the vectors; 0 for the vectors.
    pub(crate) pca: usize,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// What becomes of items with equal codes: `reassign` gives codes of the last level anew, `sinkhorn` does so as
    /// MiniOneRec, `suffix` adds a level that numbers them, `allow` leaves them.
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
            sample: 256,
            seeding: Seeding::PlusPlus,
            balanced: false,
            pca: 0,
            seed: 42,
            collisions: Collisions::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
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
    input: &Input<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Artefact> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let sign = saved::sign(KIND.name, serde_json::to_value(&config)?, input)?;
    let vectors = &input.vectors;
    if config.pca == 0 || config.pca >= vectors.dim() {
        let stack = stack(&config, vectors, &sign, progress, checkpoint)?;
        return Ok(Artefact::new(stack, config.collisions));
    }
    progress.stage("finding principal components", vectors.len() as u64);
    let principal = Principal::fit(vectors.data(), vectors.dim(), config.pca, progress)?;
    let (encoder, decoder) = Coder::principal(&principal);
    let latent = encoder.apply_all(vectors, progress)?;
    let latent = Vectors::new(&latent, config.pca)?;
    let stack = stack(&config, &latent, &sign, progress, checkpoint)?;
    Ok(Artefact::coded((encoder, decoder), true, stack, config.collisions))
}

/// The levels over the vectors that are clustered, or over a sample where there are many.
pub(super) fn stack(
    config: &Config,
    vectors: &Vectors<'_>,
    sign: &[u8],
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Stack> {
    let dim = vectors.dim();
    let most = config.codes.saturating_mul(config.sample);
    let few;
    let vectors = if most > 0 && vectors.len() > most {
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        let rows = index::sample(&mut random, vectors.len(), most).into_vec();
        few = gather(vectors.data(), dim, &rows);
        &Vectors::new(&few, dim)?
    } else {
        vectors
    };
    let levels = saved::load(checkpoint, sign)?.unwrap_or_default();
    let level = |part: &Vec<u8>| {
        let mut codebook = saved::to_floats(part);
        let bias = codebook.split_off((config.codes * dim).min(codebook.len()));
        Level { codebook, bias, span: 0..dim }
    };
    let done: Vec<Level> = levels.iter().take(config.levels).map(level).collect();
    Stack::train(
        Stack::of(dim, done),
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
                seeding: config.seeding,
                // Every level draws from a source of its own, so that a resumed build ends the same.
                seed: config.seed.wrapping_add(level as u64),
            };
            let centres = kmeans::fit(residuals, dim, &settings, progress)?;
            if config.balanced {
                balance::level(residuals, dim, centres, settings.seed, progress)
            } else {
                Ok((centres, Vec::new()))
            }
        },
        |stack| {
            let part = |at| {
                let Level { codebook, bias, .. } = stack.level(at);
                saved::of_floats(&[codebook.as_slice(), bias].concat())
            };
            let parts: Vec<Vec<u8>> = (0..stack.levels()).map(part).collect();
            saved::save(checkpoint, sign, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
        },
    )
}
