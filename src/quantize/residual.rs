//! The stack of codewords that every kind ends in: each level quantizes what the levels before left over.
//!
//! The levels of a product quantizer are the same with codewords that are zero outside of the components of
//! their level; then each looks at its components only. A level may have a bias for each code, which is added to the
//! squared distance: it makes codes that are too popular less attractive (balanced levels).

use std::ops::Range;

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
    levels: Vec<Level>,
}

/// One level.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Level {
    /// Row-major `codes × dim`.
    pub(crate) codebook: Vec<f32>,
    /// What is added to the squared distance of each code; empty for nothing.
    pub(crate) bias: Vec<f32>,
    /// The components outside of which codewords are zero.
    pub(crate) span: Range<usize>,
}

impl Level {
    /// The codewords within the span, row-major.
    pub(crate) fn compact(&self, dim: usize) -> Vec<f32> {
        self.codebook.chunks_exact(dim).flat_map(|row| &row[self.span.clone()]).copied().collect()
    }

    fn centres(&self, dim: usize) -> Centres {
        let centres = if self.span.len() == dim {
            Centres::new(&self.codebook, dim)
        } else {
            Centres::new(&self.compact(dim), self.span.len())
        };
        centres.biased(&self.bias)
    }
}

impl Stack {
    /// A stack of codebooks over vectors of `dim` components; each codebook holds whole vectors.
    pub(crate) fn new(dim: usize, codebooks: Vec<Vec<f32>>) -> Self {
        debug_assert!(codebooks.iter().all(|codebook| codebook.len().is_multiple_of(dim)));
        let level = |codebook| Level { codebook, bias: Vec::new(), span: 0..dim };
        Stack { dim, levels: codebooks.into_iter().map(level).collect() }
    }

    /// A stack of levels.
    pub(crate) fn of(dim: usize, levels: Vec<Level>) -> Self {
        Stack { dim, levels }
    }

    /// A stack of a product quantizer: for each level its components and row-major codewords of as many.
    pub(crate) fn product(dim: usize, parts: Vec<(Range<usize>, Vec<f32>)>) -> Self {
        let level = |(span, compact): (Range<usize>, Vec<f32>)| Level {
            codebook: widened(&compact, &span, dim),
            bias: Vec::new(),
            span,
        };
        Stack { dim, levels: parts.into_iter().map(level).collect() }
    }

