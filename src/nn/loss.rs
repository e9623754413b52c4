//! Cross-entropy from logits, and log-softmax for decoding.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::exp::{exp, softmax};
use super::host::{CHUNK, fused, slice, with};
use crate::error::{Error, Result};

/// The mean over rows of the negative log-probability of the targets. A scalar.
///
/// `logits`: rows × codes. Every target is a code.
pub(crate) fn cross_entropy(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    let (rows, codes) = logits.dims2()?;
    if targets.len() != rows || rows == 0 || targets.iter().any(|&code| code as usize >= codes) {
        return Err(Error::internal(format!("targets do not fit logits of {rows} × {codes}")));
    }
    if fused(logits) {
        return Ok(logits.contiguous()?.apply_op1(Fused { targets: targets.into() })?);
    }
    composed(logits, targets)
}

fn composed(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    Ok(log_prob(logits, targets)?.mean_all()?.neg()?)
}

/// The log-probability of the target of each row. Rows.
///
/// `logits`: rows × codes. Every target is a code.
pub(crate) fn log_prob(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    let (rows, codes) = logits.dims2()?;
    if targets.len() != rows || targets.iter().any(|&code| code as usize >= codes) {
        return Err(Error::internal(format!("targets do not fit logits of {rows} × {codes}")));
    }
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?; // rows × 1
    let targets = Tensor::from_vec(targets, (rows, 1), logits.device())?;
    Ok((shifted.gather(&targets, D::Minus1)? - log_sum)?.squeeze(D::Minus1)?)
}

/// Log-probabilities of each row as plain numbers, row-major. Without gradient.
pub(crate) fn log_softmax(logits: &Tensor) -> Result<Vec<f32>> {
    let codes = logits.dim(D::Minus1)?;
    let mut values = logits.flatten_all()?.to_vec1::<f32>()?;
    values.par_chunks_mut(codes * CHUNK).for_each(|rows| {
        for row in rows.chunks_exact_mut(codes) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|value| exp(value - max)).sum();
            let log_sum = max + sum.ln();
            for value in row.iter_mut() {
                *value -= log_sum;
            }
        }
    });
    Ok(values)
}

/// The fused form.
struct Fused {
    targets: Arc<[u32]>,
}

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let logits = slice(logits, layout)?;
        let codes = layout.dims()[1];
        let parts: Vec<f64> = logits
            .par_chunks(codes * CHUNK)
            .zip(self.targets.par_chunks(CHUNK))
            .map(|(logits, targets)| {
                let mut row = vec![0f32; codes];
                let mut sum = 0f64;
                for (logits, &target) in logits.chunks_exact(codes).zip(targets) {
                    row.copy_from_slice(logits);
                    sum += f64::from(softmax(&mut row) - logits[target as usize]);
                }
                sum
            })
            .collect();
        let mean = parts.iter().sum::<f64>() / self.targets.len() as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let codes = logits.dim(1)?;
        let scale = grad.to_scalar::<f32>()? / self.targets.len() as f32;
        let d = with(logits, |logits| {
            let mut d = logits.to_vec();
            d.par_chunks_mut(codes * CHUNK).zip(self.targets.par_chunks(CHUNK)).for_each(
                |(d, targets)| {
                    for (d, &target) in d.chunks_exact_mut(codes).zip(targets) {
                        softmax(d);
                        d[target as usize] -= 1.0;
                        for d in d.iter_mut() {
                            *d *= scale;
                        }
                    }
                },
            );
            d
        })?;
        Tensor::from_vec(d, logits.shape(), logits.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let x = random_var(&[130, 9], 1);
        let logits = (x.as_tensor() * 5.0).unwrap();
        let targets: Vec<u32> = (0..130).map(|row| row % 9).collect();
        let theirs = gradients(&[&x], &composed(&logits, targets.clone()).unwrap());
        let ours = gradients(&[&x], &cross_entropy(&logits, targets).unwrap());
        assert_close(&ours, &theirs, 1e-5);
        assert!(cross_entropy(&logits, vec![9; 130]).is_err());
    }

    #[test]
    fn log_softmax_is_normalized() {
        let values = log_softmax(&random_var(&[3, 11], 4)).unwrap();
        for row in values.chunks(11) {
            assert!((row.iter().map(|v| v.exp()).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}
