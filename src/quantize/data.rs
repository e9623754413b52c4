//! Vectors on their way into a network: centred, and scaled to a mean variance of 1, or as they are.

use candle_core::Tensor;

use super::Vectors;
use super::coder::Step;
use super::net::Net;
use crate::error::Result;

/// The vectors, standardised on the way into the network.
pub(super) struct Data<'a> {
    pub(super) vectors: Vectors<'a>,
    centre: Vec<f32>,
    scale: f32,
}

impl<'a> Data<'a> {
    /// Vectors that are centred and scaled to a mean variance of 1, or taken as they are.
    pub(super) fn new(vectors: Vectors<'a>, standardise: bool) -> Self {
        let dim = vectors.dim();
        let mut data = Data { vectors, centre: vec![0.0; dim], scale: 1.0 };
        if !standardise || vectors.len() == 0 {
            return data;
        }
        let (mut sum, mut squares) = (vec![0.0f64; dim], 0.0f64);
        for row in vectors.data().chunks_exact(dim) {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += f64::from(*x);
                squares += f64::from(*x) * f64::from(*x);
            }
        }
        let rows = vectors.len() as f64;
        let means = sum.iter().map(|sum| sum / rows);
        let variance = squares / rows - means.clone().map(|mean| mean * mean).sum::<f64>();
        data.centre = means.map(|mean| mean as f32).collect();
        let deviation = (variance / dim as f64).max(0.0).sqrt();
        // Below this the vectors are the same.
        if deviation > 1e-6 * (squares / (rows * dim as f64)).sqrt() {
            data.scale = (1.0 / deviation) as f32;
        }
        data
    }

    /// The steps before the encoder and after the decoder.
    pub(super) fn steps(&self) -> (Step, Step) {
        let back = self.centre.iter().map(|x| -x * self.scale).collect();
        (
            Step::Affine { centre: self.centre.clone(), scale: self.scale },
            Step::Affine { centre: back, scale: 1.0 / self.scale },
        )
    }

    /// Some of the vectors, row-major.
    pub(super) fn gather(&self, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut out = Vec::new();
        for row in rows {
            let pairs = self.vectors.row(row).iter().zip(&self.centre);
            out.extend(pairs.map(|(x, centre)| (x - centre) * self.scale));
        }
        out
    }

    /// All vectors, row-major.
    pub(super) fn all(&self) -> Vec<f32> {
        self.gather(0..self.vectors.len())
    }

    pub(super) fn tensor(&self, net: &Net, rows: impl Iterator<Item = usize>) -> Result<Tensor> {
        let data = self.gather(rows);
        let shape = (data.len() / self.vectors.dim(), self.vectors.dim());
        Ok(Tensor::from_vec(data, shape, net.device())?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::coder::Coder;
    use super::*;

    #[test]
    fn the_mean_goes_and_comes_back() {
        let numbers = [3.0, 100.0, 5.0, 104.0, 7.0, 108.0];
        let data = Data::new(Vectors::new(&numbers, 2).unwrap(), true);
        let all = data.all();
        assert!(all.iter().sum::<f32>().abs() < 1e-4);
        assert!((all.iter().map(|x| x * x).sum::<f32>() / 6.0 - 1.0).abs() < 1e-4, "{all:?}");
        let (before, after) = data.steps();
        let there = Coder::new(vec![before]).apply(&numbers[..2]);
        assert_eq!(there, all[..2]);
        let back = Coder::new(vec![after]).apply(&there);
        assert!(back.iter().zip(&numbers).all(|(a, b)| (a - b).abs() < 1e-3), "{back:?}");
    }

    #[test]
    fn vectors_that_are_the_same_keep_their_scale() {
        let data = Data::new(Vectors::new(&[0.3, 0.1, 0.3, 0.1], 2).unwrap(), true);
        assert!(data.all().iter().all(|x| x.abs() < 1e-6));
    }
}
