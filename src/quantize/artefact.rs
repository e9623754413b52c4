//! A trained codebook: it encodes vectors, and knows how its SIDs are made unique.
//!
//! An input vector goes through the encoder to the latent space, where the stack of codewords is; the decoder leads
//! back. Kinds that cluster the vectors themselves have no encoder and no decoder. `stored.rs` has the bytes.

use std::borrow::Cow;

use super::coder::Coder;
use super::residual::Stack;
use super::{Collisions, Vectors};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The most levels of a codebook, without the suffix level.
pub(crate) const MAX_LEVELS: usize = 63;

/// The most codes of a level: a code is 16 bits wide.
pub(crate) const MAX_CODES: usize = 1 << 16;

/// A trained codebook.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Artefact {
    pub(super) encoder: Coder,
    pub(super) stack: Stack,
    pub(super) decoder: Coder,
    /// Whether distances in the latent space are those of the input space, up to what the encoder drops.
    pub(super) isometric: bool,
    pub(super) collisions: Collisions,
    pub(super) suffix: Option<usize>,
}

impl Artefact {
    /// A codebook over the vectors themselves.
    pub(crate) fn new(stack: Stack, collisions: Collisions) -> Self {
        let (encoder, decoder) = (Coder::default(), Coder::default());
        Artefact { encoder, stack, decoder, isometric: true, collisions, suffix: None }
    }

    /// A codebook over a latent space. `isometric` says whether the decoder keeps distances.
    pub(crate) fn coded(
        (encoder, decoder): (Coder, Coder),
        isometric: bool,
        stack: Stack,
        collisions: Collisions,
    ) -> Self {
        Artefact { encoder, stack, decoder, isometric, collisions, suffix: None }
    }

    /// The stack of codewords.
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

    /// Components of an input vector.
    pub(crate) fn dim(&self) -> usize {
        self.encoder.ends().map_or(self.stack.dim(), |(input, _)| input)
    }

    /// Components of a vector of the latent space, and of a codeword.
    pub(crate) fn latent_dim(&self) -> usize {
        self.stack.dim()
    }

    /// Whether distances between latent vectors are those of the input space, up to what the encoder drops.
    pub(crate) fn is_isometric(&self) -> bool {
        self.isometric
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

    /// The codeword of a code, in the latent space.
    pub(crate) fn code_vector(&self, level: usize, code: u16) -> &[f32] {
        let at = code as usize * self.latent_dim();
        &self.stack.codebook(level)[at..at + self.latent_dim()]
    }

    /// The latent vectors of input vectors, row-major.
    pub(crate) fn encode<'a>(
        &self,
        vectors: &Vectors<'a>,
        progress: &Progress,
    ) -> Result<Cow<'a, [f32]>> {
        self.expect_dim(vectors.dim())?;
        self.encoder.apply_all(vectors, progress)
    }

    /// The input vectors that latent vectors stand for, row-major.
    pub(crate) fn decode<'a>(
        &self,
        latent: &Vectors<'a>,
        progress: &Progress,
    ) -> Result<Cow<'a, [f32]>> {
        self.decoder.apply_all(latent, progress)
    }

    /// The nearest code at each trained level for every vector, row-major `vectors × levels`.
    pub(crate) fn assign(&self, vectors: &Vectors<'_>, progress: &Progress) -> Result<Vec<u16>> {
        self.expect_dim(vectors.dim())?;
        progress.stage("assigning codes", vectors.len() as u64);
        let latent = self.encode(vectors, progress)?;
        self.stack.assign(&Vectors::new(&latent, self.latent_dim())?, progress)
    }

    /// The input vector that a SID or a prefix stands for (no suffix code).
    pub(crate) fn reconstruct(&self, codes: &[u16]) -> Vec<f32> {
        self.decoder.apply(&self.stack.reconstruct(codes))
    }

    /// The squared distance, in the latent space, of an input vector to every code of the last trained level, given
    /// the codes before it.
    pub(crate) fn last_level_distances(&self, vector: &[f32], codes: &[u16]) -> Vec<f32> {
        self.latent_distances(&self.encoder.apply(vector), codes)
    }

    /// The same for a latent vector.
    pub(super) fn latent_distances(&self, latent: &[f32], codes: &[u16]) -> Vec<f32> {
        let last = self.levels() - 1;
        let span = self.stack.level(last).span.clone();
        let residual = self.stack.residual(latent, &codes[..last]);
        let square = |centre: &[f32]| -> f32 {
            let pairs = centre[span.clone()].iter().zip(&residual[span.clone()]);
            pairs.map(|(c, x)| (x - c) * (x - c)).sum()
        };
        self.stack.codebook(last).chunks_exact(self.latent_dim()).map(square).collect()
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

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
    fn other_dimension_is_refused() {
        let vectors = Vectors::new(&[1.0, 2.0, 3.0], 3).unwrap();
        let error = sample().assign(&vectors, &Progress::silent()).unwrap_err();
        assert_eq!(error.code(), "wrong-dimension");
    }
}
