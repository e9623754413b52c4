//! A few rows times a large matrix, for models that run without learning. The matrix is read once, as it lies, and never
//! copied into another order; what a row gives does not depend on the rows beside it, to the last bit.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::host::{fused, slice};

/// Rows up to which the matrix is worth reading as it lies; more of them are a product of two matrices.
const FEW: usize = 1024;
/// Rows of the matrix that one thread handles at a time.
const SHARE: usize = 64;
/// Rows of either side that are multiplied together: their sums fit the vector registers.
const TILE: usize = 4;
/// Numbers of a row that are multiplied before the next rows are turned to: a tile of them fits the nearest cache.
const DEPTH: usize = 1024;

/// `x`: rows × in, `matrix`: out × in. Gives rows × out. No gradient.
pub(crate) fn rows_times(x: &Tensor, matrix: &Tensor) -> candle_core::Result<Tensor> {
    let apply = fused(x) && fused(matrix) && matrix.is_contiguous() && x.dim(0)? <= FEW;
    if apply { x.contiguous()?.apply_op2_no_bwd(matrix, &Fused) } else { composed(x, matrix) }
}

fn composed(x: &Tensor, matrix: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&matrix.t()?)
}

/// The fused form.
struct Fused;

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "rows-times"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        matrix: &CpuStorage,
        matrix_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, input) = x_layout.shape().dims2()?;
        let (output, inner) = matrix_layout.shape().dims2()?;
        if inner != input || input == 0 || rows == 0 {
            candle_core::bail!("rows of {input} times a matrix of {output} x {inner}");
        }
        let (x, matrix) = (slice(x, x_layout)?, slice(matrix, matrix_layout)?);
        // Out × rows, so that each thread has a place of its own.
        let mut turned = vec![0f32; output * rows];
        let shares = turned.par_chunks_mut(SHARE * rows).zip(matrix.par_chunks(SHARE * input));
        let arch = Arch::new();
        shares.for_each(|(out, matrix)| arch.dispatch(Share { x, matrix, input, rows, out }));
        let mut out = vec![0f32; rows * output];
        if rows == 1 {
            out = turned;
        } else {
            out.par_chunks_mut(output).enumerate().for_each(|(row, out)| {
                for (out, sums) in out.iter_mut().zip(turned.chunks_exact(rows)) {
                    *out = sums[row];
                }
            });
        }
        Ok((CpuStorage::F32(out), (rows, output).into()))
    }
}

/// Some rows of the matrix and all of `x`.
struct Share<'a> {
    x: &'a [f32],
    matrix: &'a [f32],
    input: usize,
    rows: usize,
    /// Rows of the matrix × rows of `x`.
    out: &'a mut [f32],
}

impl WithSimd for Share<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Share { x, matrix, input, rows, out } = self;
        for (matrix, out) in matrix.chunks(TILE * input).zip(out.chunks_mut(TILE * rows)) {
            for from in (0..input).step_by(DEPTH) {
                let part = from..input.min(from + DEPTH);
                let tiles = Tiles { simd, x, matrix, input, rows, part };
                if matrix.len() == TILE * input { tiles.all::<TILE>(out) } else { tiles.rest(out) }
            }
        }
    }
}

/// A few rows of the matrix and all of `x`, a part of their numbers.
struct Tiles<'a, S> {
    simd: S,
    x: &'a [f32],
    matrix: &'a [f32],
    input: usize,
    rows: usize,
    part: Range<usize>,
}

impl<S: Simd> Tiles<'_, S> {
    /// `R` rows of the matrix with tiles of `x`, and what is left of it row by row.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn all<const R: usize>(&self, out: &mut [f32]) {
        let whole = self.rows - self.rows % TILE;
        for at in (0..whole).step_by(TILE) {
            self.tile::<R, TILE>(at, out);
        }
        for at in whole..self.rows {
            self.tile::<R, 1>(at, out);
        }
    }

    /// The rows of the matrix one by one, where they are no tile.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn rest(&self, out: &mut [f32]) {
        for (matrix, out) in self.matrix.chunks(self.input).zip(out.chunks_mut(self.rows)) {
            let part = self.part.clone();
            Tiles { simd: self.simd, x: self.x, matrix, input: self.input, rows: self.rows, part }
                .all::<1>(out);
        }
    }

    /// Adds the products of `R` rows of the matrix and `C` rows of `x`. Every sum takes its numbers in the same order,
    /// whatever `R` and `C` are.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&self, at: usize, out: &mut [f32]) {
        let Tiles { simd, x, matrix, input, rows, .. } = *self;
        let ours: [_; R] =
            std::array::from_fn(|r| S::as_simd_f32s(&matrix[r * input..][self.part.clone()]));
        let theirs: [_; C] =
            std::array::from_fn(|c| S::as_simd_f32s(&x[(at + c) * input..][self.part.clone()]));
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        let count = ours[0].0.len();
        let (mine, other) =
            (ours.map(|(whole, _)| &whole[..count]), theirs.map(|(whole, _)| &whole[..count]));
        for k in 0..count {
            for (sums, mine) in sums.iter_mut().zip(&mine) {
                for (sum, other) in sums.iter_mut().zip(&other) {
                    *sum = simd.mul_add_e_f32s(mine[k], other[k], *sum);
                }
            }
        }
        for (r, (sums, (_, mine))) in sums.iter().zip(&ours).enumerate() {
            for (c, (sum, (_, other))) in sums.iter().zip(&theirs).enumerate() {
                let rest = mine.iter().zip(*other).map(|(a, b)| a * b).sum::<f32>();
                out[r * rows + at + c] += simd.reduce_sum_f32s(*sum) + rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, random_var};

    #[test]
    fn fused_equals_composed() {
        for (rows, input, output) in [(1, 7, 5), (4, 16, 4), (9, 1030, 131), (3, 2500, 66)] {
            let x = random_var(&[rows, input], 1);
            let matrix = random_var(&[output, input], 2);
            let ours = rows_times(x.as_tensor(), matrix.as_tensor()).unwrap();
            let theirs = composed(x.as_tensor(), matrix.as_tensor()).unwrap();
            assert_close(&ours.to_vec2().unwrap(), &theirs.to_vec2().unwrap(), 1e-4);
        }
    }

    #[test]
    fn a_row_knows_nothing_of_the_rows_beside_it() {
        let (x, matrix) = (random_var(&[23, 1100], 3), random_var(&[70, 1100], 4));
        let together: Vec<Vec<f32>> =
            rows_times(x.as_tensor(), matrix.as_tensor()).unwrap().to_vec2().unwrap();
        for (at, row) in together.iter().enumerate() {
            let alone = x.as_tensor().narrow(0, at, 1).unwrap();
            let alone = rows_times(&alone, matrix.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(*row, alone[0], "row {at}");
        }
    }
}
