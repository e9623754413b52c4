//! Dropout (Srivastava et al. 2014) from a seeded source.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::host::{fused, slice};
use crate::error::Result;

/// Sets a share of the numbers to zero while training and scales the others to keep the mean.
pub(crate) struct Dropout<'a> {
    /// The share between 0 and 1, used to a multiple of 1/256.
    pub(crate) share: f64,
    /// The source of the masks; without one nothing is dropped.
    pub(crate) random: Option<&'a mut ChaCha8Rng>,
}

impl Dropout<'_> {
    /// No dropout: for decoding and validation.
    pub(crate) fn off() -> Dropout<'static> {
        Dropout { share: 0.0, random: None }
    }

    /// Any shape in, the same shape out.
    pub(crate) fn apply(&mut self, x: &Tensor) -> Result<Tensor> {
        let Some(mask) = self.mask(x.elem_count()) else { return Ok(x.clone()) };
        if fused(x) {
            return Ok(x.contiguous()?.apply_op1(Fused(mask))?);
        }
        Ok((x * mask.tensor(x)?)?)
    }

    /// `x + apply(y)`, both of the same shape: the end of a residual path.
    pub(crate) fn add(&mut self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let Some(mask) = self.mask(y.elem_count()) else { return Ok((x + y)?) };
        if fused(y) {
            return Ok(x.contiguous()?.apply_op2(&y.contiguous()?, Fused(mask))?);
        }
        Ok((x + (y * mask.tensor(y)?)?)?)
    }

    /// What becomes of as many numbers; none where they all stay as they are.
    pub(super) fn mask(&mut self, count: usize) -> Option<Mask> {
        let limit = (self.share * 256.0).round().clamp(0.0, 255.0) as u8;
        let random = self.random.as_mut().filter(|_| limit > 0)?;
        let mut bytes = vec![0u8; count];
        random.fill_bytes(&mut bytes);
        Some(Mask { bytes: bytes.into(), limit, scale: 256.0 / (256.0 - f32::from(limit)) })
    }
}

/// Which numbers are dropped, and what the others are multiplied with.
#[derive(Clone)]
pub(super) struct Mask {
    bytes: Arc<Vec<u8>>,
    limit: u8,
    /// What those that stay are multiplied with.
    pub(super) scale: f32,
}

impl Mask {
    /// Multiplies the numbers from the `first` on.
    pub(super) fn apply(&self, first: usize, numbers: &mut [f32]) {
        for (number, &byte) in numbers.iter_mut().zip(&self.bytes[first..]) {
            *number *= self.factor(byte);
        }
    }

    fn factor(&self, byte: u8) -> f32 {
        if byte >= self.limit { self.scale } else { 0.0 }
    }

    fn tensor(&self, like: &Tensor) -> candle_core::Result<Tensor> {
        let mask: Vec<f32> = self.bytes.iter().map(|&byte| self.factor(byte)).collect();
        Tensor::from_vec(mask, like.shape(), like.device())?.to_dtype(like.dtype())
    }
}

/// The fused form; its own backward pass, since it is linear and diagonal.
#[derive(Clone)]
struct Fused(Mask);

/// Numbers that one thread handles at a time.
const CHUNK: usize = 16 * 1024;

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = slice(x, layout)?.to_vec();
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(at, out)| self.0.apply(at * CHUNK, out));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        grad.contiguous()?.apply_op1_no_bwd(self).map(Some)
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "dropout-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, y) = (slice(x, x_layout)?, slice(y, y_layout)?);
        if x.len() != y.len() {
            candle_core::bail!("{:?} and {:?} cannot be added", x_layout.dims(), y_layout.dims());
        }
        let Mask { bytes, .. } = &self.0;
        let mut out = x.to_vec();
        let others = y.par_chunks(CHUNK).zip(bytes.par_chunks(CHUNK));
        out.par_chunks_mut(CHUNK).zip(others).for_each(|(out, (y, bytes))| {
            for ((out, y), &byte) in out.iter_mut().zip(y).zip(bytes) {
                *out += y * self.0.factor(byte);
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _y: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let of_y = grad.contiguous()?.apply_op1_no_bwd(self)?;
        Ok((Some(grad.clone()), Some(of_y)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::composed;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn share_mean_and_gradient() {
        let x = random_var(&[100, 100], 1);
        let mut random = crate::device::source(3, 0);
        let mut dropout = Dropout { share: 0.25, random: Some(&mut random) };
        let y = dropout.apply(&x).unwrap();
        let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let zeros = values.iter().filter(|&&v| v == 0.0).count();
        assert!((2300..2700).contains(&zeros), "{zeros}");
        let grad = gradients(&[&x], &y.sum_all().unwrap()).pop().unwrap();
        for (grad, value) in grad.iter().zip(&values) {
            assert_eq!(*grad, if *value == 0.0 { 0.0 } else { 256.0 / 192.0 });
        }
        let (a, b) = (random_var(&[30, 7], 1), random_var(&[30, 7], 2));
        let draw = |seed| {
            let mut random = crate::device::source(seed, 0);
            let mut dropout = Dropout { share: 0.25, random: Some(&mut random) };
            let sum = dropout.add(&a, &b).unwrap();
            gradients(&[&a, &b], &sum.sqr().unwrap().sum_all().unwrap())
        };
        assert_close(&draw(5), &composed(|| draw(5)), 1e-5);
        let same = Dropout::off().apply(&x).unwrap();
        assert_eq!(same.to_vec2::<f32>().unwrap(), x.to_vec2::<f32>().unwrap());
    }
}
