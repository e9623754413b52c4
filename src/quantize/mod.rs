//! Quantizers: vectors to Semantic IDs. One file for each kind, one line for each in `KINDS`.
//!
//! The route of a build: `Kind::fit` trains the codebooks (`kmeans.rs` and `residual.rs` do the work),
//! `Artefact::assign` gives every vector its codes, `align.rs` brings them near those of an old generation where that
//! is wanted, `collide::resolve` makes them unique, `health.rs` says how good the result is (`agreement.rs` and
//! `usage.rs` beside other groupings, histories and categories). `build` walks it whole. An item that comes later goes through `collide::place`.

pub(crate) mod agreement;
pub(crate) mod align;
mod artefact;
pub(crate) mod collide;
pub(crate) mod health;
mod kmeans;
mod residual;
mod rq_kmeans;
mod seeding;
pub(crate) mod usage;

use serde_json::{Map, Value as Json};

pub(crate) use align::Target;
pub(crate) use artefact::Artefact;
pub(crate) use collide::{Collisions, place};
pub(crate) use health::Health;

use crate::error::{Error, Result};
use crate::options::Given;
use crate::progress::{Checkpoint, Progress};

/// Every quantizer that this build knows, the default first.
pub(crate) const KINDS: &[&Kind] = &[&rq_kmeans::KIND];

/// One kind of quantizer: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// Trains codebooks from a configuration (missing fields take their defaults) and the vectors.
    pub(crate) fit: fn(&Json, &Vectors<'_>, &Progress, &dyn Checkpoint) -> Result<Artefact>,
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// A row-major matrix of vectors, all of the same length and finite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectors<'a> {
    data: &'a [f32],
    dim: usize,
}

impl<'a> Vectors<'a> {
    /// Vectors of `dim` components, one after the other.
    ///
    /// # Errors
    /// A length that is not a multiple of `dim`, or a component that is not a finite number.
    pub(crate) fn new(data: &'a [f32], dim: usize) -> Result<Self> {
        if dim == 0 || !data.len().is_multiple_of(dim) {
            let message = format!("{} numbers are no vectors of {dim} components", data.len());
            return Err(Error::input("bad-vector", message));
        }
        if let Some(at) = data.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / dim, at % dim);
            let message =
                format!("component {column} of vector {row} is {}, not a finite number", data[at]);
            return Err(Error::input("bad-vector", message));
        }
        Ok(Vectors { data, dim })
    }

    /// All components, row by row.
    pub(crate) fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Components of each vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The number of vectors.
    pub(crate) fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// One vector.
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.dim..(row + 1) * self.dim]
    }
}

/// A codebook with the codes of the vectors that it was made from.
#[derive(Debug)]
pub(crate) struct Built {
    /// What is stored to encode and place further items.
    pub(crate) artefact: Artefact,
    /// Row-major, `vectors × artefact.sid_sizes().len()`.
    pub(crate) codes: Vec<u16>,
    /// How good it is.
    pub(crate) health: Health,
}

