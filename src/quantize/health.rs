//! How good a codebook is: use of its codes, reconstruction error, collisions before and after repair.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::align::Aligned;
use super::collide::Repaired;
use super::usage::{Behaviour, Capacity, Themes, Usage};
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
    /// Squared error of the reconstruction from the final codes, relative to the squared length of the vectors; absent
    /// where there are no codewords.
    pub(crate) error: Option<f64>,
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
    /// SIDs by the number of items that have them.
    #[serde(default)]
    pub(crate) histogram: Vec<Band>,
    /// The same of the nearest codes.
    #[serde(default)]
    pub(crate) native_histogram: Vec<Band>,
    /// How far the vectors lie from what their SIDs stand for.
    #[serde(default)]
    pub(crate) residual: Option<Percentiles>,
    /// Whether items that follow each other share prefixes.
    #[serde(default)]
    pub(crate) behaviour: Option<Behaviour>,
    /// Whether prefixes and categories agree.
    #[serde(default)]
    pub(crate) themes: Option<Themes>,
    /// The room that often used items have, and the others.
    #[serde(default)]
    pub(crate) capacity: Option<Capacity>,
    /// How much of an old generation was kept, where it was built near one.
    #[serde(default)]
    pub(crate) aligned: Option<Aligned>,
    /// Numbers of items from here on came after the build; none in health of an older release.
    #[serde(default)]
    pub(crate) bound: Option<u64>,
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
    /// Different prefixes that end here.
    #[serde(default)]
    pub(crate) prefixes: usize,
    /// How many of them the prefixes one level above have each.
    #[serde(default)]
    pub(crate) fan_out: Option<FanOut>,
}

/// How many children prefixes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FanOut {
    /// On average.
    pub(crate) mean: f64,
    /// In the middle.
    pub(crate) median: f64,
    /// At most.
    pub(crate) most: usize,
}

/// SIDs with about as many items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Band {
    /// The least items of such a SID.
    pub(crate) least: usize,
    /// The most.
    pub(crate) most: usize,
    /// SIDs.
    pub(crate) sids: usize,
    /// Items.
    pub(crate) items: usize,
}

/// How far vectors lie from what their SIDs stand for: the length of the difference, relative to the vector's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// Half of the vectors lie no farther.
    pub(crate) p50: f64,
    /// Nine in ten.
    pub(crate) p90: f64,
    /// Nineteen in twenty.
    pub(crate) p95: f64,
    /// All but one in a hundred.
    pub(crate) p99: f64,
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
    let mut health = of_codes(&sizes, &repaired.codes);
    for (level, error) in health.levels.iter_mut().zip(native_errors) {
        level.error = Some(error);
    }
    Ok(Health {
        error: final_errors.last().copied().or(Some(0.0)),
        native: buckets(native, trained),
        native_histogram: histogram(native, trained),
        residual: residuals(artefact, vectors, &repaired.codes, progress)?,
        moved: repaired.moved,
        suffix: repaired.suffix.is_some(),
        greedy_groups: repaired.greedy_groups,
        ..health
    })
}

/// Measures codes alone, as those that came without codewords: row-major, with as many codes a row as there are
/// `sizes`, each the number of codes of a level. `observe` adds what is known of the items.
pub(crate) fn of_codes(sizes: &[usize], codes: &[u16]) -> Health {
    let width = sizes.len().max(1);
    let level = |(level, size): (usize, &usize)| {
        let (prefixes, fan_out) = fan_out(codes, width, level);
        let used = use_of(codes.iter().skip(level).step_by(width), *size);
        Level { prefixes, fan_out, ..used }
    };
    Health {
        items: codes.len() / width,
        levels: sizes.iter().enumerate().map(level).collect(),
        native: buckets(codes, width),
        repaired: buckets(codes, width),
        histogram: histogram(codes, width),
        ..Health::default()
    }
}

impl Health {
    /// Adds what users do and what the catalogue says, beside the final codes, row-major.
    pub(crate) fn observe(
        &mut self,
        codes: &[u16],
        usage: &Usage,
        progress: &Progress,
    ) -> Result<()> {
        let width = self.levels.len().max(1);
        progress.stage("measuring", 3);
        self.behaviour = usage.behaviour(codes, width);
        progress.advance(1);
        progress.check()?;
        self.themes = usage.themes(codes, width, progress)?;
        progress.advance(1);
        self.capacity = usage.capacity(codes, width);
        Ok(())
    }
}