    /// Trains level after level on the residuals of the levels before. `stack` holds the levels that are
    /// trained already; `train` gets the number of the level (from 0) and the residuals, and gives codebook and bias;
    /// `trained` is told after each level.
    pub(crate) fn train(
        mut stack: Stack,
        levels: usize,
        vectors: &Vectors<'_>,
        progress: &Progress,
        mut train: impl FnMut(usize, &[f32]) -> Result<(Vec<f32>, Vec<f32>)>,
        mut trained: impl FnMut(&Stack) -> Result<()>,
    ) -> Result<Stack> {
        let mut residuals = vectors.data().to_vec();
        for level in 0..levels {
            let is_new = level == stack.levels.len();
            if is_new {
                let (codebook, bias) = train(level, &residuals)?;
                stack.levels.push(Level { codebook, bias, span: 0..stack.dim });
            }
            if level + 1 < levels {
                let level = &stack.levels[level];
                let nearest = level.centres(stack.dim).nearest(&residuals, progress)?;
                for (residual, nearest) in residuals.chunks_exact_mut(stack.dim).zip(nearest) {
                    subtract(residual, level, nearest.code);
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
        self.levels.len()
    }

    /// Components of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Codes of a level.
    pub(crate) fn size(&self, level: usize) -> usize {
        self.levels[level].codebook.len() / self.dim
    }

    /// A level.
    pub(crate) fn level(&self, level: usize) -> &Level {
        &self.levels[level]
    }

    /// The row-major `codes × dim` codebook of a level.
    pub(crate) fn codebook(&self, level: usize) -> &[f32] {
        &self.levels[level].codebook
    }

    /// Numbers the codes of a level anew: `order` has the new number of each.
    pub(crate) fn permute(&mut self, level: usize, order: &[u16]) {
        let level = &mut self.levels[level];
        let (codebook, bias) = (level.codebook.clone(), level.bias.clone());
        for (centre, to) in codebook.chunks_exact(self.dim).zip(order) {
            let at = usize::from(*to) * self.dim;
            level.codebook[at..at + self.dim].copy_from_slice(centre);
        }
        for (bias, to) in bias.into_iter().zip(order) {
            level.bias[usize::from(*to)] = bias;
        }
    }

    /// The nearest code at each level for every vector, row-major.
    pub(crate) fn assign(&self, vectors: &Vectors<'_>, progress: &Progress) -> Result<Vec<u16>> {
        let levels = self.levels();
        let centres: Vec<Centres> =
            self.levels.iter().map(|level| level.centres(self.dim)).collect();
        let mut codes = vec![0u16; vectors.len() * levels];
        let block = centres.iter().map(Centres::block_rows).min().unwrap_or(BLOCK_ROWS);
        codes
            .par_chunks_mut(block * levels)
            .zip(vectors.data().par_chunks(block * self.dim))
            .try_for_each_init(Vec::new, |scratch, (codes, points)| {
                progress.check()?;
                let mut residuals = points.to_vec();
                for (at, (level, centres)) in self.levels.iter().zip(&centres).enumerate() {
                    if level.span.len() == self.dim {
                        centres.relative(&residuals, scratch);
                    } else {
                        centres.relative(&part(&residuals, self.dim, &level.span), scratch);
                    }
                    let rows = scratch.chunks_exact(self.size(at));
                    for (row, relative) in rows.enumerate() {
                        let code = least(relative).0 as u16;
                        codes[row * levels + at] = code;
                        let residual = &mut residuals[row * self.dim..(row + 1) * self.dim];
                        subtract(residual, level, code);
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
        for (level, code) in self.levels.iter().zip(codes) {
            subtract(&mut residual, level, *code);
        }
        residual
    }

    /// The sum of the codebook vectors of a SID or a prefix, whose codes must be those of the levels.
    pub(crate) fn reconstruct(&self, codes: &[u16]) -> Vec<f32> {
        let residual = self.residual(&vec![0.0; self.dim], codes);
        residual.into_iter().map(|x| -x).collect()
    }
}

/// The components of a span of every row.
pub(super) fn part(rows: &[f32], dim: usize, span: &Range<usize>) -> Vec<f32> {
    rows.chunks_exact(dim).flat_map(|row| &row[span.clone()]).copied().collect()
}

/// Rows of a span as whole rows that are zero elsewhere.
pub(super) fn widened(compact: &[f32], span: &Range<usize>, dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; compact.len() / span.len() * dim];
    for (row, compact) in out.chunks_exact_mut(dim).zip(compact.chunks_exact(span.len())) {
        row[span.clone()].copy_from_slice(compact);
    }
    out
}

/// Takes the vector of a code off a residual.
fn subtract(residual: &mut [f32], level: &Level, code: u16) {
    let at = code as usize * residual.len();
    let centre = &level.codebook[at..at + residual.len()];
    for (x, centre) in residual[level.span.clone()].iter_mut().zip(&centre[level.span.clone()]) {
        *x -= centre;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn levels_of_a_product_look_at_their_components() {
        let first = (0..1, vec![0.0, 5.0]);
        let second = (1..3, vec![0.0, 0.0, 1.0, 1.0, 9.0, 9.0]);
        let stack = Stack::product(3, vec![first, second]);
        let data = [4.0, 1.2, 0.9, 1.0, 8.0, 8.0];
        let vectors = Vectors::new(&data, 3).unwrap();
        assert_eq!(stack.assign(&vectors, &Progress::silent()).unwrap(), [1, 1, 0, 2]);
        assert_eq!(stack.reconstruct(&[1, 2]), [5.0, 9.0, 9.0]);
        assert_eq!(stack.level(1).compact(3), [0.0, 0.0, 1.0, 1.0, 9.0, 9.0]);
    }

    #[test]
    fn a_bias_turns_points_away() {
        let level = |bias| Level { codebook: vec![0.0, 1.0], bias, span: 0..1 };
        let data = [0.4, -3.0];
        let vectors = Vectors::new(&data, 1).unwrap();
        let codes = |bias| {
            let stack = Stack::of(1, vec![level(bias)]);
            stack.assign(&vectors, &Progress::silent()).unwrap()
        };
        assert_eq!(codes(Vec::new()), [0, 0]);
        assert_eq!(codes(vec![0.3, 0.0]), [1, 0]);
    }
}
