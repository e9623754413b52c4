//! OPQ: the vectors turned so that their components fall into parts that are coded one by one (Ge et al. 2013), for
//! policies that speak all codes of an item at once (RPG).
//!
//! The codes are no hierarchy: a prefix says nothing that another part of the SID does not. Items with equal codes
//! are therefore told apart by a suffix level, unless something else is asked for.

use std::ops::Range;

use documented::DocumentedFieldsOpt;
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::artefact::{Artefact, MAX_CODES, MAX_LEVELS};
use super::coder::{Coder, Linear, Step};
use super::kmeans::{self, Seeding, gather};
use super::residual::{Stack, part};
use super::{Collisions, Input, Kind, Vectors, saved, within};
use crate::error::{Error, Result};
use crate::index::principal::Principal;
use crate::options;
use crate::progress::{Checkpoint, Progress};

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "opq",
    summary: "optimised product quantization: a rotation, then codes of its parts, without a hierarchy (OPQ)",
    meanings: options::meanings::<Config>,
    config: |given| options::checked(given, Config::check),
    fit,
};

/// Passes of k-means in one round.
const PASSES: usize = 4;

/// Options of `opq`.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Parts of a vector, one code each.
    levels: usize,
    /// Codes of each part.
    codes: usize,
    /// Principal components that are kept before the rotation; 0 for all.
    pca: usize,
    /// Rounds of codes, then rotation.
    rounds: usize,
    /// The most passes of k-means at the end.
    iterations: usize,
    /// Vectors that the rotation is learned from, at most.
    sample: usize,
    /// Seed of everything random.
    seed: u64,
    /// What becomes of items with equal codes: `reassign` gives codes of the last level anew, `sinkhorn` does so as
    /// MiniOneRec, `suffix` adds a level that numbers them, `allow` leaves them.
    collisions: Collisions,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            levels: 16,
            codes: 256,
            pca: 0,
            rounds: 10,
            iterations: 25,
            sample: 65_536,
            seed: 42,
            collisions: Collisions::Suffix,
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        within("levels", self.levels, 1, MAX_LEVELS)?;
        within("codes", self.codes, 2, MAX_CODES)?;
        within("rounds", self.rounds, 0, 1000)?;
        within("iterations", self.iterations, 1, 10_000)?;
        within("sample", self.sample, 1, usize::MAX)
    }

    fn kmeans(&self, level: usize, iterations: usize) -> kmeans::Settings {
        kmeans::Settings {
            codes: self.codes,
            iterations,
            tolerance: 1e-4,
            batch: 0,
            seeding: Seeding::PlusPlus,
            seed: self.seed.wrapping_add(level as u64),
        }
    }
}

/// Learns the rotation, then the codes of each part. A learned rotation is saved and not learned again.
fn fit(
    config: &Json,
    input: &Input<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Artefact> {
    let config: Config = serde_json::from_value(config.clone())?;
    config.check()?;
    let vectors = &input.vectors;
    let dim = if config.pca == 0 { vectors.dim() } else { config.pca.min(vectors.dim()) };
    if config.levels > dim {
        let message = format!("vectors of {dim} components have no {} parts", config.levels);
        return Err(Error::input("bad-option", message).help("lower `levels`, or raise `pca`"));
    }
    let sign = saved::sign(KIND.name, serde_json::to_value(&config)?, input)?;
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let sample = if vectors.len() > config.sample {
        let rows = index::sample(&mut random, vectors.len(), config.sample).into_vec();
        gather(vectors.data(), vectors.dim(), &rows)
    } else {
        vectors.data().to_vec()
    };
    let spans = spans(dim, config.levels);
    let mut saved_parts = saved::load(checkpoint, &sign)?.unwrap_or_default().into_iter();
    let saved = saved_parts.next().map(|part| saved::to_floats(&part));
    let saved = saved.filter(|x| x.len() == vectors.dim() * (dim + 1));
    let (centre, turn) = if let Some(numbers) = saved {
        let (centre, turn) = numbers.split_at(vectors.dim());
        (centre.to_vec(), DMatrix::from_column_slice(vectors.dim(), dim, turn))
    } else {
        let (centre, turn) =
            rotation(&config, &Vectors::new(&sample, vectors.dim())?, dim, &spans, progress)?;
        let part = saved::of_floats(&[centre.as_slice(), turn.as_slice()].concat());
        saved::save(checkpoint, &sign, &[&part])?;
        (centre, turn)
    };
    let coders = coders(&centre, &turn);
    let turned = coders.0.apply_all(&Vectors::new(&sample, vectors.dim())?, &progress.within())?;
    let mut levels = Vec::with_capacity(spans.len());
    for (level, span) in spans.into_iter().enumerate() {
        progress.stage(
            format!("codes of part {} of {}", level + 1, config.levels),
            config.iterations as u64,
        );
        let rows = part(&turned, dim, &span);
        let settings = config.kmeans(level, config.iterations);
        let centres = kmeans::fit(&rows, span.len(), &settings, progress)?;
        levels.push((span, centres));
    }
    Ok(Artefact::coded(coders, true, Stack::product(dim, levels), config.collisions))
}

/// The components of each part, as even as can be.
fn spans(dim: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts).map(|at| at * dim / parts..(at + 1) * dim / parts).collect()
}

