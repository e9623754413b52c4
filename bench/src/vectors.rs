//! Made vectors of a large catalogue.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Clusters of the vectors.
const CLUSTERS: usize = 20_000;

/// Unit vectors around centres, as texts of a large catalogue lie: the spread is that of the centres themselves, less
/// in later components.
pub fn synthetic(items: usize, components: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let scale: Vec<f32> = (0..components).map(|at| 1.0 / (1.0 + at as f32 / 32.0)).collect();
    let mut draw = || random.random_range(-1.0f32..1.0) + random.random_range(-1.0f32..1.0);
    let centres: Vec<f32> =
        (0..CLUSTERS * components).map(|at| draw() * scale[at % components]).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
    let mut vectors = Vec::with_capacity(items * components);
    for _ in 0..items {
        let centre = random.random_range(0..CLUSTERS) * components;
        let noise = |random: &mut ChaCha8Rng| random.random_range(-1.0f32..1.0);
        let mut row: Vec<f32> = (0..components)
            .map(|at| centres[centre + at] + 0.7 * noise(&mut random) * scale[at])
            .collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        for x in &mut row {
            *x /= length;
        }
        vectors.append(&mut row);
    }
    vectors
}
