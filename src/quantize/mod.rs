//! Quantizers: vectors to Semantic IDs. One file for each kind, one line for each in `KINDS`.
//!
//! The route of a build: `Kind::fit` trains the codebooks (`kmeans.rs` and `residual.rs` do the work, `trainer.rs`
//! that of the kinds that learn a latent space), `Artefact::assign` gives every vector its codes, `align.rs` brings
//! them near those of an old generation where that is wanted, `collide::resolve` makes them unique, `health.rs` says
//! how good the result is (`agreement.rs` and `usage.rs` beside other groupings, histories and categories). `build`
//! walks it whole. An item that comes later goes through `collide::place`.

pub(crate) mod agreement;
pub(crate) mod align;
mod artefact;
mod balance;
mod coder;
pub(crate) mod collide;
mod data;
pub(crate) mod health;
mod kmeans;
mod learning;
mod net;
mod opq;
mod residual;
mod rq_kmeans;
mod rq_kmeans_plus;
mod rq_vae;
mod saved;
mod seeding;
mod sinkhorn;
mod stored;
mod trainer;
pub(crate) mod usage;

use serde_json::{Map, Value as Json};

pub(crate) use align::Target;
pub(crate) use artefact::Artefact;
pub(crate) use collide::{Collisions, place};
pub(crate) use health::Health;

use crate::error::{Error, Result};
use crate::options::{Given, Meanings};
use crate::progress::{Checkpoint, Progress};

/// Every quantizer that this build knows, the default first.
pub(crate) const KINDS: &[&Kind] =
    &[&rq_kmeans::KIND, &rq_vae::KIND, &rq_kmeans_plus::KIND, &opq::KIND];

/// One kind of quantizer: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// Checks options and gives all of them, the defaults where none was given.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// Trains codebooks from a configuration (missing fields take their defaults) and the vectors.
    pub(crate) fit: fn(&Json, &Input<'_>, &Progress, &dyn Checkpoint) -> Result<Artefact>,
}

/// What a codebook is trained from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// The vectors of all items.
    pub(crate) vectors: Vectors<'a>,
    /// Components of each part, where the vectors are several joined (`ENRICH BY fused` without `dim`).
    pub(crate) parts: &'a [usize],
}

#[cfg(test)]
impl<'a> Input<'a> {
    /// Vectors that are of one piece.
    pub(crate) fn plain(vectors: Vectors<'a>) -> Self {
        Input { vectors, parts: &[] }
    }
}