/// The length of the difference between a vector and what its codes stand for, relative to the vector's length; nothing
/// of a vector without length.
pub(crate) fn relative_residual(artefact: &Artefact, vector: &[f32], codes: &[u16]) -> Option<f64> {
    let trained = artefact.levels();
    if codes.len() < trained || vector.len() != artefact.dim() {
        return None;
    }
    let known = artefact.reconstruct(&codes[..trained]);
    let gap: f64 = vector.iter().zip(&known).map(|(x, y)| f64::from(x - y).powi(2)).sum();
    let energy = square(vector);
    (energy > 0.0).then(|| (gap / energy).sqrt())
}

fn residuals(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    codes: &[u16],
    progress: &Progress,
) -> Result<Option<Percentiles>> {
    let width = artefact.sid_sizes().len();
    let mut all = Vec::with_capacity(vectors.len());
    for (row, codes) in codes.chunks_exact(width).enumerate() {
        if row % 1024 == 0 {
            progress.check()?;
        }
        all.extend(relative_residual(artefact, vectors.row(row), codes));
    }
    all.sort_by(f64::total_cmp);
    // The smallest value that at least so many per cent do not exceed.
    let at =
        |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    let percentiles = |p50| Percentiles {
        p50,
        p90: at(90).unwrap_or(p50),
        p95: at(95).unwrap_or(p50),
        p99: at(99).unwrap_or(p50),
    };
    Ok(at(50).map(percentiles))
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

/// The different prefixes that end at a level, and how many of them those one level above have.
fn fan_out(codes: &[u16], width: usize, level: usize) -> (usize, Option<FanOut>) {
    let mut prefixes: Vec<&[u16]> = codes.chunks_exact(width).map(|row| &row[..=level]).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let mut children: Vec<usize> =
        prefixes.chunk_by(|a, b| a[..level] == b[..level]).map(<[&[u16]]>::len).collect();
    children.sort_unstable();
    let middle = |at: usize| children.get(at).copied().unwrap_or(0) as f64;
    let fan_out = children.last().map(|most| FanOut {
        mean: prefixes.len() as f64 / children.len() as f64,
        median: f64::midpoint(middle((children.len() - 1) / 2), middle(children.len() / 2)),
        most: *most,
    });
    (prefixes.len(), fan_out)
}

/// SIDs by the number of their items: 1, 2, 3 to 4, 5 to 8 and so on.
fn histogram(codes: &[u16], width: usize) -> Vec<Band> {
    let mut counts: HashMap<&[u16], usize> = HashMap::new();
    codes.chunks_exact(width).for_each(|codes| *counts.entry(codes).or_default() += 1);
    let mut bands: std::collections::BTreeMap<usize, Band> = std::collections::BTreeMap::new();
    for count in counts.into_values() {
        let most = count.next_power_of_two();
        let least = if most > 1 { most / 2 + 1 } else { 1 };
        let band = bands.entry(most).or_insert(Band { least, most, ..Band::default() });
        band.sids += 1;
        band.items += count;
    }
    bands.into_values().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

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

    #[test]
    fn children_of_prefixes() {
        let codes = [0, 0, 0, 1, 0, 1, 2, 3, 2, 4, 2, 5];
        let (prefixes, root) = fan_out(&codes, 2, 0);
        assert_eq!((prefixes, root), (2, Some(FanOut { mean: 2.0, median: 2.0, most: 2 })));
        let (prefixes, below) = fan_out(&codes, 2, 1);
        assert_eq!((prefixes, below), (5, Some(FanOut { mean: 2.5, median: 2.5, most: 3 })));
        assert_eq!(fan_out(&[], 2, 1), (0, None));
    }

    #[test]
    fn sids_by_their_items() {
        let codes = [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5];
        let bands: Vec<[usize; 4]> =
            histogram(&codes, 1).iter().map(|b| [b.least, b.most, b.sids, b.items]).collect();
        assert_eq!(bands, [[1, 1, 1, 1], [2, 2, 1, 2], [3, 4, 2, 7], [5, 8, 1, 5]]);
    }

    #[test]
    fn health_of_an_older_release_is_read() {
        let old = r#"{"items":2,"levels":[{"codes":2,"used":1,"dead":1,"perplexity":1.0,"gini":0.5,"error":0.1}],
            "error":0.1,"native":{"items":2,"share":1.0,"largest":2},"repaired":{"items":0,"share":0.0,"largest":1},
            "moved":1,"suffix":false,"greedy_groups":0}"#;
        let health: Health = serde_json::from_str(old).unwrap();
        assert_eq!((health.error, health.residual, health.bound), (Some(0.1), None, None));
    }

    #[test]
    fn codes_without_codewords() {
        let health = of_codes(&[3, 2], &[0, 0, 0, 1, 2, 0, 2, 0]);
        assert_eq!((health.items, health.error, health.repaired.items), (4, None, 2));
        assert_eq!((health.levels[0].used, health.levels[1].prefixes), (2, 3));
        assert_eq!(of_codes(&[3, 2], &[]).items, 0);
    }
}
