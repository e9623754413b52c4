//! k-means: full and mini-batch iterations, empty clusters.
//!
//! The start comes from `seeding.rs`. Iterations are Lloyd's, with an exact
//! short cut: a centre whose members stayed the same has not moved, so a point is compared with the unmoved
//! centres only when its own centre moved away from it. Results do not depend on the number of cores.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::seeding::{progressive, seed};
use crate::error::{Error, Result};
use crate::index::product::{Transposed, dot, dots};
use crate::progress::Progress;

/// Points drawn for seeding, for each code: more change little and cost as much as the iterations.
const SEED_POINTS_PER_CODE: usize = 64;

/// Products held by one core at a time.
const BLOCK_PRODUCTS: usize = 1 << 18;

/// How to cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// The number of clusters.
    pub(crate) codes: usize,
    /// The most passes over the points.
    pub(crate) iterations: usize,
    /// Stop when a pass lowers the error by less than this share of it.
    pub(crate) tolerance: f64,
    /// Points for each update; 0 for all of them.
    pub(crate) batch: usize,
    /// Where to start.
    pub(crate) seeding: Seeding,
    /// Seed of the random source.
    pub(crate) seed: u64,
}

/// Where k-means starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seeding {
    /// With points far from each other.
    #[default]
    #[serde(rename = "kmeans++")]
    PlusPlus,
    /// With the centres of few principal components, then of more (faiss' progressive dimensions).
    #[serde(rename = "pca")]
    Principal,
}

/// Centres ready to be compared with points.
pub(crate) struct Centres {
    right: Transposed,
    norms: Vec<f32>,
    dim: usize,
}

/// The nearest centre of one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Nearest {
    /// Which centre.
    pub(crate) code: u16,
    /// The squared distance.
    pub(crate) distance: f32,
}

impl Centres {
    /// Prepares the row-major `codes × dim` matrix of centres.
    pub(crate) fn new(centres: &[f32], dim: usize) -> Self {
        let norms = centres.chunks_exact(dim).map(|centre| dot(centre, centre)).collect();
        Centres { right: Transposed::new(centres, dim), norms, dim }
    }

    /// The same centres with something added to the squared distance of each; nothing where `bias` is empty.
    pub(crate) fn biased(mut self, bias: &[f32]) -> Self {
        self.norms.iter_mut().zip(bias).for_each(|(norm, bias)| *norm += bias);
        self
    }

    /// Points compared at a time.
    pub(crate) fn block_rows(&self) -> usize {
        (BLOCK_PRODUCTS / self.norms.len().max(1)).clamp(16, 1024)
    }

    /// The squared distances of a block of points to every centre, less the squared length of the point.
    pub(crate) fn relative(&self, points: &[f32], out: &mut Vec<f32>) {
        out.resize(points.len() / self.dim * self.norms.len(), 0.0);
        dots(points, &self.right, out);
        for row in out.chunks_exact_mut(self.norms.len()) {
            for (x, norm) in row.iter_mut().zip(&self.norms) {
                *x = norm - 2.0 * *x;
            }
        }
    }

    /// The nearest centre of every point; of equal ones the first.
    pub(crate) fn nearest(&self, points: &[f32], progress: &Progress) -> Result<Vec<Nearest>> {
        let block = self.block_rows();
        let mut found = vec![Nearest { code: 0, distance: 0.0 }; points.len() / self.dim];
        found.par_chunks_mut(block).zip(points.par_chunks(block * self.dim)).try_for_each_init(
            Vec::new,
            |scratch, (found, points)| {
                progress.check()?;
                self.relative(points, scratch);
                let rows =
                    scratch.chunks_exact(self.norms.len()).zip(points.chunks_exact(self.dim));
                for (found, (row, point)) in found.iter_mut().zip(rows) {
                    let (code, least) = least(row);
                    let distance = (least + dot(point, point)).max(0.0);
                    *found = Nearest { code: code as u16, distance };
                }
                Ok::<(), Error>(())
            },
        )?;
        Ok(found)
    }
}

/// The first least value and where it is.
pub(crate) fn least(values: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::INFINITY);
    for (at, value) in values.iter().enumerate() {
        if *value < best.1 {
            best = (at, *value);
        }
    }
    best
}

