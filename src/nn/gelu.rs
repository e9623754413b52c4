//! Bias and GELU in one pass (Hendrycks and Gimpel 2016, arXiv 1606.08415), in its exact form with
//! the error function. Without gradient: nothing trains through it.

use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::exp::exp;
use super::host::{CHUNK, fused, slice, slice_mut};
use crate::error::Result;

/// `gelu(x + bias)`. `x`: rows × width, and so is the result; `bias`: width. The numbers of `x` are
/// replaced on the processor, so give it what nobody else reads.
pub(crate) fn gelu(x: Tensor, bias: &Tensor) -> Result<Tensor> {
    if fused(&x) {
        x.inplace_op2(bias, &Fused)?;
        return Ok(x);
    }
    composed(&x, bias)
}

fn composed(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(x.broadcast_add(bias)?.gelu_erf()?)
}

/// The fused form.
struct Fused;

impl InplaceOp2 for Fused {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (x, bias) = (slice_mut(x, x_layout)?, slice(bias, bias_layout)?);
        x.par_chunks_mut(bias.len() * CHUNK).for_each(|x| Arch::new().dispatch(Rows { x, bias }));
        Ok(())
    }
}

/// Rows for one thread, run with the widest vector registers that the processor has.
struct Rows<'a> {
    x: &'a mut [f32],
    bias: &'a [f32],
}

impl NullaryFnOnce for Rows<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
    #[inline(always)]
    fn call(self) {
        for row in self.x.chunks_exact_mut(self.bias.len()) {
            for (x, bias) in row.iter_mut().zip(self.bias) {
                let sum = *x + bias;
                *x = 0.5 * sum * (1.0 + erf(sum * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
    }
}

/// The error function to about 3e-7 (Abramowitz and Stegun 1964, formula 7.1.26).
#[inline]
fn erf(x: f32) -> f32 {
    const P: f32 = 0.327_591_1;
    let positive = x.abs();
    let t = 1.0 / (1.0 + P * positive);
    let sum = 1.421_413_7 + t * (-1.453_152_1 + t * 1.061_405_4);
    let sum = t * (0.254_829_6 + t * (-0.284_496_72 + t * sum));
    (1.0 - sum * exp(-positive * positive)).copysign(x)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, random_var};

    #[test]
    fn close_to_the_series() {
        for step in -400..=400 {
            let x = f64::from(step) / 100.0;
            let (mut term, mut series) = (x, x);
            for n in 1..120 {
                term *= -x * x / f64::from(n);
                series += term / f64::from(2 * n + 1);
            }
            let exact = series * std::f64::consts::FRAC_2_SQRT_PI;
            let ours = f64::from(erf(x as f32));
            assert!((ours - exact).abs() < 5e-7, "{x}: {ours} {exact}");
        }
        assert_eq!((erf(30.0), erf(-30.0)), (1.0, -1.0));
    }

    #[test]
    fn fused_equals_composed() {
        let (x, bias) = (random_var(&[100, 14], 1), random_var(&[14], 2));
        let x = (x.as_tensor() * 4.0).unwrap();
        let theirs = composed(&x, &bias).unwrap().to_vec2().unwrap();
        assert_close(&gelu(x, &bias).unwrap().to_vec2().unwrap(), &theirs, 2e-6);
    }
}