/// Refuses a number that is out of its range.
fn within(name: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let message = format!("option `{name}` must lie between {least} and {most}, not {value}");
    Err(Error::input("bad-option", message))
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn defaults(&self) -> Result<Map<String, Json>> {
        (self.config)(&[])
    }

    fn meanings(&self) -> Meanings {
        (self.meanings)()
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
    input: &Input<'_>,
    target: Option<&Target<'_>>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Built> {
    let vectors = &input.vectors;
    let mut artefact = (kind.fit)(config, input, progress, checkpoint)?;
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

    /// A build that is near no other.
    fn build(
        kind: &Kind,
        config: &Json,
        input: &Input<'_>,
        progress: &Progress,
        checkpoint: &dyn Checkpoint,
    ) -> Result<Built> {
        super::build(kind, config, input, None, progress, checkpoint)
    }

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

    /// Options with which a kind is quick on the samples.
    fn small(kind: &Kind) -> Json {
        match kind.name {
            "rq_kmeans" => json!({"codes": 16, "iterations": 20}),
            "rq_vae" => json!({
                "codes": 16, "dim": 6, "layers": [24], "epochs": 12, "batch": 64, "evaluate": 3, "lr": 5e-3,
            }),
            "rq_kmeans_plus" => json!({
                "codes": 16, "iterations": 20, "layers": [16], "epochs": 8, "batch": 64, "evaluate": 2,
            }),
            "opq" => json!({"levels": 3, "codes": 16, "rounds": 3, "iterations": 20}),
            other => panic!("`{other}` has no small options here"),
        }
    }

    fn input(data: &[f32], dim: usize) -> Input<'_> {
        Input::plain(Vectors::new(data, dim).unwrap())
    }

    #[test]
    fn every_kind_meets_the_same_demands() {
        let data = sample(600, 12, 7);
        let input = input(&data, 12);
        for kind in KINDS {
            let defaults = Json::Object((kind.config)(&[]).unwrap());
            assert!(defaults.get("seed").is_some() && defaults.get("collisions").is_some());
            let (name, small) = (kind.name, small(kind));
            let run =
                |config: &Json| build(kind, config, &input, &Progress::silent(), &Unsaved).unwrap();
            let built = run(&small);
            let sizes = built.artefact.sid_sizes();
            assert_eq!(built.codes.len(), input.vectors.len() * sizes.len(), "{name}");
            let in_range = |row: &[u16]| row.iter().zip(&sizes).all(|(c, s)| usize::from(*c) < *s);
            assert!(built.codes.chunks_exact(sizes.len()).all(in_range), "{name}");
            assert_eq!(built.health.repaired.items, 0, "{name}: SIDs are unique");
            assert!(built.health.native.items > 0, "{name}: the sample has twins");
            let errors: Vec<f64> = built.health.levels.iter().filter_map(|l| l.error).collect();
            assert!(errors.is_sorted_by(|a, b| a > b), "{name}: {errors:?}");
            assert!(errors.last().is_some_and(|error| *error < 0.2), "{name}: {errors:?}");
            let again = run(&small);
            assert_eq!(again.codes, built.codes, "{name}: same seed, same SIDs");
            let bytes = built.artefact.to_bytes().unwrap();
            assert_eq!(Artefact::from_bytes(&bytes).unwrap(), built.artefact, "{name}");
            let unknown = json!({"code": 3});
            let error = (kind.fit)(&unknown, &input, &Progress::silent(), &Unsaved).unwrap_err();
            assert!(error.message().contains("code"), "{name}");
            let stopped = Progress::silent();
            stopped.stop();
            let error = build(kind, &small, &input, &stopped, &Unsaved).unwrap_err();
            assert!(error.is_cancelled(), "{name}");
        }
    }

    #[test]
    fn errors_are_those_of_the_reconstructions() {
        let data = sample(300, 12, 7);
        let input = input(&data, 12);
        for kind in KINDS {
            let built = build(kind, &small(kind), &input, &Progress::silent(), &Unsaved).unwrap();
            let codes = built.artefact.assign(&input.vectors, &Progress::silent()).unwrap();
            let levels = built.artefact.levels();
            for known in 1..=levels {
                let (mut gap, mut all) = (0.0, 0.0);
                for (row, codes) in data.chunks_exact(12).zip(codes.chunks_exact(levels)) {
                    let back = built.artefact.reconstruct(&codes[..known]);
                    gap +=
                        row.iter().zip(&back).map(|(a, b)| f64::from((a - b).powi(2))).sum::<f64>();
                    all += row.iter().map(|a| f64::from(a * a)).sum::<f64>();
                }
                let told = built.health.levels[known - 1].error.unwrap();
                assert!((told - gap / all).abs() < 1e-5, "{}: {told} {}", kind.name, gap / all);
            }
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        let given = |name: &str, value: Json| [Given { name: name.to_owned(), value, span: 0..1 }];
        let refuse = |kind: &str, name: &str, value: Json| {
            let kind = crate::kind::find(KINDS, "quantizer", kind).unwrap();
            (kind.config)(&given(name, value)).unwrap_err()
        };
        let error = refuse("rq_vae", "epoch", json!(3));
        assert_eq!(error.help_text(), Some("did you mean `epochs`?"));
        for (kind, name, value) in [
            ("rq_vae", "epochs", json!(0)),
            ("rq_vae", "ema", json!(1.0)),
            ("rq_vae", "lr", json!(-1)),
            ("rq_vae", "layers", json!([0])),
            ("rq_vae", "keep", json!("best")),
            ("rq_vae", "fusion", json!("pca")),
            ("rq_kmeans", "levels", json!(64)),
            ("rq_kmeans", "seeding", json!("random")),
            ("rq_kmeans_plus", "beta", json!(-0.1)),
            ("opq", "codes", json!(1)),
        ] {
            assert_eq!(refuse(kind, name, value).code(), "bad-option", "{kind} {name}");
        }
        assert_eq!(refuse("rq_vae", "device", json!("gpu")).code(), "unknown-name");
    }

    #[test]
    fn an_interrupted_build_ends_the_same() {
        let (data, other) = (sample(400, 8, 3), sample(400, 8, 4));
        for kind in KINDS {
            let (name, small) = (kind.name, small(kind));
            let build = |data: &[f32], progress: &Progress, slot: &dyn Checkpoint| {
                build(kind, &small, &input(data, 8), progress, slot)
            };
            let silent = Progress::silent();
            let counted = Slot::default();
            let whole = build(&data, &silent, &counted).unwrap();
            let saves = *counted.saves.lock().unwrap();
            for stop_after in [1, saves / 2, saves.saturating_sub(1)] {
                let progress = Progress::silent();
                let stop_after = stop_after.max(1);
                let slot =
                    Slot { stop_after: Some((stop_after, progress.clone())), ..Slot::default() };
                let error = build(&data, &progress, &slot).unwrap_err();
                assert!(error.is_cancelled(), "{name}");
                let resumed = build(&data, &silent, &slot).unwrap();
                assert_eq!(resumed.artefact, whole.artefact, "{name}, stopped after {stop_after}");
                assert_eq!(*slot.saves.lock().unwrap(), saves, "{name}: nothing was done twice");
            }
            // Other vectors: the state is of no use.
            let fresh = build(&other, &silent, &counted).unwrap();
            let clean = build(&other, &silent, &Unsaved).unwrap();
            assert_eq!(fresh.artefact, clean.artefact, "{name}");
        }
    }

    #[test]
    fn few_items_and_no_items() {
        for rows in [0, 1, 3] {
            let data = sample(rows, 4, 1);
            for kind in KINDS {
                let built =
                    build(kind, &small(kind), &input(&data, 4), &Progress::silent(), &Unsaved)
                        .unwrap();
                assert_eq!(built.health.items, rows, "{}", kind.name);
                let exact = matches!(kind.name, "rq_kmeans" | "opq");
                assert!(
                    !exact || built.health.error.unwrap() < 1e-9,
                    "{rows} items are their own centres"
                );
            }
        }
    }

    #[test]
    fn learned_fusion_codes_new_items_from_their_parts() {
        let (text, image) = (sample(400, 6, 1), sample(400, 10, 2));
        let data: Vec<f32> = text
            .chunks_exact(6)
            .zip(image.chunks_exact(10))
            .flat_map(|(text, image)| text.iter().chain(image))
            .copied()
            .collect();
        let kind = crate::kind::find(KINDS, "quantizer", "rq_vae").unwrap();
        let run = |fusion: &str, parts: &[usize]| {
            let mut config = small(kind);
            config["fusion"] = json!(fusion);
            config["epochs"] = json!(40);
            config["keep"] = json!("loss");
            let input = Input { vectors: Vectors::new(&data, 16).unwrap(), parts };
            build(kind, &config, &input, &Progress::silent(), &Unsaved).unwrap()
        };
        let learned = run("learned", &[6, 10]);
        let error = learned.health.error.unwrap();
        assert!(error < 0.2, "{error}");
        let fused = |built: &Built| {
            let fusion = |step: &coder::Step| matches!(step, coder::Step::Fusion { .. });
            built.artefact.encoder.steps().iter().any(fusion)
        };
        assert!(fused(&learned) && !fused(&run("none", &[6, 10])) && !fused(&run("learned", &[])));
        let codes = collide::place(&learned.artefact, &data[..16], |_| false).unwrap();
        assert_eq!(codes[..2], learned.codes[..2]);
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
        let data = stored::floats_of(&bytes);
        let vectors = Vectors::new(&data, dim).unwrap();
        let name = std::env::var("SIDQL_KIND").unwrap_or_else(|_| "rq_kmeans".to_owned());
        let kind = crate::kind::find(KINDS, "quantizer", &name).unwrap();
        let config = std::env::var("SIDQL_CONFIG").unwrap_or_else(|_| "{}".to_owned());
        let config: Json = serde_json::from_str(&config).unwrap();
        let began = Instant::now();
        let built =
            build(kind, &config, &Input::plain(vectors), &Progress::silent(), &Unsaved).unwrap();
        println!("{name} {config}: {:?}\n{:#?}", began.elapsed(), built.health);
    }
}
