//! Levels whose codes are given to about as many items each.
//!
//! Every code gets a bias that is added to its squared distance (a power diagram), found as the dual of an optimal
//! transport from the points to equally heavy codes by Sinkhorn's algorithm (Cuturi 2013), whose entropy is lowered on
//! the way; between, each centre moves to the mean of its members. That makes the code of a vector depend on the
//! vector alone, so that later items are coded by the same rule; the price is that the balance is not exact.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::kmeans::{Centres, Nearest, gather};
use crate::error::Result;
use crate::progress::Progress;

/// Points looked at, for each code.
const POINTS_PER_CODE: usize = 256;

/// Moves of the centres.
const ROUNDS: usize = 6;

/// Iterations of Sinkhorn's algorithm between two moves.
const ITERATIONS: usize = 5;

/// Iterations at the end, at each entropy.
const LAST_ITERATIONS: usize = 10;

/// The first entropy, as a share of the median spread of the distances of a point.
const ENTROPY: f32 = 0.1;

/// The entropies at the end, as shares of the first.
const LAST_ENTROPIES: [f32; 3] = [0.3, 0.1, 0.03];

/// Balances a level that k-means has trained: its centres and their biases.
pub(super) fn level(
    points: &[f32],
    dim: usize,
    mut centres: Vec<f32>,
    seed: u64,
    progress: &Progress,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let codes = centres.len() / dim;
    let (rows, most) = (points.len() / dim, codes.saturating_mul(POINTS_PER_CODE));
    let sample;
    let points = if rows > most {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        sample = gather(points, dim, &index::sample(&mut random, rows, most).into_vec());
        &sample
    } else {
        points
    };
    let mut bias = vec![0.0f32; codes];
    let entropy = ENTROPY * spread(points, dim, &centres);
    if points.is_empty() || entropy <= 0.0 {
        return Ok((centres, bias));
    }
    for _ in 0..ROUNDS {
        transport(points, dim, &centres, &mut bias, (entropy, ITERATIONS), progress)?;
        let own = Centres::new(&centres, dim).biased(&bias).nearest(points, progress)?;
        move_centres(points, dim, &own, &mut centres);
    }
    for share in LAST_ENTROPIES {
        let step = (share * entropy, LAST_ITERATIONS);
        transport(points, dim, &centres, &mut bias, step, progress)?;
    }
    Ok((centres, bias))
}

/// The median over points of how far the distances to the codes spread: from the least to the 90th of 100.
fn spread(points: &[f32], dim: usize, centres: &[f32]) -> f32 {
    let centres = Centres::new(centres, dim);
    let mut rows = Vec::new();
    let step = (points.len() / dim / 1000).max(1);
    let few: Vec<f32> = points.chunks_exact(dim).step_by(step).flatten().copied().collect();
    centres.relative(&few, &mut rows);
    let codes = rows.len() / (few.len() / dim).max(1);
    let mut spreads: Vec<f32> = rows
        .chunks_exact_mut(codes.max(1))
        .map(|row| {
            row.sort_unstable_by(f32::total_cmp);
            row[(row.len() * 9 / 10).min(row.len() - 1)] - row[0]
        })
        .collect();
    spreads.sort_unstable_by(f32::total_cmp);
    spreads.get(spreads.len() / 2).copied().unwrap_or(0.0)
}

/// Iterations of Sinkhorn's algorithm on the biases.
fn transport(
    points: &[f32],
    dim: usize,
    centres: &[f32],
    bias: &mut [f32],
    (entropy, iterations): (f32, usize),
    progress: &Progress,
) -> Result<()> {
    let even = (points.len() / dim) as f64 / bias.len() as f64;
    for _ in 0..iterations {
        let mass = mass(points, dim, &Centres::new(centres, dim).biased(bias), entropy, progress)?;
        for (bias, mass) in bias.iter_mut().zip(mass) {
            *bias += entropy * (mass.max(1e-6 * even) / even).ln() as f32;
        }
        // Only differences count.
        let mean = bias.iter().sum::<f32>() / bias.len() as f32;
        for bias in bias.iter_mut() {
            *bias -= mean;
        }
    }
    Ok(())
}

/// How many points each code gets when points are divided among the codes near to them.
fn mass(
    points: &[f32],
    dim: usize,
    centres: &Centres,
    entropy: f32,
    progress: &Progress,
) -> Result<Vec<f64>> {
    let block = centres.block_rows();
    let parts = points
        .par_chunks(block * dim)
        .map_init(Vec::new, |scratch, points| {
            progress.check()?;
            centres.relative(points, scratch);
            let codes = scratch.len() / (points.len() / dim);
            let mut mass = vec![0.0f64; codes];
            for row in scratch.chunks_exact_mut(codes) {
                let least = row.iter().copied().fold(f32::INFINITY, f32::min);
                for x in row.iter_mut() {
                    *x = ((least - *x) / entropy).exp();
                }
                let scale = 1.0 / row.iter().sum::<f32>();
                mass.iter_mut().zip(row).for_each(|(mass, x)| *mass += f64::from(*x * scale));
            }
            Ok(mass)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut mass = parts.into_iter();
    let mut sum = mass.next().unwrap_or_default();
    for part in mass {
        sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
    Ok(sum)
}

/// Moves every centre that has members to their mean.
fn move_centres(points: &[f32], dim: usize, own: &[Nearest], centres: &mut [f32]) {
    let mut sums = vec![0.0f64; centres.len()];
    let mut counts = vec![0usize; centres.len() / dim];
    for (point, own) in points.chunks_exact(dim).zip(own) {
        let code = own.code as usize;
        counts[code] += 1;
        let sum = &mut sums[code * dim..(code + 1) * dim];
        sum.iter_mut().zip(point).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let rows = centres.chunks_exact_mut(dim).zip(sums.chunks_exact(dim)).zip(counts);
    for ((centre, sum), count) in rows.filter(|(_, count)| *count > 0) {
        centre.iter_mut().zip(sum).for_each(|(centre, sum)| *centre = (sum / count as f64) as f32);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::kmeans::{self, Seeding, Settings};
    use super::*;
    use rand::RngExt;

    #[test]
    fn codes_get_about_as_many_points() {
        // Most of the points are crowded in one corner.
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let points: Vec<f32> = (0..4000 * 3)
            .map(|at| {
                let width = if at < 3000 * 3 { 0.2 } else { 1.0 };
                random.random_range(-width..width)
            })
            .collect();
        let settings = Settings {
            codes: 20,
            iterations: 30,
            tolerance: 0.0,
            batch: 0,
            seeding: Seeding::PlusPlus,
            seed: 1,
        };
        let silent = Progress::silent();
        let centres = kmeans::fit(&points, 3, &settings, &silent).unwrap();
        let most = |centres: &Centres| {
            let mut counts = [0usize; 20];
            let own = centres.nearest(&points, &silent).unwrap();
            for own in &own {
                counts[own.code as usize] += 1;
            }
            *counts.iter().max().unwrap()
        };
        let before = most(&Centres::new(&centres, 3));
        let (centres, bias) = level(&points, 3, centres, 1, &silent).unwrap();
        let after = most(&Centres::new(&centres, 3).biased(&bias));
        assert!(before > 500 && after < 240, "{before} {after}, even are 200");
    }

    #[test]
    fn points_that_are_the_same_stay_together() {
        let (centres, bias) = level(&[1.0; 10], 1, vec![1.0, 1.0], 1, &Progress::silent()).unwrap();
        assert_eq!((centres, bias), (vec![1.0, 1.0], vec![0.0, 0.0]));
    }
}
