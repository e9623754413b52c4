//! Two products with an activation between them as one fused operation: what is between them is made, dropped and kept
//! once, and its gradient is made in place.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor, bail};
use rayon::prelude::*;

use super::Dropout;
use super::dropout::Mask;
use super::feed_forward::{swiglu, swiglu_backward, swiglu_forward};
use super::host::{fused, slice, with};
use super::matmul::{Matrix, matmul};
use crate::error::Result;

/// What stands between the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing below zero.
    Relu,
    /// `silu(gate) · up` of gate and up side by side (Shazeer 2020, arXiv 2002.05202).
    SwiGlu,
}

impl Activation {
    /// Numbers before the activation for each one after it.
    fn takes(self) -> usize {
        match self {
            Activation::Relu => 1,
            Activation::SwiGlu => 2,
        }
    }
}

/// `drop(act(x · up)) · down`, with gradient to all three. `x`: rows × in, `up`: in × hidden (2 · hidden for SwiGLU), `down`:
/// hidden × out. Gives rows × out.
pub(crate) fn mlp(
    x: &Tensor,
    (up, down): (&Tensor, &Tensor),
    activation: Activation,
    dropout: &mut Dropout<'_>,
) -> Result<Tensor> {
    if fused(x) && fused(up) && fused(down) {
        let mask = dropout.mask(x.dim(0)? * down.dim(0)?);
        let op = Fused { activation, mask, before: OnceLock::new() };
        let (up, down) = (up.contiguous()?, down.contiguous()?);
        return Ok(x.contiguous()?.apply_op3(&up, &down, op)?);
    }
    let hidden = matmul(x, up)?;
    let hidden = match activation {
        Activation::Relu => hidden.relu()?,
        Activation::SwiGlu => swiglu(&hidden)?,
    };
    Ok(matmul(&dropout.apply(&hidden)?, down)?)
}

/// The fused form.
struct Fused {
    activation: Activation,
    mask: Option<Mask>,
    /// What the first product gave; for ReLU what was left of it.
    before: OnceLock<Vec<f32>>,
}

/// Numbers that one thread handles at a time.
const CHUNK: usize = 16 * 1024;

/// A matrix whose rows lie one after the other.
fn whole(numbers: &[f32], columns: usize) -> Matrix<'_> {
    Matrix::new(numbers, numbers.len() / columns.max(1), columns, columns)
}

impl Fused {
    /// What goes into the second product. ReLU and dropout leave it in the place of what came out of the first.
    fn after(&self, before: Vec<f32>, hidden: usize) -> (Vec<f32>, Option<Vec<f32>>) {
        match self.activation {
            Activation::Relu => {
                let mut left = before;
                left.par_chunks_mut(CHUNK).enumerate().for_each(|(at, left)| {
                    for x in left.iter_mut() {
                        *x = x.max(0.0);
                    }
                    if let Some(mask) = &self.mask {
                        mask.apply(at * CHUNK, left);
                    }
                });
                (left, None)
            }
            Activation::SwiGlu => (self.gated(&before, hidden), Some(before)),
        }
    }

    fn gated(&self, before: &[f32], hidden: usize) -> Vec<f32> {
        let mut after = swiglu_forward(before, hidden);
        self.drop(&mut after);
        after
    }

    fn drop(&self, numbers: &mut [f32]) {
        if let Some(mask) = &self.mask {
            let chunks = numbers.par_chunks_mut(CHUNK).enumerate();
            chunks.for_each(|(at, numbers)| mask.apply(at * CHUNK, numbers));
        }
    }