/// Clusters a row-major matrix of points. Gives the row-major `codes × dim` matrix of centres.
///
/// With fewer distinct points than codes the remaining centres repeat earlier ones; as of equal centres the
/// first is the nearest, they stay unused.
pub(crate) fn fit(
    points: &[f32],
    dim: usize,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let rows = points.len() / dim;
    if rows == 0 {
        return Ok(vec![0.0; settings.codes * dim]);
    }
    let sample = settings.codes.saturating_mul(SEED_POINTS_PER_CODE);
    let chosen;
    let seeds = if rows > sample {
        chosen = gather(points, dim, &index::sample(&mut random, rows, sample).into_vec());
        &chosen
    } else {
        points
    };
    let centres = match settings.seeding {
        Seeding::PlusPlus => seed(seeds, dim, settings.codes, &mut random, progress)?,
        Seeding::Principal => progressive(seeds, dim, settings.codes, &mut random, progress)?,
    };
    if settings.batch > 0 && settings.batch < rows {
        mini_batches(points, dim, centres, settings, &mut random, progress)
    } else {
        lloyd(points, dim, centres, settings, progress)
    }
}

/// Full passes from given centres.
pub(super) fn lloyd(
    points: &[f32],
    dim: usize,
    centres: Vec<f32>,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<f32>> {
    Lloyd::new(points, dim, centres).run(settings, progress)
}

/// Copies the chosen rows.
pub(crate) fn gather(points: &[f32], dim: usize, rows: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * dim);
    for row in rows {
        out.extend_from_slice(&points[row * dim..(row + 1) * dim]);
    }
    out
}

/// Full-batch iterations.
struct Lloyd<'a> {
    points: &'a [f32],
    dim: usize,
    centres: Vec<f32>,
    /// The nearest centre of each point as of the last pass; distances are less the point's squared length.
    own: Vec<Nearest>,
    /// Which centres moved since the last pass.
    moved: Vec<bool>,
    /// The sum of the squared lengths of the points.
    energy: f64,
}

impl<'a> Lloyd<'a> {
    fn new(points: &'a [f32], dim: usize, centres: Vec<f32>) -> Self {
        let energy = points.chunks_exact(dim).map(|point| f64::from(dot(point, point))).sum();
        let moved = vec![true; centres.len() / dim];
        Lloyd { points, dim, centres, own: Vec::new(), moved, energy }
    }

    fn run(mut self, settings: &Settings, progress: &Progress) -> Result<Vec<f32>> {
        let mut before = f64::INFINITY;
        for _ in 0..settings.iterations {
            progress.check()?;
            let mut changed = self.assign(progress)?;
            let error =
                self.energy + self.own.iter().map(|own| f64::from(own.distance)).sum::<f64>();
            progress.note("error", error / self.energy.max(f64::MIN_POSITIVE));
            let reseeded = self.fill_empty(&mut changed);
            self.update(&changed);
            progress.advance(1);
            let settled = before.is_finite() && before - error <= settings.tolerance * before;
            if changed.is_empty() || settled && !reseeded {
                break;
            }
            before = error;
        }
        Ok(self.centres)
    }

    /// Finds the nearest centre of every point. Gives the points that went from one centre to another, each
    /// with the centre it left (or its new one, in the first pass).
    fn assign(&mut self, progress: &Progress) -> Result<Vec<(u32, u16)>> {
        let first = self.own.is_empty();
        self.own.resize(self.points.len() / self.dim, Nearest { code: 0, distance: f32::INFINITY });
        let codes = self.moved.len();
        let moved: Vec<usize> = (0..codes).filter(|code| self.moved[*code]).collect();
        let everything = first || moved.len() * 2 > codes;
        let all = Centres::new(&self.centres, self.dim);
        let some = if everything { None } else { Some(self.only(&moved)) };
        let (dim, moves) = (self.dim, &self.moved);
        let block = all.block_rows();
        let pass = |scratch: &mut Vec<f32>, at: usize, own: &mut [Nearest], points: &[f32]| {
            progress.check()?;
            let old: Vec<u16> = own.iter().map(|own| own.code).collect();
            if let Some(some) = &some {
                short_cut(scratch, own, points, dim, (&all, some, &moved, moves));
            } else {
                all.relative(points, scratch);
                for (own, row) in own.iter_mut().zip(scratch.chunks_exact(codes)) {
                    let (code, distance) = least(row);
                    *own = Nearest { code: code as u16, distance };
                }
            }
            let start = at * block;
            let changed =
                own.iter().zip(old).enumerate().filter(|(_, (own, old))| first || own.code != *old);
            Ok(changed.map(|(row, (_, old))| ((start + row) as u32, old)).collect::<Vec<_>>())
        };
        let changed: Vec<Vec<(u32, u16)>> = self
            .own
            .par_chunks_mut(block)
            .zip(self.points.par_chunks(block * dim))
            .enumerate()
            .map_init(Vec::new, |scratch, (at, (own, points))| pass(scratch, at, own, points))
            .collect::<Result<_>>()?;
        Ok(changed.concat())
    }

