//! RMS norm (Zhang and Sennrich 2019, arXiv 1910.07467).

use candle_core::{CpuStorage, CustomOp2, D, Layout, Shape, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::host::{CHUNK, dot, fused, slice, with};
use super::{Init, Params};
use crate::error::Result;

/// Keeps the division finite for a row of zeros.
const EPSILON: f32 = 1e-6;

/// Brings each row to unit mean square, then scales each column.
pub(crate) struct RmsNorm {
    scale: Var,
}

impl RmsNorm {
    /// A norm over rows of `width` numbers.
    pub(crate) fn new(
        params: &mut Params,
        name: String,
        width: usize,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        Ok(RmsNorm { scale: params.create(name, &[width], Init::Ones, random)? })
    }

    /// `x`: rows × width, and so is the result.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.scale, EPSILON)
    }
}

/// Brings each row to unit mean square (`epsilon` is added to it), then scales each column. `x`: rows × width, and so is
/// the result.
pub(crate) fn rms_norm(x: &Tensor, scale: &Tensor, epsilon: f32) -> Result<Tensor> {
    if fused(x) {
        return Ok(x.contiguous()?.apply_op2(scale, Fused { epsilon })?);
    }
    composed(x, scale, epsilon)
}

fn composed(x: &Tensor, scale: &Tensor, epsilon: f32) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?; // rows × 1
    let root = (mean_square + f64::from(epsilon))?.sqrt()?;
    Ok(x.broadcast_div(&root)?.broadcast_mul(scale)?)
}

/// The fused form.
struct Fused {
    epsilon: f32,
}

/// One over the root of the mean square.
fn inverse_root(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + epsilon).sqrt()
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, scale) = (slice(x, x_layout)?, slice(scale, scale_layout)?);
        let width = scale.len();
        let mut out = vec![0f32; x.len()];
        let chunk = width * CHUNK;
        out.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let inverse = inverse_root(x, self.epsilon);
                for ((out, x), scale) in out.iter_mut().zip(x).zip(scale) {
                    *out = x * inverse * scale;
                }
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let back = |x: &[f32], scale: &[f32], grad: &[f32]| backward(x, scale, grad, self.epsilon);
        let (dx, dscale) =
            with(x, |x| with(scale, |scale| with(grad, |grad| back(x, scale, grad))))???;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let dscale = Tensor::from_vec(dscale, scale.shape(), x.device())?;
        Ok((Some(dx), Some(dscale)))
    }
}

/// With `n = x·i` and `i` the inverse root: `dx = i·(g·s − n·mean(g·s·n))`, `ds = Σ g·n`.
fn backward(x: &[f32], scale: &[f32], grad: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = scale.len();
    let mut dx = vec![0f32; x.len()];
    let chunk = width * CHUNK;
    let parts: Vec<Vec<f32>> = dx
        .par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk).zip(grad.par_chunks(chunk)))
        .map(|(dx, (x, grad))| {
            let mut dscale = vec![0f32; width];
            let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
            for (dx, (x, grad)) in dx.chunks_exact_mut(width).zip(rows) {
                let inverse = inverse_root(x, epsilon);
                for at in 0..width {
                    dx[at] = grad[at] * scale[at];
                    dscale[at] += grad[at] * x[at] * inverse;
                }
                let mean = dot(dx, x) * inverse / width as f32;
                for at in 0..width {
                    dx[at] = inverse * (dx[at] - x[at] * inverse * mean);
                }
            }
            dscale
        })
        .collect();
    let mut dscale = vec![0f32; width];
    for part in parts {
        for (sum, part) in dscale.iter_mut().zip(part) {
            *sum += part;
        }
    }
    (dx, dscale)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let (x, scale) = (random_var(&[150, 24], 1), random_var(&[24], 2));
        let weights = random_var(&[150, 24], 3);
        let vars = [&x, &scale];
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let ours = gradients(&vars, &loss(x.apply_op2(&scale, Fused { epsilon: 1e-3 }).unwrap()));
        let theirs = gradients(&vars, &loss(composed(&x, &scale, 1e-3).unwrap()));
        assert_close(&ours, &theirs, 2e-5);
    }
}