/// The way to the turned vectors and back: `turn` has a column for each of their components.
fn coders(centre: &[f32], turn: &DMatrix<f32>) -> (Coder, Coder) {
    let there = turn.transpose().as_slice().to_vec();
    let back = turn.as_slice().to_vec();
    let negative = centre.iter().map(|x| -x).collect();
    let encoder = Coder::new(vec![
        Step::Affine { centre: centre.to_vec(), scale: 1.0 },
        Step::linear(Linear::matrix(there, turn.nrows())),
    ]);
    let decoder = Coder::new(vec![
        Step::linear(Linear::matrix(back, turn.ncols())),
        Step::Affine { centre: negative, scale: 1.0 },
    ]);
    (encoder, decoder)
}

/// The mean, and a matrix of orthonormal columns to turn by: first the principal components, given to the parts so
/// that these vary alike, then in rounds the one that brings the vectors nearest to their codewords.
fn rotation(
    config: &Config,
    vectors: &Vectors<'_>,
    dim: usize,
    spans: &[Range<usize>],
    progress: &Progress,
) -> Result<(Vec<f32>, DMatrix<f32>)> {
    progress.stage("finding principal components", vectors.len() as u64);
    let principal = Principal::fit(vectors.data(), vectors.dim(), dim, progress)?;
    let (encoder, _) = Coder::principal(&principal);
    let latent = encoder.apply_all(vectors, &progress.within())?;
    let order = allotted(&latent, dim, spans);
    let axes = DMatrix::from_column_slice(vectors.dim(), dim, &principal.components);
    let axes = DMatrix::from_fn(vectors.dim(), dim, |row, at| axes[(row, order[at])]);
    // Rounds turn within the kept components: every matrix is of dim × dim.
    let latent: Vec<f32> =
        latent.chunks_exact(dim).flat_map(|row| order.iter().map(|at| row[*at])).collect();
    let rows = Vectors::new(&latent, dim)?;
    let mut turn = DMatrix::<f32>::identity(dim, dim);
    let mut codebooks: Vec<Vec<f32>> = Vec::new();
    progress.stage("learning the rotation", config.rounds as u64);
    for _ in 0..config.rounds {
        if rows.len() == 0 {
            break;
        }
        let coder = Coder::new(vec![Step::linear(Linear::matrix(
            turn.transpose().as_slice().to_vec(),
            dim,
        ))]);
        let within = progress.within();
        let turned = coder.apply_all(&rows, &within)?;
        for (level, span) in spans.iter().enumerate() {
            let rows = part(&turned, dim, span);
            let settings = config.kmeans(level, PASSES);
            if codebooks.len() <= level {
                codebooks.push(kmeans::fit(&rows, span.len(), &settings, &within)?);
            } else {
                let from = std::mem::take(&mut codebooks[level]);
                codebooks[level] = kmeans::lloyd(&rows, span.len(), from, &settings, &within)?;
            }
        }
        let levels = spans.iter().cloned().zip(codebooks.iter().cloned()).collect();
        turn = nearest_turn(&rows, &turned, &Stack::product(dim, levels), &within)?;
        progress.advance(1);
    }
    Ok((principal.centre, axes * turn))
}

/// The order in which components are given to the parts: the largest first, each to the part with the least product of
/// variances that has room.
fn allotted(latent: &[f32], dim: usize, spans: &[Range<usize>]) -> Vec<usize> {
    let mut variances = vec![0.0f64; dim];
    for row in latent.chunks_exact(dim) {
        variances.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x * x));
    }
    let mut parts: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new()); spans.len()];
    for (component, variance) in variances.iter().enumerate() {
        let room = |part: usize| parts[part].1.len() < spans[part].len();
        let least = (0..parts.len())
            .filter(|part| room(*part))
            .min_by(|a, b| parts[*a].0.total_cmp(&parts[*b].0));
        if let Some(part) = least {
            parts[part].0 += variance.max(f64::MIN_POSITIVE).ln();
            parts[part].1.push(component);
        }
    }
    parts.into_iter().flat_map(|(_, components)| components).collect()
}

