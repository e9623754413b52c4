//! The residual stack that every kind shares: each level quantizes what the levels before left over.

use rayon::prelude::*;

use super::Vectors;
use super::kmeans::{Centres, least};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Vectors that one core takes through all levels at a time.
const BLOCK_ROWS: usize = 256;

/// The codebooks of all levels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stack {
    dim: usize,
    /// Row-major `codes × dim` for each level.
    codebooks: Vec<Vec<f32>>,
}

impl Stack {
    /// A stack of codebooks over vectors of `dim` components; each codebook holds whole vectors.
    pub(crate) fn new(dim: usize, codebooks: Vec<Vec<f32>>) -> Self {
        debug_assert!(codebooks.iter().all(|codebook| codebook.len().is_multiple_of(dim)));
        Stack { dim, codebooks }
    }

    /// Trains level after level on the residuals of the levels before. `stack` holds the levels that are
    /// trained already; `train` gets the number of the level (from 0) and the residuals; `trained` is told
    /// after each level.
    pub(crate) fn train(
        mut stack: Stack,
        levels: usize,
        vectors: &Vectors<'_>,
        progress: &Progress,
        mut train: impl FnMut(usize, &[f32]) -> Result<Vec<f32>>,
        mut trained: impl FnMut(&Stack) -> Result<()>,
    ) -> Result<Stack> {
        let mut residuals = vectors.data().to_vec();
        for level in 0..levels {
            let is_new = level == stack.codebooks.len();
            if is_new {
                let codebook = train(level, &residuals)?;
                stack.codebooks.push(codebook);
            }
            if level + 1 < levels {
                let codebook = &stack.codebooks[level];
                let nearest = Centres::new(codebook, stack.dim).nearest(&residuals, progress)?;
                for (residual, nearest) in residuals.chunks_exact_mut(stack.dim).zip(nearest) {
                    subtract(residual, codebook, nearest.code);
                }
            }
            if is_new {
                trained(&stack)?;
            }
        }
        Ok(stack)
    }

    /// The number of levels.
    pub(crate) fn levels(&self) -> usize {
        self.codebooks.len()
    }

    /// Components of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Codes of a level.
    pub(crate) fn size(&self, level: usize) -> usize {
        self.codebooks[level].len() / self.dim
    }

    /// The row-major `codes × dim` codebook of a level.
    pub(crate) fn codebook(&self, level: usize) -> &[f32] {
        &self.codebooks[level]
    }

    /// Numbers the codes of a level anew: `order` has the new number of each.
    pub(crate) fn permute(&mut self, level: usize, order: &[u16]) {
        let old = std::mem::take(&mut self.codebooks[level]);
        let mut new = vec![0.0; old.len()];
        for (centre, to) in old.chunks_exact(self.dim).zip(order) {
            let at = usize::from(*to) * self.dim;
            new[at..at + self.dim].copy_from_slice(centre);
        }
        self.codebooks[level] = new;
    }

    /// The nearest code at each level for every vector, row-major.
    pub(crate) fn assign(&self, vectors: &Vectors<'_>, progress: &Progress) -> Result<Vec<u16>> {
        let levels = self.levels();
        let centres: Vec<Centres> =
            self.codebooks.iter().map(|codebook| Centres::new(codebook, self.dim)).collect();
        let mut codes = vec![0u16; vectors.len() * levels];
        let block = centres.iter().map(Centres::block_rows).min().unwrap_or(BLOCK_ROWS);
        codes
            .par_chunks_mut(block * levels)
            .zip(vectors.data().par_chunks(block * self.dim))
            .try_for_each_init(Vec::new, |scratch, (codes, points)| {
                progress.check()?;
                let mut residuals = points.to_vec();
                for (level, centres) in centres.iter().enumerate() {
                    centres.relative(&residuals, scratch);
                    let rows = scratch.chunks_exact(self.size(level));
                    for (row, relative) in rows.enumerate() {
                        let code = least(relative).0 as u16;
                        codes[row * levels + level] = code;
                        let residual = &mut residuals[row * self.dim..(row + 1) * self.dim];
                        subtract(residual, &self.codebooks[level], code);
                    }
                }
                progress.advance((points.len() / self.dim) as u64);
                Ok::<(), Error>(())
            })?;
        Ok(codes)
    }

    /// What is left of a vector after the given codes of the first levels.
    pub(crate) fn residual(&self, vector: &[f32], codes: &[u16]) -> Vec<f32> {
        let mut residual = vector.to_vec();
        for (codebook, code) in self.codebooks.iter().zip(codes) {
            subtract(&mut residual, codebook, *code);
        }
        residual
    }

    /// The sum of the codebook vectors of a SID or a prefix, whose codes must be those of the levels.
    pub(crate) fn reconstruct(&self, codes: &[u16]) -> Vec<f32> {
        let residual = self.residual(&vec![0.0; self.dim], codes);
        residual.into_iter().map(|x| -x).collect()
    }
}

/// Takes the vector of a code off a residual.
fn subtract(residual: &mut [f32], codebook: &[f32], code: u16) {
    let at = code as usize * residual.len();
    for (x, centre) in residual.iter_mut().zip(&codebook[at..]) {
        *x -= centre;
    }
}