/// Trains, assigns, brings near the old codes of `target` where there is one, resolves collisions and measures. Resumes from the checkpoint where it holds a trained
/// level of the same configuration and vectors.
pub(crate) fn build(
    kind: &Kind,
    config: &Json,
    vectors: &Vectors<'_>,
    target: Option<&Target<'_>>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Built> {
    let mut artefact = (kind.fit)(config, vectors, progress, checkpoint)?;
    let mut native = artefact.assign(vectors, progress)?;
    let mut repaired = match target {
        None => collide::resolve(&artefact, vectors, &native, progress)?,
        Some(target) => {
            let (wanted, kept) = align::align(&mut artefact, vectors, native, target, progress)?;
            native = artefact.assign(vectors, progress)?;
            collide::resolve_keeping(&artefact, vectors, &wanted, &kept, progress)?
        }
    };
    if target.is_some() {
        // Not only the repair moved items from the code nearest to them.
        let rows =
            repaired.codes.chunks_exact(artefact.levels() + usize::from(repaired.suffix.is_some()));
        let nearest = native.chunks_exact(artefact.levels());
        repaired.moved =
            rows.zip(nearest).filter(|(codes, nearest)| !codes.starts_with(nearest)).count();
    }
    artefact.set_suffix(repaired.suffix);
    let health = health::measure(&artefact, vectors, &native, &repaired, progress)?;
    Ok(Built { artefact, codes: repaired.codes, health })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

    use std::sync::Mutex;
    use std::time::Instant;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    use super::*;
    use crate::progress::Unsaved;

    /// A checkpoint in memory that stops the work after a number of saves.
    #[derive(Default)]
    struct Slot {
        state: Mutex<Option<Vec<u8>>>,
        saves: Mutex<usize>,
        stop_after: Option<(usize, Progress)>,
    }

    impl Checkpoint for Slot {
        fn load(&self) -> Result<Option<Vec<u8>>> {
            Ok(self.state.lock().unwrap().clone())
        }

        fn save(&self, state: &[u8]) -> Result<()> {
            *self.state.lock().unwrap() = Some(state.to_vec());
            *self.saves.lock().unwrap() += 1;
            if let Some((after, progress)) = &self.stop_after
                && *self.saves.lock().unwrap() == *after
            {
                progress.stop();
            }
            Ok(())
        }

        fn due(&self) -> bool {
            true
        }
    }

    /// Vectors around a few centres, with a few exact twins.
    fn sample(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let centres: Vec<f32> = (0..8 * dim).map(|_| random.random_range(-1.0..1.0)).collect();
        let mut data = Vec::with_capacity(rows * dim);
        for row in 0..rows {
            let centre = row % 8;
            for at in 0..dim {
                data.push(centres[centre * dim + at] + random.random_range(-0.2..0.2));
            }
            if row > 0 && row % 50 == 0 {
                data.copy_within((row - 1) * dim..row * dim, row * dim);
            }
        }
        data
    }

    fn small() -> Json {
        json!({"codes": 16, "iterations": 20})
    }

    #[test]
    fn every_kind_meets_the_same_demands() {
        let data = sample(600, 12, 7);
        let vectors = Vectors::new(&data, 12).unwrap();
        for kind in KINDS {
            let defaults = Json::Object((kind.config)(&[]).unwrap());
            assert!(defaults.get("seed").is_some() && defaults.get("collisions").is_some());
            let run = |config: &Json| {
                build(kind, config, &vectors, None, &Progress::silent(), &Unsaved).unwrap()
            };
            let built = run(&small());
            let sizes = built.artefact.sid_sizes();
            assert_eq!(built.codes.len(), vectors.len() * sizes.len(), "{}", kind.name);
            let in_range = |row: &[u16]| row.iter().zip(&sizes).all(|(c, s)| usize::from(*c) < *s);
            assert!(built.codes.chunks_exact(sizes.len()).all(in_range), "{}", kind.name);
            assert_eq!(built.health.repaired.items, 0, "{}: SIDs are unique", kind.name);
            assert!(built.health.native.items > 0, "{}: the sample has twins", kind.name);
            let errors: Vec<f64> = built.health.levels.iter().filter_map(|l| l.error).collect();
            assert!(errors.is_sorted_by(|a, b| a > b), "{}: {errors:?}", kind.name);
            let again = run(&small());
            assert_eq!(again.codes, built.codes, "{}: same seed, same SIDs", kind.name);
            let bytes = built.artefact.to_bytes().unwrap();
            assert_eq!(Artefact::from_bytes(&bytes).unwrap(), built.artefact, "{}", kind.name);
            let unknown = json!({"code": 3});
            let error = (kind.fit)(&unknown, &vectors, &Progress::silent(), &Unsaved).unwrap_err();
            assert!(error.message().contains("code"), "{}", kind.name);
            let stopped = Progress::silent();
            stopped.stop();
            let error = build(kind, &small(), &vectors, None, &stopped, &Unsaved).unwrap_err();
            assert!(error.is_cancelled(), "{}", kind.name);
        }
    }

    #[test]
    fn an_interrupted_build_ends_the_same() {
        let data = sample(400, 8, 3);
        let vectors = Vectors::new(&data, 8).unwrap();
        let kind = KINDS[0];
        let whole = build(kind, &small(), &vectors, None, &Progress::silent(), &Unsaved).unwrap();
        let progress = Progress::silent();
        let slot = Slot { stop_after: Some((2, progress.clone())), ..Slot::default() };
        let error = build(kind, &small(), &vectors, None, &progress, &slot).unwrap_err();
        assert!(error.is_cancelled());
        let resumed = build(kind, &small(), &vectors, None, &Progress::silent(), &slot).unwrap();
        assert_eq!(resumed.artefact, whole.artefact);
        assert_eq!(*slot.saves.lock().unwrap(), 3, "only the last level was trained again");
        // Other vectors: the state is of no use.
        let other = sample(400, 8, 4);
        let other = Vectors::new(&other, 8).unwrap();
        let fresh = build(kind, &small(), &other, None, &Progress::silent(), &slot).unwrap();
        let clean = build(kind, &small(), &other, None, &Progress::silent(), &Unsaved).unwrap();
        assert_eq!(fresh.artefact, clean.artefact);
    }

    #[test]
    fn few_items_and_no_items() {
        for rows in [0, 1, 3] {
            let data = sample(rows, 4, 1);
            let vectors = Vectors::new(&data, 4).unwrap();
            let built =
                build(KINDS[0], &small(), &vectors, None, &Progress::silent(), &Unsaved).unwrap();
            assert_eq!(built.health.items, rows);
            assert!(built.health.error.unwrap() < 1e-9, "{rows} items are their own centres");
        }
    }

    #[test]
    fn vectors_are_checked() {
        assert_eq!(Vectors::new(&[1.0, 2.0, 3.0], 2).unwrap_err().code(), "bad-vector");
        let error = Vectors::new(&[1.0, 2.0, f32::NAN, 0.0], 2).unwrap_err();
        assert_eq!(error.message(), "component 0 of vector 1 is NaN, not a finite number");
    }

    /// Measures on the little-endian floats of the file `SIDQL_VECTORS`, of `SIDQL_DIM` components.
    #[test]
    #[ignore = "needs a file of vectors"]
    fn measure() {
        let bytes = std::fs::read(std::env::var("SIDQL_VECTORS").unwrap()).unwrap();
        let dim: usize = std::env::var("SIDQL_DIM").unwrap().parse().unwrap();
        let data = artefact::floats_of(&bytes);
        let vectors = Vectors::new(&data, dim).unwrap();
        for tolerance in [1e-3, 1e-4, 1e-5] {
            let config = json!({"tolerance": tolerance, "iterations": 300});
            let began = Instant::now();
            (KINDS[0].fit)(&config, &vectors, &Progress::silent(), &Unsaved).unwrap();
            let fitted = began.elapsed();
            let began = Instant::now();
            let built =
                build(KINDS[0], &config, &vectors, None, &Progress::silent(), &Unsaved).unwrap();
            let whole = began.elapsed();
            println!("tolerance {tolerance}: fit {fitted:?}, build {whole:?}\n{:#?}", built.health);
        }
    }
}
