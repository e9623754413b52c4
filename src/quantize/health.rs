//! How good a codebook is: use of its codes, reconstruction error, collisions before and after repair.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::collide::Repaired;
use super::{Artefact, Vectors};
use crate::error::Result;
use crate::progress::Progress;

/// The figures of a codebook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Items that it was built from.
    pub(crate) items: usize,
    /// Each level of a SID, the suffix level included.
    pub(crate) levels: Vec<Level>,
    /// Squared error of the reconstruction from the final codes, relative to the squared length of the vectors.
    pub(crate) error: f64,
    /// Collisions among the nearest codes.
    pub(crate) native: Buckets,
    /// Collisions among the final SIDs.
    pub(crate) repaired: Buckets,
    /// Items that lost the code nearest to them.
    pub(crate) moved: usize,
    /// Whether SIDs have a suffix level.
    pub(crate) suffix: bool,
    /// Prefix groups that were too large to repair with the fewest moves, and were repaired greedily.
    pub(crate) greedy_groups: usize,
}

/// The figures of one level, over the final codes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Level {
    /// Codes that the level has.
    pub(crate) codes: usize,
    /// Codes that an item has.
    pub(crate) used: usize,
    /// Codes that no item has.
    pub(crate) dead: usize,
    /// The number of equally used codes with the same entropy.
    pub(crate) perplexity: f64,
    /// Inequality of use: 0 where every code has as many items, towards 1 where one has all.
    pub(crate) gini: f64,
    /// Relative squared error after this level, from the nearest codes; absent for the suffix level.
    pub(crate) error: Option<f64>,
}

/// Items that share their codes with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Buckets {
    /// Items that share their codes.
    pub(crate) items: usize,
    /// Their share of all items.
    pub(crate) share: f64,
    /// The most items with the same codes.
    pub(crate) largest: usize,
}

/// Measures a build: `native` are the nearest codes, `repaired` the final ones.
pub(crate) fn measure(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    native: &[u16],
    repaired: &Repaired,
    progress: &Progress,
) -> Result<Health> {
    progress.stage("measuring", vectors.len() as u64);
    let trained = artefact.levels();
    let sizes = artefact.sid_sizes();
    let native_errors = errors(artefact, vectors, native, trained, progress)?;
    let final_errors = errors(artefact, vectors, &repaired.codes, sizes.len(), progress)?;
    let level = |(level, size): (usize, &usize)| {
        let codes = repaired.codes.iter().skip(level).step_by(sizes.len());
        Level { error: native_errors.get(level).copied(), ..use_of(codes, *size) }
    };
    Ok(Health {
        items: vectors.len(),
        levels: sizes.iter().enumerate().map(level).collect(),
        error: final_errors.last().copied().unwrap_or(0.0),
        native: buckets(native, trained),
        repaired: buckets(&repaired.codes, sizes.len()),
        moved: repaired.moved,
        suffix: repaired.suffix.is_some(),
        greedy_groups: repaired.greedy_groups,
    })
}

/// Rows whose reconstructions are held at a time.
const BLOCK_ROWS: usize = 2048;

/// The relative squared error in the input space after each trained level; rows of `codes` are `width` codes wide.
fn errors(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    codes: &[u16],
    width: usize,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let mut squares = vec![0.0f64; artefact.levels()];
    let mut energy = 0.0f64;
    let blocks = vectors.data().chunks(BLOCK_ROWS * vectors.dim());
    for (block, codes) in blocks.zip(codes.chunks(BLOCK_ROWS * width)) {
        progress.check()?;
        let block = Vectors::new(block, vectors.dim())?;
        energy += square(block.data());
        if artefact.is_isometric() {
            in_latent_space(artefact, &block, codes, &mut squares, progress)?;
        } else {
            decoded(artefact, &block, codes, &mut squares, progress)?;
        }
    }
    let energy = energy.max(f64::MIN_POSITIVE);
    Ok(squares.into_iter().map(|total| total / energy).collect())
}

