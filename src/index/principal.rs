//! Principal components of many vectors.

use nalgebra::{DMatrix, SymmetricEigen};

use super::product::dot;
use super::subspace::leading;
use crate::error::Result;
use crate::progress::Progress;

/// Components of a vector up to which the principal ones are computed directly; beyond, by iteration.
const MAX_DIRECT: usize = 512;

/// Rounds of iteration.
const ROUNDS: usize = 8;

/// A variance below this share of the largest is rounding noise.
const NEGLIGIBLE: f64 = 1e-10;

/// A mean and the directions of largest variance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Principal {
    /// The mean.
    pub(crate) centre: Vec<f32>,
    /// The directions, row-major `components × dim`, of unit length, the largest variance first.
    pub(crate) components: Vec<f32>,
}

impl Principal {
    /// The first `dim` principal components of row-major vectors of `joined` components. Where there are fewer, the
    /// rest are zero.
    pub(crate) fn fit(
        rows: &[f32],
        joined: usize,
        dim: usize,
        progress: &Progress,
    ) -> Result<Self> {
        let items = rows.len() / joined;
        let mut sum = vec![0.0f64; joined];
        for row in rows.chunks_exact(joined) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let centre: Vec<f32> = sum.iter().map(|sum| (sum / items.max(1) as f64) as f32).collect();
        let mut covariance = DMatrix::<f32>::zeros(joined, joined);
        for block in rows.chunks(256 * joined) {
            progress.check()?;
            let mut block = DMatrix::from_column_slice(joined, block.len() / joined, block);
            for mut column in block.column_iter_mut() {
                column.iter_mut().zip(&centre).for_each(|(x, centre)| *x -= centre);
            }
            covariance.gemm(1.0 / items as f32, &block, &block.transpose(), 1.0);
            progress.advance(block.ncols() as u64);
        }
        let vectors = if joined <= MAX_DIRECT {
            direct(&covariance, dim)
        } else {
            leading(joined, dim, ROUNDS, 0, |block| {
                progress.check()?;
                Ok(&covariance * block)
            })?
        };
        let mut components = vectors.as_slice().to_vec();
        components.resize(dim * joined, 0.0);
        Ok(Principal { centre, components })
    }

    /// The components of one vector.
    pub(crate) fn apply(&self, joined: &[f32]) -> Vec<f32> {
        let centred: Vec<f32> =
            joined.iter().zip(&self.centre).map(|(x, centre)| x - centre).collect();
        let components = self.components.chunks_exact(joined.len());
        components.map(|component| dot(component, &centred)).collect()
    }

    /// Divides each component by its standard deviation over the joined vectors; what does not vary becomes 0.
    pub(crate) fn whiten(&mut self, joined: &[f32]) {
        let width = self.centre.len();
        let count = self.components.len() / width;
        let mut squares = vec![0.0f64; count];
        for row in joined.chunks_exact(width) {
            let turned = self.apply(row);
            squares.iter_mut().zip(turned).for_each(|(sum, x)| *sum += f64::from(x * x));
        }
        let largest = squares.iter().copied().fold(0.0, f64::max);
        let rows = (joined.len() / width) as f64;
        for (component, sum) in self.components.chunks_exact_mut(width).zip(squares) {
            let varies = sum > largest * NEGLIGIBLE;
            let scale = if varies { (rows / sum).sqrt() as f32 } else { 0.0 };
            for x in component {
                *x *= scale;
            }
        }
    }
}

/// Eigenvectors of the largest eigenvalues, the component of largest size made positive.
///
/// In double precision and with a little added to the diagonal: the iteration gives NaN on matrices that have
/// rows of exact zeros, as sparse vectors of few items make them.
fn direct(covariance: &DMatrix<f32>, dim: usize) -> DMatrix<f32> {
    let mut covariance = covariance.map(f64::from);
    let ridge = 1e-9 * covariance.diagonal().amax().max(f64::MIN_POSITIVE);
    for at in 0..covariance.nrows() {
        covariance[(at, at)] += ridge * (1.0 + at as f64 / covariance.nrows() as f64);
    }
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let columns: Vec<_> = order
        .into_iter()
        .take(dim)
        .map(|at| {
            let column = eigen.eigenvectors.column(at).into_owned().cast::<f32>();
            if column[column.iamax()] < 0.0 { -column } else { column }
        })
        .collect();
    DMatrix::from_columns(&columns)
}