    /// What went into the second product, and from the gradient at it that at what came out of the first.
    fn back<'b>(
        &self,
        before: &'b [f32],
        mut grad: Vec<f32>,
        hidden: usize,
    ) -> (Kept<'b>, Vec<f32>) {
        match self.activation {
            Activation::Relu => {
                let scale = self.mask.as_ref().map_or(1.0, |mask| mask.scale);
                let pairs = grad.par_chunks_mut(CHUNK).zip(before.par_chunks(CHUNK));
                pairs.for_each(|(grad, left)| {
                    for (grad, left) in grad.iter_mut().zip(left) {
                        *grad *= if *left > 0.0 { scale } else { 0.0 };
                    }
                });
                (Kept::There(before), grad)
            }
            Activation::SwiGlu => {
                self.drop(&mut grad);
                let grad = swiglu_backward(before, &grad, hidden);
                (Kept::Again(self.gated(before, hidden)), grad)
            }
        }
    }
}

/// What went into the second product.
enum Kept<'b> {
    There(&'b [f32]),
    Again(Vec<f32>),
}

impl Kept<'_> {
    fn numbers(&self) -> &[f32] {
        match self {
            Kept::There(numbers) => numbers,
            Kept::Again(numbers) => numbers,
        }
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
        down: &CpuStorage,
        down_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((rows, input), (inner, wide)) =
            (x_layout.shape().dims2()?, up_layout.shape().dims2()?);
        let (hidden, output) = down_layout.shape().dims2()?;
        if inner != input || wide != hidden * self.activation.takes() {
            let (up, down) = (up_layout.dims(), down_layout.dims());
            bail!("rows of {input} do not go through {up:?} and {down:?}");
        }
        let x = whole(slice(x, x_layout)?, input);
        let before = x.times(whole(slice(up, up_layout)?, wide));
        let (after, before) = self.after(before, hidden);
        let out = whole(&after, hidden).times(whole(slice(down, down_layout)?, output));
        // An operation runs forward once; if ever twice, it gives the same.
        drop(self.before.set(before.unwrap_or(after)));
        Ok((CpuStorage::F32(out), (rows, output).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        up: &Tensor,
        down: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(before) = self.before.get() else {
            bail!("a backward pass comes after a forward pass");
        };
        let ((input, wide), (hidden, output)) = (up.dims2()?, down.dims2()?);
        let back = |x: &[f32], up: &[f32], down: &[f32], grad: &[f32]| {
            let grad = whole(grad, output);
            let (after, middle) = self.back(before, grad.times(whole(down, output).t()), hidden);
            let of_down = whole(after.numbers(), hidden).t().times(grad);
            let middle = whole(&middle, wide);
            (middle.times(whole(up, wide).t()), whole(x, input).t().times(middle), of_down)
        };
        let (dx, dup, ddown) = with(x, |x| {
            with(up, |up| with(down, |down| with(grad, |grad| back(x, up, down, grad))))
        })????;
        let tensor =
            |numbers, like: &Tensor| Tensor::from_vec(numbers, like.shape(), like.device());
        Ok((Some(tensor(dx, x)?), Some(tensor(dup, up)?), Some(tensor(ddown, down)?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::composed;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        for activation in [Activation::Relu, Activation::SwiGlu] {
            let x = random_var(&[70, 6], 1);
            let up = random_var(&[6, 9 * activation.takes()], 2);
            let down = random_var(&[9, 5], 3);
            let weights = random_var(&[70, 5], 4);
            for share in [0.0, 0.5] {
                // The numbers that are dropped come from the same source in both.
                let run = || {
                    let mut random = crate::device::source(3, 0);
                    let mut dropout = Dropout { share, random: Some(&mut random) };
                    let y = mlp(&x, (&up, &down), activation, &mut dropout).unwrap();
                    gradients(
                        &[&x, &up, &down],
                        &(y * weights.as_tensor()).unwrap().sum_all().unwrap(),
                    )
                };
                assert_close(&run(), &composed(run), 1e-4);
            }
        }
        let (x, up) = (random_var(&[2, 3], 1), random_var(&[4, 4], 2));
        assert!(mlp(&x, (&up, &up), Activation::Relu, &mut Dropout::off()).is_err());
    }
}