    fn only(&self, codes: &[usize]) -> Centres {
        Centres::new(&gather(&self.centres, self.dim, codes), self.dim)
    }

    /// Gives every empty cluster the point that is farthest from its centre, and counts it as changed.
    /// Whether there was one.
    fn fill_empty(&mut self, changed: &mut Vec<(u32, u16)>) -> bool {
        let mut sizes = vec![0usize; self.moved.len()];
        self.own.iter().for_each(|own| sizes[own.code as usize] += 1);
        let empty: Vec<usize> = (0..sizes.len()).filter(|code| sizes[*code] == 0).collect();
        if empty.is_empty() {
            return false;
        }
        let distance = |row: usize| {
            let point = &self.points[row * self.dim..(row + 1) * self.dim];
            (self.own[row].distance + dot(point, point), dot(point, point))
        };
        let mut farthest: Vec<(f32, usize)> = (0..self.own.len())
            .map(|row| (distance(row), row))
            .filter(|((distance, norm), _)| *distance > norm * 1e-6)
            .map(|((distance, _), row)| (distance, row))
            .collect();
        farthest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut filled = false;
        let mut farthest = farthest.into_iter();
        for code in empty {
            let Some((_, row)) =
                farthest.by_ref().find(|(_, row)| sizes[self.own[*row].code as usize] > 1)
            else {
                break;
            };
            let left = self.own[row].code;
            sizes[left as usize] -= 1;
            sizes[code] = 1;
            self.own[row].code = code as u16;
            changed.push((row as u32, left));
            filled = true;
        }
        filled
    }

    /// Moves every centre whose members changed to their mean.
    fn update(&mut self, changed: &[(u32, u16)]) {
        let codes = self.moved.len();
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); codes];
        for (row, own) in self.own.iter().enumerate() {
            members[own.code as usize].push(row as u32);
        }
        let mut touched = vec![false; codes];
        for (row, left) in changed {
            touched[*left as usize] = true;
            touched[self.own[*row as usize].code as usize] = true;
        }
        let (points, dim) = (self.points, self.dim);
        self.centres.par_chunks_mut(dim).zip(&mut self.moved).zip(&members).zip(&touched).for_each(
            |(((centre, moved), members), touched)| {
                *moved = *touched && !members.is_empty();
                if *moved {
                    mean(points, dim, members, centre);
                }
            },
        );
    }
}

/// The pass over one block of points when few centres moved: every point against the moved ones, and against
/// all only where its own moved away.
fn short_cut(
    scratch: &mut Vec<f32>,
    own: &mut [Nearest],
    points: &[f32],
    dim: usize,
    (all, some, moved, moves): (&Centres, &Centres, &[usize], &[bool]),
) {
    if moved.is_empty() {
        return;
    }
    let mut away = Vec::new();
    some.relative(points, scratch);
    for (row, (own, relative)) in own.iter_mut().zip(scratch.chunks_exact(moved.len())).enumerate()
    {
        let (at, distance) = least(relative);
        if moves[own.code as usize] {
            let here = moved.partition_point(|code| *code < own.code as usize);
            if relative[here] > own.distance {
                away.push(row);
                continue;
            }
            own.distance = relative[here];
        }
        if distance < own.distance {
            *own = Nearest { code: moved[at] as u16, distance };
        }
    }
    all.relative(&gather(points, dim, &away), scratch);
    for (row, relative) in away.iter().zip(scratch.chunks_exact(moves.len())) {
        let (code, distance) = least(relative);
        own[*row] = Nearest { code: code as u16, distance };
    }
}

/// The mean of the member points, summed in double precision.
fn mean(points: &[f32], dim: usize, members: &[u32], out: &mut [f32]) {
    let mut sum = vec![0.0f64; dim];
    for row in members {
        let at = *row as usize * dim;
        for (sum, x) in sum.iter_mut().zip(&points[at..at + dim]) {
            *sum += f64::from(*x);
        }
    }
    for (out, sum) in out.iter_mut().zip(sum) {
        *out = (sum / members.len() as f64) as f32;
    }
}