/// Adds the squared errors after each level where the decoder keeps distances: those of the latent space, and what
/// the encoder drops.
fn in_latent_space(
    artefact: &Artefact,
    block: &Vectors<'_>,
    codes: &[u16],
    squares: &mut [f64],
    progress: &Progress,
) -> Result<()> {
    let latent = artefact.encode(block, progress)?;
    let latent = Vectors::new(&latent, artefact.latent_dim())?;
    let dropped = {
        let back = artefact.decode(&latent, progress)?;
        gap(block.data(), &back)
    };
    let width = codes.len() / block.len().max(1);
    for total in squares.iter_mut() {
        *total += dropped;
    }
    for (row, codes) in codes.chunks_exact(width.max(1)).enumerate() {
        let mut residual = latent.row(row).to_vec();
        for (level, total) in squares.iter_mut().enumerate() {
            let centre = artefact.code_vector(level, codes[level]);
            residual.iter_mut().zip(centre).for_each(|(x, centre)| *x -= centre);
            *total += square(&residual);
        }
    }
    Ok(())
}

/// Adds the squared errors after each level, decoded.
fn decoded(
    artefact: &Artefact,
    block: &Vectors<'_>,
    codes: &[u16],
    squares: &mut [f64],
    progress: &Progress,
) -> Result<()> {
    let (width, dim) = (codes.len() / block.len().max(1), artefact.latent_dim());
    let mut sums = vec![0.0f32; block.len() * dim];
    for (level, total) in squares.iter_mut().enumerate() {
        for (sum, codes) in sums.chunks_exact_mut(dim).zip(codes.chunks_exact(width)) {
            let centre = artefact.code_vector(level, codes[level]);
            sum.iter_mut().zip(centre).for_each(|(sum, x)| *sum += x);
        }
        let back = artefact.decode(&Vectors::new(&sums, dim)?, progress)?;
        *total += gap(block.data(), &back);
    }
    Ok(())
}

fn square(numbers: &[f32]) -> f64 {
    // Short runs, so that single precision loses nothing.
    numbers.chunks(1024).map(|run| f64::from(crate::index::product::dot(run, run))).sum()
}

/// The squared distance of two runs of numbers.
fn gap(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b) * (a - b))).sum()
}

/// How evenly the codes of a level are used.
fn use_of<'a>(codes: impl Iterator<Item = &'a u16>, size: usize) -> Level {
    let mut counts = vec![0u64; size];
    codes.for_each(|code| counts[*code as usize] += 1);
    let used = counts.iter().filter(|count| **count > 0).count();
    let total = counts.iter().sum::<u64>() as f64;
    let mut level = Level { codes: size, used, dead: size - used, ..Level::default() };
    if total == 0.0 {
        return level;
    }
    let shares = counts.iter().map(|count| *count as f64 / total).filter(|share| *share > 0.0);
    level.perplexity = (-shares.map(|share| share * share.ln()).sum::<f64>()).exp();
    counts.sort_unstable();
    let n = size as f64;
    let ranked: f64 = counts.iter().enumerate().map(|(at, c)| (at as f64 + 1.0) * *c as f64).sum();
    level.gini = 2.0 * ranked / (n * total) - (n + 1.0) / n;
    level
}

/// Items that share their codes.
fn buckets(codes: &[u16], width: usize) -> Buckets {
    let mut counts: HashMap<&[u16], usize> = HashMap::new();
    codes.chunks_exact(width).for_each(|codes| *counts.entry(codes).or_default() += 1);
    let items: usize = counts.values().filter(|count| **count > 1).sum();
    let rows = codes.len() / width;
    Buckets {
        items,
        share: items as f64 / rows.max(1) as f64,
        largest: counts.values().copied().max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_and_uneven_use() {
        let even = use_of([0, 1, 2, 3].iter(), 4);
        assert_eq!((even.used, even.dead), (4, 0));
        assert!((even.perplexity - 4.0).abs() < 1e-9 && even.gini.abs() < 1e-9);
        let one = use_of([2, 2, 2, 2].iter(), 4);
        assert_eq!((one.used, one.dead), (1, 3));
        assert!((one.perplexity - 1.0).abs() < 1e-9 && (one.gini - 0.75).abs() < 1e-9);
        assert_eq!(use_of([].iter(), 4).perplexity, 0.0);
    }

    #[test]
    fn shared_codes_are_counted() {
        let found = buckets(&[1, 1, 1, 2, 1, 1, 3, 3, 1, 1], 2);
        assert_eq!((found.items, found.largest), (3, 3));
        assert!((found.share - 0.6).abs() < 1e-9);
    }
}
