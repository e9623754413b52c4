//! Products of row-major matrices, by blocks, on all cores.

use nalgebra::{DMatrixView, DMatrixViewMut};

/// Vectors on the right from which a blocked product is faster than one inner product after another.
const LEAST_BLOCKED: usize = 16;

/// A matrix laid out for the right-hand side of `dots`: `columns` vectors of `dim` components.
#[derive(Clone, Debug)]
pub(crate) struct Transposed {
    /// Component by component, or vector by vector where there are few.
    data: Vec<f32>,
    dim: usize,
    columns: usize,
}

impl Transposed {
    /// Transposes the row-major `columns × dim` matrix.
    pub(crate) fn new(rows: &[f32], dim: usize) -> Self {
        let columns = rows.len() / dim;
        if columns < LEAST_BLOCKED {
            return Transposed { data: rows.to_vec(), dim, columns };
        }
        let mut data = vec![0.0; rows.len()];
        for (column, row) in rows.chunks_exact(dim).enumerate() {
            for (at, x) in row.iter().enumerate() {
                data[at * columns + column] = *x;
            }
        }
        Transposed { data, dim, columns }
    }
}

/// Writes the inner product of every row (of `right.dim` components) with every vector of `right` into `out`,
/// row-major. One core: callers split the rows into blocks.
pub(crate) fn dots(rows: &[f32], right: &Transposed, out: &mut [f32]) {
    let count = rows.len() / right.dim;
    debug_assert_eq!(out.len(), count * right.columns);
    if count == 0 || right.columns == 0 {
        return;
    }
    if right.columns < LEAST_BLOCKED {
        for (row, out) in rows.chunks_exact(right.dim).zip(out.chunks_exact_mut(right.columns)) {
            for (out, vector) in out.iter_mut().zip(right.data.chunks_exact(right.dim)) {
                *out = dot(row, vector);
            }
        }
        return;
    }
    // Row-major here is column-major transposed there: outᵀ = rightᵀ · rowsᵀ.
    let left = DMatrixView::from_slice(&right.data, right.columns, right.dim);
    let rows = DMatrixView::from_slice(rows, right.dim, count);
    DMatrixViewMut::from_slice(out, right.columns, count).gemm(1.0, &left, &rows, 0.0);
}

/// The inner product of two vectors of the same length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    /// Independent sums, so that the compiler may use the whole width of the registers.
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Scales a vector to unit length; a zero vector stays.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 && length.is_finite() {
        for x in vector {
            *x /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dots_agree_with_dot(dim in 1usize..40, rows in 0usize..9, columns in 0usize..40) {
            let a: Vec<f32> = (0..rows * dim).map(|i| ((i * 37 % 23) as f32) - 11.0).collect();
            let b: Vec<f32> = (0..columns * dim).map(|i| ((i * 53 % 19) as f32) - 9.0).collect();
            let mut out = vec![0.0; rows * columns];
            dots(&a, &Transposed::new(&b, dim), &mut out);
            for (i, row) in a.chunks_exact(dim).enumerate() {
                for (j, column) in b.chunks_exact(dim).enumerate() {
                    let naive: f32 = row.iter().zip(column).map(|(x, y)| x * y).sum();
                    prop_assert_eq!(out[i * columns + j], naive);
                    prop_assert_eq!(dot(row, column), naive);
                }
            }
        }
    }

    #[test]
    fn unit_length() {
        let mut vector = vec![3.0, 4.0];
        normalise(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zero = vec![0.0; 3];
        normalise(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }
}
