//! Linear layers with a bias and perhaps a ReLU, one after the other, with their gradients by hand: for chains
//! as plain as these that is shorter than a recorded graph, and no gradient is made that nobody asks for.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::host::{CHUNK, add_scaled, fused, slice_mut, with};
use super::{Init, Params};
use crate::error::Result;

/// `x · W + b`, perhaps cut off below zero.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    /// in × out.
    weight: Tensor,
    /// out.
    bias: Tensor,
    relu: bool,
}

impl Dense {
    /// A layer of variables: the weights by Xavier's normal rule times `gain` (Glorot and Bengio 2010), no bias.
    pub(crate) fn create(
        params: &mut Params,
        name: &str,
        (input, output): (usize, usize),
        (relu, gain): (bool, f32),
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let deviation = gain * (2.0 / (input + output) as f32).sqrt();
        let init = Init::Matrix(deviation);
        let weight = params.create(format!("{name}.weight"), &[input, output], init, random)?;
        let bias = params.create(format!("{name}.bias"), &[output], Init::Zeros, random)?;
        // The memory is shared: an update of the variable is seen here.
        let (weight, bias) = (weight.as_detached_tensor(), bias.as_detached_tensor());
        Ok(Dense { weight, bias, relu })
    }

    /// A layer of given numbers.
    pub(crate) fn new(weight: Tensor, bias: Tensor, relu: bool) -> Self {
        Dense { weight, bias, relu }
    }

    /// The numbers of the weight and of the bias.
    pub(crate) fn numbers(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((self.weight.flatten_all()?.to_vec1()?, self.bias.to_vec1()?))
    }

    /// `x`: rows × in. Gives rows × out.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let out = x.matmul(&self.weight)?;
        if fused(&out) {
            out.inplace_op1(&BiasRelu { bias: &self.bias, relu: self.relu })?;
            return Ok(out);
        }
        composed(&out, &self.bias, self.relu)
    }

    /// The gradient at `x · W + b` from the one at the result.
    fn before_relu(&self, out: &Tensor, grad: Tensor) -> Result<Tensor> {
        if !self.relu {
            return Ok(grad);
        }
        if fused(&grad) {
            grad.inplace_op1(&Masked { out })?;
            return Ok(grad);
        }
        Ok((&grad * out.gt(0f32)?.to_dtype(grad.dtype())?)?)
    }
}

/// The results of all layers, in their order.
pub(crate) fn forward(layers: &[Dense], x: &Tensor) -> Result<Vec<Tensor>> {
    let mut outs: Vec<Tensor> = Vec::with_capacity(layers.len());
    for layer in layers {
        outs.push(layer.forward(outs.last().unwrap_or(x))?);
    }
    Ok(outs)
}

/// What the results of `forward` lead back to: the gradients of weight and bias of each layer, in the order of
/// their creation, and that of `x` where it is wanted. `grad` is the gradient at the last result; its memory is
/// used up.
pub(crate) fn backward(
    layers: &[Dense],
    (x, outs): (&Tensor, &[Tensor]),
    grad: Tensor,
    wants_input: bool,
) -> Result<(Vec<Tensor>, Option<Tensor>)> {
    let mut grads = Vec::with_capacity(2 * layers.len());
    let mut grad = Some(grad);
    for (at, layer) in layers.iter().enumerate().rev() {
        let Some(above) = grad.take() else { break };
        let above = layer.before_relu(&outs[at], above)?;
        let input = if at == 0 { x } else { &outs[at - 1] };
        grads.push(column_sums(&above)?);
        grads.push(input.t()?.matmul(&above)?);
        if at > 0 || wants_input {
            grad = Some(above.matmul(&layer.weight.t()?)?);
        }
    }
    grads.reverse();
    Ok((grads, grad))
}

fn composed(out: &Tensor, bias: &Tensor, relu: bool) -> Result<Tensor> {
    let out = out.broadcast_add(bias)?;
    Ok(if relu { out.relu()? } else { out })
}