/// A singular value is found when what is beside it is smaller than this share of the largest.
const SVD_EPSILON: f64 = 1e-10;

/// The most rounds of a decomposition.
const SVD_ROUNDS: usize = 20_000;

/// The orthogonal matrix that turns the rows nearest to the codewords of `turned` (Procrustes); none where it is not
/// found.
fn nearest_turn(
    rows: &Vectors<'_>,
    turned: &[f32],
    stack: &Stack,
    progress: &Progress,
) -> Result<DMatrix<f32>> {
    let dim = rows.dim();
    let codes = stack.assign(&Vectors::new(turned, dim)?, progress)?;
    let mut products = DMatrix::<f32>::zeros(dim, dim);
    const BLOCK: usize = 1024;
    let blocks = rows.data().chunks(BLOCK * dim).zip(codes.chunks(BLOCK * stack.levels()));
    for (block, codes) in blocks {
        progress.check()?;
        let words: Vec<f32> =
            codes.chunks_exact(stack.levels()).flat_map(|codes| stack.reconstruct(codes)).collect();
        let block = DMatrix::from_column_slice(dim, block.len() / dim, block);
        let words = DMatrix::from_column_slice(dim, words.len() / dim, &words);
        products.gemm(1.0, &block, &words.transpose(), 1.0);
    }
    // Few or flat vectors leave directions of no weight, on which an unbounded iteration in single precision may never end.
    let svd = products.cast::<f64>().try_svd(true, true, SVD_EPSILON, SVD_ROUNDS);
    Ok(match svd.map(|svd| (svd.u, svd.v_t)) {
        Some((Some(u), Some(v_t))) => (u * v_t).cast(),
        _ => DMatrix::identity(dim, dim),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;
    use serde_json::json;

    use super::*;
    use crate::progress::Unsaved;

    /// Vectors that vary along few directions, askew to the components.
    fn sample() -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mix: Vec<f32> = (0..8 * 8).map(|_| random.random_range(-1.0..1.0)).collect();
        (0..1500)
            .flat_map(|_| {
                let hidden: Vec<f32> = (0..8)
                    .map(|at| random.random_range(-1.0f32..1.0) / (1.0 + at as f32))
                    .collect();
                mix.chunks_exact(8)
                    .map(|row| row.iter().zip(&hidden).map(|(a, b)| a * b).sum())
                    .collect::<Vec<f32>>()
            })
            .collect()
    }

    fn error(rounds: usize) -> f64 {
        let data = sample();
        let vectors = Vectors::new(&data, 8).unwrap();
        let config = json!({"levels": 4, "codes": 8, "rounds": rounds});
        let silent = Progress::silent();
        let artefact = fit(&config, &Input::plain(vectors), &silent, &Unsaved).unwrap();
        let codes = artefact.assign(&vectors, &silent).unwrap();
        let rows = data.chunks_exact(8).zip(codes.chunks_exact(4));
        rows.map(|(row, codes)| {
            let back = artefact.reconstruct(codes);
            row.iter().zip(back).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>()
        })
        .sum()
    }

    #[test]
    fn rounds_lower_the_error() {
        let (none, some) = (error(0), error(12));
        assert!(some < none * 0.995, "{none} {some}");
    }

    /// What runs within a round counts rows and passes of its own, which are none of its steps.
    #[test]
    fn progress_counts_rounds() {
        let (data, progress) = (sample(), Progress::silent());
        let config = json!({"levels": 4, "codes": 8, "rounds": 3});
        let config: Config = serde_json::from_value(config).unwrap();
        rotation(&config, &Vectors::new(&data, 8).unwrap(), 8, &spans(8, 4), &progress).unwrap();
        let shown = progress.snapshot();
        assert_eq!((shown.done, shown.total), (3, 3), "{}", shown.stage);
    }

    #[test]
    fn parts_are_as_even_as_can_be() {
        assert_eq!(spans(10, 3), [0..3, 3..6, 6..10]);
        let order = allotted(&[4.0, 3.0, 2.0, 1.0], 4, &[0..2, 2..4]);
        assert_eq!(order, [0, 3, 1, 2]);
    }

    #[test]
    fn more_parts_than_components_are_refused() {
        let vectors = Vectors::new(&[1.0, 2.0], 2).unwrap();
        let input = Input::plain(vectors);
        let error = fit(&json!({}), &input, &Progress::silent(), &Unsaved).unwrap_err();
        assert_eq!(error.code(), "bad-option");
    }
}
