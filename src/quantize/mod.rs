//! Quantizers: vectors to Semantic IDs. One file for each kind, one line for each in `KINDS`.
//!
//! The route of a build: `Kind::fit` trains the codebooks (`kmeans.rs` and `residual.rs` do the work),
//! `Artefact::assign` gives every vector its codes, `collide::resolve` makes them unique, `health.rs` says
//! how good the result is. `build` walks it whole. An item that comes later goes through `collide::place`.

mod artefact;
pub(crate) mod collide;
pub(crate) mod health;
mod kmeans;
mod residual;
mod rq_kmeans;

use serde_json::{Map, Value as Json};

pub(crate) use artefact::Artefact;
pub(crate) use collide::{Collisions, place};
pub(crate) use health::Health;

use crate::error::{Error, Result};
use crate::progress::{Checkpoint, Progress};

/// Every quantizer that this build knows, the default first.
pub(crate) const KINDS: &[&Kind] = &[&rq_kmeans::KIND];

/// One kind of quantizer: a constant record.
pub(crate) struct Kind {
    /// The name typed after `USING`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// Its options with their defaults.
    pub(crate) defaults: fn() -> Result<Map<String, Json>>,
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

/// Trains, assigns, resolves collisions and measures. Resumes from the checkpoint where it holds a trained
/// level of the same configuration and vectors.
pub(crate) fn build(
    kind: &Kind,
    config: &Json,
    vectors: &Vectors<'_>,
    progress: &Progress,
    checkpoint: &dyn Checkpoint,
) -> Result<Built> {
    let mut artefact = (kind.fit)(config, vectors, progress, checkpoint)?;
    let native = artefact.assign(vectors, progress)?;
    let repaired = collide::resolve(&artefact, vectors, &native, progress)?;
    artefact.set_suffix(repaired.suffix);
    let health = health::measure(&artefact, vectors, &native, &repaired, progress)?;
    Ok(Built { artefact, codes: repaired.codes, health })
}
