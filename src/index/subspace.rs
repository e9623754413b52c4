//! Leading eigenvectors of a large symmetric matrix that is known only by what it does to vectors.

use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;

/// Columns beyond the wanted ones, which speed up convergence.
const SPARE: usize = 16;

/// Directions weaker than the strongest by this factor are rounding noise.
const NEGLIGIBLE: f32 = 1e-6;

/// Orthonormal eigenvectors of a positive semidefinite `rows × rows` matrix for its `count` largest
/// eigenvalues, the largest first; fewer where its rank is lower. `apply` multiplies the matrix with a block of
/// columns. Subspace iteration (Halko, Martinsson and Tropp 2011), deterministic for a seed.
pub(crate) fn leading(
    rows: usize,
    count: usize,
    rounds: usize,
    seed: u64,
    mut apply: impl FnMut(&DMatrix<f32>) -> Result<DMatrix<f32>>,
) -> Result<DMatrix<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let width = (count + SPARE).min(rows);
    let start = DMatrix::from_fn(rows, width, |_, _| random.random_range(-1.0f32..1.0));
    let mut basis = orthonormal(start, 1);
    for round in 1..=rounds {
        // The last basis must be exact, the ones on the way only must not degenerate.
        basis = orthonormal(apply(&basis)?, if round == rounds { 2 } else { 1 });
    }
    // Rayleigh and Ritz: the eigenvectors within the subspace.
    let image = apply(&basis)?;
    let small = basis.transpose() * &image;
    let eigen = sorted(&small);
    let strongest = eigen.first().map_or(0.0, |(value, _)| *value);
    let kept: Vec<_> = eigen
        .into_iter()
        .take(count)
        .filter(|(value, _)| *value > strongest * NEGLIGIBLE && *value > 0.0)
        .map(|(_, vector)| vector)
        .collect();
    if kept.is_empty() {
        return Ok(DMatrix::zeros(rows, 0));
    }
    let mut vectors = basis * DMatrix::from_columns(&kept);
    vectors.column_iter_mut().for_each(|mut column| {
        // The sign of an eigenvector is arbitrary; the component of largest size is made positive.
        if column[column.iamax()] < 0.0 {
            column.neg_mut();
        }
    });
    Ok(vectors)
}

/// Eigenvalues and eigenvectors of a symmetric matrix, the largest first.
fn sorted(matrix: &DMatrix<f32>) -> Vec<(f32, nalgebra::DVector<f32>)> {
    if matrix.is_empty() {
        return Vec::new();
    }
    let symmetric = (matrix + matrix.transpose()) * 0.5;
    let eigen = SymmetricEigen::new(symmetric);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order
        .into_iter()
        .map(|at| (eigen.eigenvalues[at], eigen.eigenvectors.column(at).into_owned()))
        .collect()
}

/// An orthonormal basis of the columns, by the eigenvectors of their products. Once loses half of the digits,
/// a second pass brings them back.
fn orthonormal(mut block: DMatrix<f32>, passes: usize) -> DMatrix<f32> {
    for _ in 0..passes {
        let eigen = sorted(&(block.transpose() * &block));
        let strongest = eigen.first().map_or(0.0, |(value, _)| *value);
        let scaled: Vec<_> = eigen
            .into_iter()
            .filter(|(value, _)| *value > strongest * NEGLIGIBLE && *value > 0.0)
            .map(|(value, vector)| vector / value.sqrt())
            .collect();
        if scaled.is_empty() {
            return DMatrix::zeros(block.nrows(), 0);
        }
        block *= DMatrix::from_columns(&scaled);
    }
    block
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn known_eigenvectors() {
        let values = [9.0f32, 4.0, 1.0, 0.25, 0.0, 0.0];
        let turn = DMatrix::from_fn(6, 6, |i, j| ((i * 7 + j * 13) % 11) as f32 - 5.0);
        let turn = nalgebra::linalg::QR::new(turn).q();
        let matrix = &turn
            * DMatrix::from_fn(6, 6, |i, j| if i == j { values[i] } else { 0.0 })
            * turn.transpose();
        let found = leading(6, 5, 8, 1, |block| Ok(&matrix * block)).unwrap();
        assert_eq!(found.ncols(), 4, "the rank is four");
        for (at, column) in found.column_iter().enumerate() {
            let image = &matrix * column;
            assert!((image - column * values[at]).norm() < 1e-3, "column {at}");
            assert!(column[column.iamax()] > 0.0);
        }
        assert!((found.tr_mul(&found) - DMatrix::identity(4, 4)).norm() < 1e-3);
    }

    #[test]
    fn nothing_to_find() {
        let found = leading(3, 2, 2, 1, |block| Ok(block * 0.0)).unwrap();
        assert_eq!(found.ncols(), 0);
    }
}
