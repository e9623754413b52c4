//! The feed-forward layer with SwiGLU (Shazeer 2020, arXiv 2002.05202).

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::exp::exp;
use super::host::{CHUNK, fused, slice, with};
use super::{Activation, Dropout, Linear, Params, mlp};
use crate::error::Result;

/// `W₂(silu(gate) · up)`, where `W₁` gives gate and up side by side.
pub(crate) struct FeedForward {
    gate_up: Linear,
    down: Linear,
}

impl FeedForward {
    /// A layer of `hidden` units over rows of `width`; `gain` scales the output as it begins.
    pub(super) fn new(
        params: &mut Params,
        name: &str,
        (width, hidden): (usize, usize),
        gain: f32,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let gate_up =
            Linear::new(params, format!("{name}.gate_up"), (width, 2 * hidden), 1.0, random)?;
        let down = Linear::new(params, format!("{name}.down"), (hidden, width), gain, random)?;
        Ok(FeedForward { gate_up, down })
    }

    /// `x`: rows × width, and so is the result.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weights = (self.gate_up.weight(), self.down.weight());
        mlp(x, weights, Activation::SwiGlu, &mut Dropout::off())
    }
}

/// `silu(gate) · up` of gate and up side by side.
pub(crate) fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    if fused(gate_up) {
        return Ok(gate_up.contiguous()?.apply_op1(Fused)?);
    }
    composed(gate_up)
}

fn composed(gate_up: &Tensor) -> Result<Tensor> {
    let hidden = gate_up.dim(1)? / 2;
    let gate = gate_up.narrow(1, 0, hidden)?;
    let up = gate_up.narrow(1, hidden, hidden)?;
    Ok((gate.silu()? * up)?)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The fused form.
struct Fused;

impl CustomOp1 for Fused {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate_up: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let gate_up = slice(gate_up, layout)?;
        let (rows, hidden) = (layout.dims()[0], layout.dims()[1] / 2);
        Ok((CpuStorage::F32(swiglu_forward(gate_up, hidden)), Shape::from((rows, hidden))))
    }

    fn bwd(
        &self,
        gate_up: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let hidden = gate_up.dim(1)? / 2;
        let d =
            with(gate_up, |gate_up| with(grad, |grad| swiglu_backward(gate_up, grad, hidden)))??;
        Tensor::from_vec(d, gate_up.shape(), gate_up.device()).map(Some)
    }
}

/// `silu(gate) · up` of rows of gate and up side by side, as many of each.
pub(super) fn swiglu_forward(gate_up: &[f32], hidden: usize) -> Vec<f32> {
    let mut out = vec![0f32; gate_up.len() / 2];
    out.par_chunks_mut(hidden * CHUNK).zip(gate_up.par_chunks(2 * hidden * CHUNK)).for_each(
        |(out, gate_up)| {
            for (out, row) in out.chunks_exact_mut(hidden).zip(gate_up.chunks_exact(2 * hidden)) {
                let (gate, up) = row.split_at(hidden);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = gate * sigmoid(*gate) * up;
                }
            }
        },
    );
    out
}

/// The gradient at gate and up from that at `silu(gate) · up`.
pub(super) fn swiglu_backward(gate_up: &[f32], grad: &[f32], hidden: usize) -> Vec<f32> {
    let mut d = vec![0f32; gate_up.len()];
    let wide = 2 * hidden * CHUNK;
    d.par_chunks_mut(wide)
        .zip(gate_up.par_chunks(wide).zip(grad.par_chunks(hidden * CHUNK)))
        .for_each(|(d, (gate_up, grad))| {
            let rows = gate_up.chunks_exact(2 * hidden).zip(grad.chunks_exact(hidden));
            for (d, (row, grad)) in d.chunks_exact_mut(2 * hidden).zip(rows) {
                let (gate, up) = row.split_at(hidden);
                let (dgate, dup) = d.split_at_mut(hidden);
                for at in 0..hidden {
                    let s = sigmoid(gate[at]);
                    dgate[at] = grad[at] * up[at] * s * (1.0 + gate[at] * (1.0 - s));
                    dup[at] = grad[at] * gate[at] * s;
                }
            }
        });
    d
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        let (x, weights) = (random_var(&[100, 14], 1), random_var(&[100, 7], 2));
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let ours = gradients(&[&x], &loss(swiglu(&x).unwrap()));
        let theirs = gradients(&[&x], &loss(composed(&x).unwrap()));
        assert_close(&ours, &theirs, 1e-5);
    }
}
