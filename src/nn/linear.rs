//! A matrix that multiplies rows.

use candle_core::{Tensor, Var};
use rand_chacha::ChaCha8Rng;

use super::matmul::matmul;
use super::{Init, Params};
use crate::error::Result;

/// A linear map without bias. The weight lies as `in × out`, so that neither pass has to transpose
/// it in memory.
pub(crate) struct Linear {
    weight: Var,
}

impl Linear {
    /// A map with normal weights that keep the variance of their input, times `gain`.
    pub(crate) fn new(
        params: &mut Params,
        name: String,
        (input, output): (usize, usize),
        gain: f32,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let deviation = gain / (input as f32).sqrt();
        let weight = params.create(name, &[input, output], Init::Matrix(deviation), random)?;
        Ok(Linear { weight })
    }

    /// in × out.
    pub(crate) fn weight(&self) -> &Tensor {
        self.weight.as_tensor()
    }

    /// `x`: rows × in. Gives rows × out.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(matmul(x, self.weight.as_tensor())?)
    }
}
