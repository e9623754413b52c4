//! A trained codebook as it is stored: it encodes vectors and knows how its SIDs are made unique.

use serde::{Deserialize, Serialize};

use super::residual::Stack;
use super::{Collisions, Vectors};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::progress::Progress;

/// The version of the bytes of `to_bytes`.
const VERSION: u32 = 1;

/// The most levels of a codebook, without the suffix level.
pub(crate) const MAX_LEVELS: usize = 15;

/// The most codes of a level: a code is 16 bits wide.
pub(crate) const MAX_CODES: usize = 1 << 16;

/// The longest vector that a codebook takes.
const MAX_DIM: usize = 1 << 16;

/// A trained codebook.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Artefact {
    stack: Stack,
    collisions: Collisions,
    suffix: Option<usize>,
}

/// What stands before the codebooks in the bytes, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    dim: usize,
    sizes: Vec<usize>,
    collisions: Collisions,
    suffix: Option<usize>,
}

impl Artefact {
    /// A codebook of trained levels.
    pub(crate) fn new(stack: Stack, collisions: Collisions) -> Self {
        Artefact { stack, collisions, suffix: None }
    }

    /// The residual stack.
    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The number of trained levels, without the suffix level.
    pub(crate) fn levels(&self) -> usize {
        self.stack.levels()
    }

    /// Codes of each trained level.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        (0..self.levels()).map(|level| self.stack.size(level)).collect()
    }

    /// Codes of each level of a SID, the suffix level included where there is one.
    pub(crate) fn sid_sizes(&self) -> Vec<usize> {
        self.sizes().into_iter().chain(self.suffix).collect()
    }

    /// Components of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.stack.dim()
    }

    /// How collisions are met.
    pub(crate) fn collisions(&self) -> Collisions {
        self.collisions
    }

    /// Codes of the suffix level, where there is one.
    pub(crate) fn suffix(&self) -> Option<usize> {
        self.suffix
    }

    /// Sets what `collide::resolve` found necessary.
    pub(crate) fn set_suffix(&mut self, suffix: Option<usize>) {
        self.suffix = suffix;
    }

    /// Numbers the codes of a level anew: `order` has the new number of each.
    pub(crate) fn permute(&mut self, level: usize, order: &[u16]) {
        self.stack.permute(level, order);
    }

    /// The vector of a code.
    pub(crate) fn code_vector(&self, level: usize, code: u16) -> &[f32] {
        let at = code as usize * self.dim();
        &self.stack.codebook(level)[at..at + self.dim()]
    }

    /// The nearest code at each trained level for every vector, row-major `vectors × levels`.
    pub(crate) fn assign(&self, vectors: &Vectors<'_>, progress: &Progress) -> Result<Vec<u16>> {
        self.expect_dim(vectors.dim())?;
        progress.stage("assigning codes", vectors.len() as u64);
        self.stack.assign(vectors, progress)
    }

    /// The vector that a SID or a prefix stands for (no suffix code).
    pub(crate) fn reconstruct(&self, codes: &[u16]) -> Vec<f32> {
        self.stack.reconstruct(codes)
    }

    /// The squared distance of a vector to every code of the last trained level, given the codes before it.
    pub(crate) fn last_level_distances(&self, vector: &[f32], codes: &[u16]) -> Vec<f32> {
        let last = self.levels() - 1;
        let residual = self.stack.residual(vector, &codes[..last]);
        let square = |centre: &[f32]| -> f32 {
            centre.iter().zip(&residual).map(|(c, x)| (x - c) * (x - c)).sum()
        };
        self.stack.codebook(last).chunks_exact(self.dim()).map(square).collect()
    }

    /// Refuses vectors of another length.
    pub(crate) fn expect_dim(&self, dim: usize) -> Result<()> {
        if dim == self.dim() {
            return Ok(());
        }
        let message = format!("the codebook takes vectors of {} components, not {dim}", self.dim());
        Err(Error::input("wrong-dimension", message)
            .help("REBUILD the codebook after its embedding was changed"))
    }

    /// The bytes to store.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let header = serde_json::to_vec(&Header {
            version: VERSION,
            dim: self.dim(),
            sizes: self.sizes(),
            collisions: self.collisions,
            suffix: self.suffix,
        })?;
        let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
        bytes.extend(header);
        for level in 0..self.levels() {
            bytes.extend(self.stack.codebook(level).iter().flat_map(|x| x.to_le_bytes()));
        }
        Ok(bytes)
    }

    /// The codebook that `to_bytes` stored.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (header, floats) = split(bytes).ok_or_else(|| damaged("its header is cut off"))?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| damaged(&error.to_string()))?;
        if header.version != VERSION {
            let message =
                format!("the codebook has version {}, this build reads {VERSION}", header.version);
            return Err(Error::new(ErrorKind::Install, "newer-codebook", message)
                .help("open the file with the release that wrote it, or REBUILD the codebook"));
        }
        let sizes_fit = (1..=MAX_LEVELS).contains(&header.sizes.len())
            && (1..=MAX_DIM).contains(&header.dim)
            && header.sizes.iter().chain(&header.suffix).all(|size| (1..=MAX_CODES).contains(size));
        if !sizes_fit {
            return Err(damaged("its sizes are out of range"));
        }
        let expected: usize = header.sizes.iter().map(|size| size * header.dim).sum();
        if floats.len() != expected * 4 {
            return Err(damaged("its length does not fit its sizes"));
        }
        let floats = floats_of(floats);
        if floats.iter().any(|x| !x.is_finite()) {
            return Err(damaged("it holds numbers that are not finite"));
        }
        let mut rest = floats.as_slice();
        let mut codebooks = Vec::with_capacity(header.sizes.len());
        for size in &header.sizes {
            let (codebook, after) = rest.split_at(size * header.dim);
            codebooks.push(codebook.to_vec());
            rest = after;
        }
        let stack = Stack::new(header.dim, codebooks);
        Ok(Artefact { stack, collisions: header.collisions, suffix: header.suffix })
    }
}

