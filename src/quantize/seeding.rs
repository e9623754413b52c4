//! Where k-means starts.
//!
//! Greedy k-means++ (Arthur and Vassilvitskii 2007): of a few points drawn in proportion to their squared distance to
//! the nearest centre, the one that lowers the total most becomes the next. Or progressive dimensions, as faiss
//! trains residual quantizers: k-means in the first principal components, which starts k-means in more of them.

use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::kmeans::{Centres, Seeding, Settings, gather, lloyd};
use super::residual::part;
use crate::error::{Error, Result};
use crate::index::principal::Principal;
use crate::index::product::dot;
use crate::progress::Progress;

/// Chooses `codes` of the points as centres and gives them, row-major. With fewer distinct points than codes the
/// first is repeated.
pub(crate) fn seed(
    points: &[f32],
    dim: usize,
    codes: usize,
    random: &mut impl Rng,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let rows = points.len() / dim;
    let norms: Vec<f32> = points.chunks_exact(dim).map(|point| dot(point, point)).collect();
    let trials = 2 + (codes as f64).ln() as usize;
    let mut centres = vec![random.random_range(0..rows)];
    let mut distances =
        distances_to(points, dim, &norms, &gather(points, dim, &centres), progress)?;
    while centres.len() < codes {
        progress.check()?;
        let drawn = draw(&distances, trials, random);
        if drawn.is_empty() {
            // Every point is a centre already.
            centres.resize(codes, centres[0]);
            break;
        }
        let candidates = gather(points, dim, &drawn);
        let to_candidates = distances_to(points, dim, &norms, &candidates, progress)?;
        let mut totals = vec![0.0f64; drawn.len()];
        for (row, old) in to_candidates.chunks_exact(drawn.len()).zip(&distances) {
            for (total, new) in totals.iter_mut().zip(row) {
                *total += f64::from(new.min(*old));
            }
        }
        let best = (0..drawn.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
        centres.push(drawn[best]);
        for (row, old) in to_candidates.chunks_exact(drawn.len()).zip(&mut distances) {
            *old = old.min(row[best]);
        }
        // The distance of a point to itself may be a rounding error away from zero.
        distances[drawn[best]] = 0.0;
    }
    Ok(gather(points, dim, &centres))
}

/// The first number of principal components.
const FIRST_COMPONENTS: usize = 4;

/// Passes of k-means in each number of components.
const PASSES: usize = 10;

/// Centres by k-means in 4, 8, 16, … principal components, up to less than all; row-major.
pub(super) fn progressive(
    points: &[f32],
    dim: usize,
    codes: usize,
    random: &mut impl Rng,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let steps = std::iter::successors(Some(FIRST_COMPONENTS), |components| Some(2 * components));
    let steps: Vec<usize> = steps.take_while(|components| *components < dim).collect();
    let Some(&most) = steps.last() else { return seed(points, dim, codes, random, progress) };
    let principal = Principal::fit(points, dim, most, progress)?;
    let turned: Vec<f32> = points.chunks_exact(dim).flat_map(|x| principal.apply(x)).collect();
    let settings = Settings {
        codes,
        iterations: PASSES,
        tolerance: 1e-3,
        batch: 0,
        seeding: Seeding::Principal,
        seed: 0,
    };
    let mut centres = Vec::new();
    let mut width = 0;
    for components in steps {
        let rows = part(&turned, most, &(0..components));
        centres = if centres.is_empty() {
            seed(&rows, components, codes, random, progress)?
        } else {
            super::residual::widened(&centres, &(0..width), components)
        };
        centres = lloyd(&rows, components, centres, &settings, progress)?;
        width = components;
    }
    // The centres lie in the span of the components; a pass of k-means brings the rest.
    Ok(centres
        .chunks_exact(most)
        .flat_map(|centre| {
            let mut out = principal.centre.clone();
            for (x, component) in centre.iter().zip(principal.components.chunks_exact(dim)) {
                out.iter_mut().zip(component).for_each(|(out, c)| *out += x * c);
            }
            out
        })
        .collect())
}

/// Draws rows in proportion to their distance; none where all are zero.
fn draw(distances: &[f32], count: usize, random: &mut impl Rng) -> Vec<usize> {
    let mut sum = 0.0;
    let running: Vec<f64> = distances
        .iter()
        .map(|distance| {
            sum += f64::from(*distance);
            sum
        })
        .collect();
    if sum <= 0.0 {
        return Vec::new();
    }
    (0..count)
        .map(|_| {
            let at = random.random::<f64>() * sum;
            running.partition_point(|running| *running <= at).min(distances.len() - 1)
        })
        .filter(|row| distances[*row] > 0.0)
        .collect()
}

/// The squared distance of every point to a few others, row-major.
fn distances_to(
    points: &[f32],
    dim: usize,
    norms: &[f32],
    others: &[f32],
    progress: &Progress,
) -> Result<Vec<f32>> {
    let centres = Centres::new(others, dim);
    let columns = others.len() / dim;
    let block = centres.block_rows();
    let mut out = vec![0.0; norms.len() * columns];
    out.par_chunks_mut(block * columns)
        .zip(points.par_chunks(block * dim))
        .zip(norms.par_chunks(block))
        .try_for_each_init(Vec::new, |scratch, ((out, points), norms)| {
            progress.check()?;
            centres.relative(points, scratch);
            for (at, (out, x)) in out.iter_mut().zip(scratch.iter()).enumerate() {
                let norm = norms[at / columns];
                // Below this the difference is rounding: the points are the same.
                let distance = x + norm;
                *out = if distance > norm * 1e-6 { distance } else { 0.0 };
            }
            Ok::<(), Error>(())
        })?;
    Ok(out)
}