/// Mini-batch iterations (Sculley 2010): each centre is the running mean of the points it was given.
fn mini_batches(
    points: &[f32],
    dim: usize,
    mut centres: Vec<f32>,
    settings: &Settings,
    random: &mut impl Rng,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let rows = points.len() / dim;
    let mut counts = vec![0u64; settings.codes];
    for _ in 0..settings.iterations {
        for _ in 0..rows.div_ceil(settings.batch) {
            let chosen = index::sample(random, rows, settings.batch).into_vec();
            let batch = gather(points, dim, &chosen);
            let nearest = Centres::new(&centres, dim).nearest(&batch, progress)?;
            for (point, nearest) in batch.chunks_exact(dim).zip(nearest) {
                let code = nearest.code as usize;
                counts[code] += 1;
                let rate = 1.0 / counts[code] as f32;
                for (centre, x) in centres[code * dim..(code + 1) * dim].iter_mut().zip(point) {
                    *centre += rate * (x - *centre);
                }
            }
        }
        progress.advance(1);
    }
    Ok(centres)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;

    use super::*;

    fn settings(codes: usize, iterations: usize) -> Settings {
        Settings {
            codes,
            iterations,
            tolerance: 0.0,
            batch: 0,
            seeding: Seeding::PlusPlus,
            seed: 5,
        }
    }

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| random.random_range(-1.0f32..1.0)).collect()
    }

    /// The total squared distance to the nearest centre.
    fn error(points: &[f32], dim: usize, centres: &[f32]) -> f64 {
        let nearest = Centres::new(centres, dim).nearest(points, &Progress::silent()).unwrap();
        nearest.iter().map(|nearest| f64::from(nearest.distance)).sum()
    }

    #[test]
    fn the_short_cut_is_exact() {
        let points = noise(3000 * 6, 1);
        let progress = Progress::silent();
        let start = seed(&points, 6, 40, &mut ChaCha8Rng::seed_from_u64(2), &progress).unwrap();
        let mut lloyd = Lloyd::new(&points, 6, start);
        let mut taken = 0;
        for _ in 0..60 {
            taken += usize::from(lloyd.moved.iter().filter(|moved| **moved).count() <= 20);
            let changed = lloyd.assign(&progress).unwrap();
            let nearest = Centres::new(&lloyd.centres, 6).nearest(&points, &progress).unwrap();
            for (row, (own, nearest)) in lloyd.own.iter().zip(nearest).enumerate() {
                let point = &points[row * 6..(row + 1) * 6];
                let centre = &lloyd.centres[own.code as usize * 6..][..6];
                let own: f32 = point.iter().zip(centre).map(|(x, c)| (x - c) * (x - c)).sum();
                assert!((own - nearest.distance).abs() < 1e-5, "{own} {}", nearest.distance);
            }
            lloyd.update(&changed);
        }
        assert!(taken > 5, "the short cut was taken {taken} times");
    }

    #[test]
    fn iterations_lower_the_error() {
        let points = noise(2000 * 4, 3);
        let errors: Vec<f64> = [1, 3, 30]
            .map(|iterations| {
                let centres = fit(&points, 4, &settings(32, iterations), &Progress::silent());
                error(&points, 4, &centres.unwrap())
            })
            .to_vec();
        assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
        let batches = Settings { batch: 256, ..settings(32, 5) };
        let centres = fit(&points, 4, &batches, &Progress::silent()).unwrap();
        let by_batches = error(&points, 4, &centres);
        let principal = Settings { seeding: Seeding::Principal, ..settings(32, 30) };
        let centres = fit(&points, 4, &principal, &Progress::silent()).unwrap();
        let by_principal = error(&points, 4, &centres);
        assert!(by_principal < errors[2] * 1.05, "{by_principal} {errors:?}");
        assert!(by_batches < errors[2] * 1.1, "{by_batches} {errors:?}");
    }

    #[test]
    fn clear_clusters_are_found() {
        let points: Vec<f32> =
            (0..400).flat_map(|i| [(i % 4) as f32 * 10.0, (i / 100) as f32 * 10.0]).collect();
        for seeding in [Seeding::PlusPlus, Seeding::Principal] {
            let settings = Settings { seeding, ..settings(16, 20) };
            let centres = fit(&points, 2, &settings, &Progress::silent()).unwrap();
            assert!(error(&points, 2, &centres) < 1e-3, "{seeding:?}");
        }
    }

    #[test]
    fn empty_clusters_are_filled() {
        let points: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let mut lloyd = Lloyd::new(&points, 1, vec![4.5, 1000.0, 2000.0]);
        let mut changed = lloyd.assign(&Progress::silent()).unwrap();
        assert!(lloyd.fill_empty(&mut changed));
        lloyd.update(&changed);
        // Of the two farthest points the first is taken first.
        assert_eq!(lloyd.centres, [4.5, 0.0, 9.0]);
    }

    #[test]
    fn a_stop_is_heard_at_once() {
        let points = noise(60_000 * 64, 9);
        let progress = Progress::silent();
        let watcher = progress.clone();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            watcher.stop();
            std::time::Instant::now()
        });
        let error = fit(&points, 64, &settings(512, 10_000), &progress).unwrap_err();
        assert!(error.is_cancelled());
        assert!(stopper.join().unwrap().elapsed() < std::time::Duration::from_secs(1));
    }
}