fn column_sums(grad: &Tensor) -> Result<Tensor> {
    if !fused(grad) {
        return Ok(grad.sum(0)?);
    }
    let width = grad.dim(1)?;
    let parts = with(grad, |grad| -> Vec<Vec<f32>> {
        let sum = |rows: &[f32]| {
            let mut sum = vec![0f32; width];
            rows.chunks_exact(width).for_each(|row| add_scaled(&mut sum, 1.0, row));
            sum
        };
        grad.par_chunks(CHUNK * width).map(sum).collect()
    })?;
    let mut sum = vec![0f32; width];
    for part in &parts {
        add_scaled(&mut sum, 1.0, part);
    }
    Ok(Tensor::from_vec(sum, width, grad.device())?)
}

/// Adds the bias and cuts off, in place.
struct BiasRelu<'a> {
    bias: &'a Tensor,
    relu: bool,
}

impl InplaceOp1 for BiasRelu<'_> {
    fn name(&self) -> &'static str {
        "bias-relu"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let out = slice_mut(storage, layout)?;
        let least = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        with(self.bias, |bias| {
            out.par_chunks_mut(bias.len() * CHUNK).for_each(|rows| {
                for row in rows.chunks_exact_mut(bias.len()) {
                    for (x, bias) in row.iter_mut().zip(bias) {
                        *x = (*x + bias).max(least);
                    }
                }
            });
        })
    }
}

/// Zeroes a gradient where the result was cut off, in place.
struct Masked<'a> {
    out: &'a Tensor,
}

impl InplaceOp1 for Masked<'_> {
    fn name(&self) -> &'static str {
        "relu-mask"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let grad = Mutex::new(slice_mut(storage, layout)?);
        with(self.out, |out| {
            let mut grad = grad.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            grad.par_chunks_mut(CHUNK * CHUNK).zip(out.par_chunks(CHUNK * CHUNK)).for_each(
                |(grad, out)| {
                    for (grad, out) in grad.iter_mut().zip(out) {
                        *grad = if *out > 0.0 { *grad } else { 0.0 };
                    }
                },
            );
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn gradients_by_hand_are_those_of_the_graph() {
        let x = random_var(&[70, 9], 1);
        let shapes = [(9, 6, true), (6, 12, true), (12, 3, false)];
        let vars: Vec<(Var, Var, bool)> = (10..)
            .zip(shapes)
            .map(|(seed, (input, output, relu))| {
                (random_var(&[input, output], seed), random_var(&[output], seed + 50), relu)
            })
            .collect();
        let weights = random_var(&[70, 3], 3);
        let mut out = x.as_tensor().clone();
        for (weight, bias, relu) in &vars {
            out = composed(&out.matmul(weight).unwrap(), bias, *relu).unwrap();
        }
        let loss = (out * weights.as_tensor()).unwrap().sum_all().unwrap();
        let mut all: Vec<&Var> = vars.iter().flat_map(|(weight, bias, _)| [weight, bias]).collect();
        all.push(&x);
        let theirs = gradients(&all, &loss);
        let layers: Vec<Dense> = vars
            .iter()
            .map(|(weight, bias, relu)| {
                Dense::new(weight.as_detached_tensor(), bias.as_detached_tensor(), *relu)
            })
            .collect();
        let input = x.as_detached_tensor();
        let outs = forward(&layers, &input).unwrap();
        let grad = weights.as_detached_tensor().copy().unwrap();
        let (mut ours, to_x) = backward(&layers, (&input, &outs), grad, true).unwrap();
        ours.push(to_x.unwrap());
        let ours: Vec<Vec<f32>> =
            ours.iter().map(|x| x.flatten_all().unwrap().to_vec1().unwrap()).collect();
        assert_close(&ours, &theirs[1..], 1e-4);
    }

    #[test]
    fn updates_of_a_variable_are_seen() {
        let mut params = Params::new(&Device::Cpu);
        let mut random = crate::device::source(1, 0);
        let layer = Dense::create(&mut params, "a", (2, 2), (false, 1.0), &mut random).unwrap();
        let bias = params.iter().last().unwrap();
        bias.var.set(&Tensor::new(&[5f32, 6.0], &Device::Cpu).unwrap()).unwrap();
        let zero = Tensor::zeros((1, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let out = layer.forward(&zero).unwrap().flatten_all().unwrap();
        assert_eq!(out.to_vec1::<f32>().unwrap(), [5.0, 6.0]);
    }
}
