//! Layer norm behind a residual path (Ba et al. 2016, arXiv 1607.06450; its place after the sum is
//! that of Vaswani et al. 2017). Without gradient: nothing trains through it.

use candle_core::{CpuStorage, D, InplaceOp3, Layout, Tensor};
use rayon::prelude::*;

use super::host::{CHUNK, dot, fused, slice, slice_mut, sum};
use crate::error::Result;

/// Adds a residual path and the bias of the layer before, brings each row to mean 0 and variance 1,
/// then scales and shifts each column.
pub(crate) struct LayerNorm {
    /// Bias, scale and shift: 3 × width.
    columns: Tensor,
    epsilon: f32,
}

impl LayerNorm {
    /// A norm with given weights, each of `width` numbers. `epsilon` keeps the division finite.
    pub(crate) fn new(
        bias: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        epsilon: f32,
    ) -> candle_core::Result<Self> {
        Ok(LayerNorm { columns: Tensor::stack(&[bias, scale, shift], 0)?, epsilon })
    }

    /// The norm of `x + residual + bias`. Both: rows × width, and so is the result. The numbers of
    /// `x` are replaced on the processor, so give it what nobody else reads.
    pub(crate) fn forward(&self, x: Tensor, residual: &Tensor) -> Result<Tensor> {
        if fused(&x) {
            let residual = residual.contiguous()?;
            x.inplace_op3(&residual, &self.columns, &Fused { epsilon: self.epsilon })?;
            return Ok(x);
        }
        self.composed(&x, residual)
    }

    fn composed(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let column = |at: usize| self.columns.get(at);
        let x = (x + residual)?.broadcast_add(&column(0)?)?;
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(self.epsilon))?.sqrt()?;
        let x = x.broadcast_div(&deviation)?;
        Ok(x.broadcast_mul(&column(1)?)?.broadcast_add(&column(2)?)?)
    }
}

/// The fused form.
struct Fused {
    epsilon: f32,
}

impl InplaceOp3 for Fused {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
        columns: &CpuStorage,
        columns_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (x, residual) = (slice_mut(x, x_layout)?, slice(residual, residual_layout)?);
        let (width, columns) = (columns_layout.dims()[1], slice(columns, columns_layout)?);
        let (bias, columns) = columns.split_at(width);
        let (scale, shift) = columns.split_at(width);
        let chunk = width * CHUNK;
        x.par_chunks_mut(chunk).zip(residual.par_chunks(chunk)).for_each(|(x, residual)| {
            for (x, residual) in x.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
                for ((x, residual), bias) in x.iter_mut().zip(residual).zip(bias) {
                    *x += residual + bias;
                }
                let mean = sum(x) / width as f32;
                for x in &mut *x {
                    *x -= mean;
                }
                let inverse = 1.0 / (dot(x, x) / width as f32 + self.epsilon).sqrt();
                for ((x, scale), shift) in x.iter_mut().zip(scale).zip(shift) {
                    *x = *x * inverse * scale + shift;
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, random_var};

    #[test]
    fn fused_equals_composed() {
        let (x, residual) = (random_var(&[150, 24], 1), random_var(&[150, 24], 2));
        let column = |seed| random_var(&[24], seed);
        let norm = LayerNorm::new(&column(3), &column(4), &column(5), 1e-5).unwrap();
        let theirs = norm.composed(&x, &residual).unwrap().to_vec2().unwrap();
        let x = x.as_tensor().copy().unwrap();
        let ours = norm.forward(x, &residual).unwrap().to_vec2().unwrap();
        assert_close(&ours, &theirs, 1e-5);
    }
}
