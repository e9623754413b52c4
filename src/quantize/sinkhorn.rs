//! Sinkhorn's algorithm on the last level, for items with equal codes (MiniOneRec).
//!
//! The items of a group are given codes as if every code had to take as many of them: in rounds, since items that
//! move may meet others. Items that are the same cannot be told apart in this way and keep their codes.

use super::collide::{Repaired, groups};
use super::{Artefact, Vectors};
use crate::error::Result;
use crate::progress::Progress;

/// Rounds, at most.
const ROUNDS: usize = 20;

/// The weight of entropy: small, so that the nearest of the equally used codes is found.
const EPSILON: f64 = 0.003;

/// Iterations of the algorithm.
const ITERATIONS: usize = 50;

/// Gives groups of items with equal codes codes of the last level anew.
pub(super) fn resolve(
    artefact: &Artefact,
    vectors: &Vectors<'_>,
    native: &[u16],
    progress: &Progress,
) -> Result<Repaired> {
    let levels = artefact.levels();
    let latent = artefact.encode(vectors, progress)?;
    let latent = Vectors::new(&latent, artefact.latent_dim())?;
    let mut codes = native.to_vec();
    progress.stage("resolving collisions", ROUNDS as u64);
    for _ in 0..ROUNDS {
        let mut twins = groups(&codes, levels, levels);
        twins.retain(|rows| rows.len() > 1);
        if twins.is_empty() {
            break;
        }
        let before = codes.clone();
        for rows in twins {
            progress.check()?;
            let distances: Vec<Vec<f32>> = rows
                .iter()
                .map(|row| {
                    let own = &before[row * levels..(row + 1) * levels];
                    artefact.latent_distances(latent.row(*row), own)
                })
                .collect();
            for (row, code) in rows.iter().zip(balanced(&distances)) {
                codes[row * levels + levels - 1] = code;
            }
        }
        progress.advance(1);
        if codes == before {
            break;
        }
    }
    let rows = native.chunks_exact(levels).zip(codes.chunks_exact(levels));
    let moved = rows.filter(|(old, new)| old != new).count();
    Ok(Repaired { codes, suffix: None, moved, greedy_groups: 0 })
}

/// The code of every row of distances when all codes are used as much as each other. In double precision: the
/// exponentials do not fit less.
fn balanced(distances: &[Vec<f32>]) -> Vec<u16> {
    let all = || distances.iter().flatten().map(|x| f64::from(*x));
    let (least, most) = all().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
    let middle = f64::midpoint(least, most);
    let amplitude = most - middle + 1e-5;
    let mut plan: Vec<Vec<f64>> = distances
        .iter()
        .map(|row| {
            let weight = |x: &f32| (-(f64::from(*x) - middle) / amplitude / EPSILON).exp();
            row.iter().map(weight).collect()
        })
        .collect();
    let total: f64 = plan.iter().flatten().sum();
    let (rows, columns) = (plan.len() as f64, plan[0].len() as f64);
    plan.iter_mut().flatten().for_each(|x| *x /= total);
    for _ in 0..ITERATIONS {
        for row in &mut plan {
            let sum: f64 = row.iter().sum();
            for x in row.iter_mut() {
                *x /= sum * rows;
            }
        }
        let mut sums = vec![0.0; plan[0].len()];
        for row in &plan {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        for row in &mut plan {
            row.iter_mut().zip(&sums).for_each(|(x, sum)| *x /= sum * columns);
        }
    }
    let best = |row: &Vec<f64>| {
        let better = |best: usize, at: usize| if row[at] > row[best] { at } else { best };
        (1..row.len()).fold(0, better) as u16
    };
    plan.iter().map(best).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::Collisions;
    use super::super::residual::Stack;
    use super::*;

    fn run(data: &[f32]) -> Repaired {
        let stack = Stack::new(1, vec![vec![0.0, 100.0], (0..8).map(|x| x as f32).collect()]);
        let artefact = Artefact::new(stack, Collisions::Sinkhorn);
        let vectors = Vectors::new(data, 1).unwrap();
        let native = artefact.assign(&vectors, &Progress::silent()).unwrap();
        resolve(&artefact, &vectors, &native, &Progress::silent()).unwrap()
    }

    #[test]
    fn items_are_told_apart_where_they_differ() {
        let repaired = run(&[3.1, 2.9, 3.3, 6.0]);
        let mut codes: Vec<&[u16]> = repaired.codes.chunks(2).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 4, "{repaired:?}");
        assert_eq!(repaired.codes[6..], [0, 6], "an item alone stays");
        assert!(repaired.moved >= 2 && repaired.suffix.is_none());
    }

    #[test]
    fn the_same_items_stay_together() {
        let repaired = run(&[3.0, 3.0]);
        assert_eq!(repaired.codes[..2], repaired.codes[2..]);
    }

    #[test]
    fn the_item_that_loses_least_gives_way() {
        assert_eq!(balanced(&[vec![0.0, 0.4], vec![0.0, 0.3]]), [0, 1]);
        assert_eq!(balanced(&[vec![0.0, 0.3], vec![0.0, 0.4]]), [1, 0]);
    }
}
