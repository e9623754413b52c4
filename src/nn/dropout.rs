//! Dropout (Srivastava et al. 2014) from a seeded source.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
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
        let limit = (self.share * 256.0).round().clamp(0.0, 255.0) as u8;
        let Some(random) = self.random.as_mut().filter(|_| limit > 0) else {
            return Ok(x.clone());
        };
        let mut bytes = vec![0u8; x.elem_count()];
        random.fill_bytes(&mut bytes);
        let scale = 256.0 / (256.0 - f32::from(limit));
        if fused(x) {
            return Ok(x.contiguous()?.apply_op1(Fused { bytes: bytes.into(), limit, scale })?);
        }
        let mask: Vec<f32> = bytes.iter().map(|&byte| keep(byte, limit, scale)).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok((x * mask)?)
    }
}

fn keep(byte: u8, limit: u8, scale: f32) -> f32 {
    if byte >= limit { scale } else { 0.0 }
}

/// The fused form; its own backward pass, since it is linear and diagonal.
#[derive(Clone)]
struct Fused {
    bytes: Arc<[u8]>,
    limit: u8,
    scale: f32,
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut out = vec![0f32; x.len()];
        const CHUNK: usize = 16 * 1024;
        out.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK).zip(self.bytes.par_chunks(CHUNK)))
            .for_each(|(out, (x, bytes))| {
                for ((out, x), &byte) in out.iter_mut().zip(x).zip(bytes) {
                    *out = x * keep(byte, self.limit, self.scale);
                }
            });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{gradients, random_var};

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
        let same = Dropout::off().apply(&x).unwrap();
        assert_eq!(same.to_vec2::<f32>().unwrap(), x.to_vec2::<f32>().unwrap());
    }
}