/// The header and what follows it.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// Little-endian floats.
pub(super) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

fn damaged(why: &str) -> Error {
    Error::new(
        ErrorKind::Restore,
        "damaged-codebook",
        format!("the stored codebook is damaged: {why}"),
    )
    .help("REBUILD the codebook, or restore a backup")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn sample() -> Artefact {
        let stack =
            Stack::new(2, vec![vec![0.0, 0.0, 4.0, 0.0], vec![0.0, 1.0, 1.0, 0.0, 0.0, -1.0]]);
        Artefact::new(stack, Collisions::Suffix)
    }

    #[test]
    fn codes_and_reconstruction() {
        let artefact = sample();
        let data = [0.9, 0.1, 4.1, -1.2];
        let vectors = Vectors::new(&data, 2).unwrap();
        let codes = artefact.assign(&vectors, &Progress::silent()).unwrap();
        assert_eq!(codes, [0, 1, 1, 2]);
        assert_eq!(artefact.reconstruct(&codes[..2]), [1.0, 0.0]);
        assert_eq!(artefact.reconstruct(&codes[2..]), [4.0, -1.0]);
        let distances = artefact.last_level_distances(&[4.0, 0.0], &[1, 0]);
        assert_eq!(distances, [1.0, 1.0, 1.0]);
        assert_eq!(artefact.code_vector(1, 2), [0.0, -1.0]);
    }

    #[test]
    fn bytes_round_trip() {
        let mut artefact = sample();
        artefact.set_suffix(Some(256));
        let bytes = artefact.to_bytes().unwrap();
        assert_eq!(Artefact::from_bytes(&bytes).unwrap(), artefact);
        assert_eq!(artefact.sid_sizes(), [2, 3, 256]);
        for cut in 0..bytes.len() {
            let error = Artefact::from_bytes(&bytes[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Restore, "cut at {cut}");
        }
    }

    #[test]
    fn other_dimension_is_refused() {
        let vectors = Vectors::new(&[1.0, 2.0, 3.0], 3).unwrap();
        let error = sample().assign(&vectors, &Progress::silent()).unwrap_err();
        assert_eq!(error.code(), "wrong-dimension");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, at in 0usize..80, byte: u8) {
            let _ = Artefact::from_bytes(&bytes);
            bytes = sample().to_bytes().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Artefact::from_bytes(&bytes);
        }
    }
}
