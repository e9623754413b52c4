//! k-means: seeding, full and mini-batch iterations, empty clusters.
//!
//! Seeding is greedy k-means++ (Arthur and Vassilvitskii 2007): of a few candidates drawn in proportion to
//! their squared distance, the one that lowers the total most is taken. Iterations are Lloyd's, with an exact
//! short cut: a centre whose members stayed the same has not moved, so a point is compared with the unmoved
//! centres only when its own centre moved away from it. Results do not depend on the number of cores.

use rand::seq::index;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

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
    /// Seed of the random source.
    pub(crate) seed: u64,
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
    let centres = if rows > sample {
        let chosen = index::sample(&mut random, rows, sample).into_vec();
        seed(&gather(points, dim, &chosen), dim, settings.codes, &mut random, progress)?
    } else {
        seed(points, dim, settings.codes, &mut random, progress)?
    };
    if settings.batch > 0 && settings.batch < rows {
        mini_batches(points, dim, centres, settings, &mut random, progress)
    } else {
        Lloyd::new(points, dim, centres).run(settings, progress)
    }
}

/// Copies the chosen rows.
fn gather(points: &[f32], dim: usize, rows: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * dim);
    for row in rows {
        out.extend_from_slice(&points[row * dim..(row + 1) * dim]);
    }
    out
}

/// Greedy k-means++.
fn seed(
    points: &[f32],
    dim: usize,
    codes: usize,
    random: &mut impl Rng,
    progress: &Progress,
) -> Result<Vec<f32>> {
    let rows = points.len() / dim;
    let norms: Vec<f32> = points.chunks_exact(dim).map(|point| dot(point, point)).collect();
    let trials = 2 + (codes as f64).ln() as usize;
    let mut centres = gather(points, dim, &[random.random_range(0..rows)]);
    let mut distances = distances_to(points, dim, &norms, &centres, progress)?;
    while centres.len() < codes * dim {
        progress.check()?;
        let chosen = draw(&distances, trials, random);
        if chosen.is_empty() {
            // Every point is a centre already.
            let repeated = centres[..dim].to_vec();
            centres.extend_from_slice(&repeated);
            continue;
        }
        let candidates = gather(points, dim, &chosen);
        let to_candidates = distances_to(points, dim, &norms, &candidates, progress)?;
        let mut totals = vec![0.0f64; chosen.len()];
        for (row, old) in to_candidates.chunks_exact(chosen.len()).zip(&distances) {
            for (total, new) in totals.iter_mut().zip(row) {
                *total += f64::from(new.min(*old));
            }
        }
        let best = (0..chosen.len()).min_by(|a, b| totals[*a].total_cmp(&totals[*b])).unwrap_or(0);
        centres.extend_from_slice(&candidates[best * dim..(best + 1) * dim]);
        for (row, old) in to_candidates.chunks_exact(chosen.len()).zip(&mut distances) {
            *old = old.min(row[best]);
        }
        // The distance of a point to itself may be a rounding error away from zero.
        distances[chosen[best]] = 0.0;
    }
    Ok(centres)
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
            match &some {
                Some(some) => short_cut(scratch, own, points, dim, (&all, some, &moved, moves)),
                None => {
                    all.relative(points, scratch);
                    for (own, row) in own.iter_mut().zip(scratch.chunks_exact(codes)) {
                        let (code, distance) = least(row);
                        *own = Nearest { code: code as u16, distance };
                    }
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
    let mut away = Vec::new();
    some.relative(points, scratch);
    if !moved.is_empty() {
        for (row, (own, relative)) in
            own.iter_mut().zip(scratch.chunks_exact(moved.len())).enumerate()
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
