//! The network of the kinds that learn a latent space: encoder, codebooks, decoder; perhaps the fusion of CMSA in
//! front. Forward and backward by hand, on whatever device its variables are.

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha8Rng;

use super::coder::{Coder, Linear, Step};
use crate::error::{Error, Result};
use crate::nn::dense::{self, Dense};
use crate::nn::{Init, Params};

/// The shape of a network.
pub(super) struct Shape {
    /// Components of an input vector.
    pub(super) input: usize,
    /// Components of its parts, to be fused by learned matrices; empty for none.
    pub(super) parts: Vec<usize>,
    /// Hidden units of the encoder, layer by layer; those of the decoder are the mirror.
    pub(super) hidden: Vec<usize>,
    /// Components of a latent vector.
    pub(super) latent: usize,
    /// Whether encoder and decoder add to their input what they compute, and begin with nothing.
    pub(super) residual: bool,
    /// Codes of each level.
    pub(super) sizes: Vec<usize>,
}

/// The network.
pub(super) struct Net {
    pub(super) params: Params,
    shape: Shape,
    fusion: Option<Fusion>,
    encoder: Vec<Dense>,
    decoder: Vec<Dense>,
    pub(super) codebooks: Vec<Var>,
}

/// `W_v` of each part but the first, and `W_f`.
struct Fusion {
    views: Vec<Var>,
    join: Var,
}

/// What a forward pass keeps for the backward pass.
pub(super) struct Pass {
    x: Tensor,
    /// The parts side by side, all of the length of the first.
    aligned: Option<Tensor>,
    /// What the encoder sees.
    seen: Tensor,
    outs: Vec<Tensor>,
    /// The latent vectors, rows × latent.
    pub(super) latent: Tensor,
}

impl Net {
    /// A network with random weights; the codebooks are zero.
    pub(super) fn new(shape: Shape, device: &Device, random: &mut ChaCha8Rng) -> Result<Self> {
        let mut params = Params::new(device);
        let mut seen = shape.input;
        let mut fusion = None;
        if let Some((&first, rest)) = shape.parts.split_first() {
            let views = rest
                .iter()
                .enumerate()
                .map(|(at, width)| xavier(&mut params, format!("view.{at}"), *width, first, random))
                .collect::<Result<_>>()?;
            let joined = shape.parts.len() * first;
            let join = xavier(&mut params, "join".to_owned(), joined, first, random)?;
            fusion = Some(Fusion { views, join });
            seen = first;
        }
        let there: Vec<usize> =
            [seen].iter().chain(&shape.hidden).chain([&shape.latent]).copied().collect();
        let mut back: Vec<usize> = there.iter().rev().copied().collect();
        if let Some(last) = back.last_mut() {
            *last = shape.input;
        }
        let encoder = chain(&mut params, "encoder", &there, shape.residual, random)?;
        let decoder = chain(&mut params, "decoder", &back, shape.residual, random)?;
        let mut codebooks = Vec::new();
        for (level, size) in shape.sizes.iter().enumerate() {
            let name = format!("codebook.{level}");
            codebooks.push(params.create(name, &[*size, shape.latent], Init::Zeros, random)?);
        }
        Ok(Net { params, shape, fusion, encoder, decoder, codebooks })
    }

    /// Components of a latent vector.
    pub(super) fn latent_dim(&self) -> usize {
        self.shape.latent
    }

    /// The device of the variables.
    pub(super) fn device(&self) -> &Device {
        self.codebooks[0].device()
    }

    /// `x`: rows × input.
    pub(super) fn forward(&self, x: Tensor) -> Result<Pass> {
        let (aligned, seen) = match &self.fusion {
            None => (None, x.clone()),
            Some(fusion) => {
                let aligned = fusion.aligned(&x, &self.shape.parts)?;
                let seen = aligned.matmul(&fusion.join.as_detached_tensor())?;
                (Some(aligned), seen)
            }
        };
        let outs = dense::forward(&self.encoder, &seen)?;
        let latent = self.with_input(&outs, &seen)?;
        Ok(Pass { x, aligned, seen, outs, latent })
    }

    fn with_input(&self, outs: &[Tensor], input: &Tensor) -> Result<Tensor> {
        let out = outs.last().ok_or_else(|| Error::internal("a network without layers"))?;
        Ok(if self.shape.residual { (out + input)? } else { out.clone() })
    }

    /// The mean squared error of what the decoder makes of `quantized` (rows × latent) against the input, its
    /// gradient at `quantized`, and those of the decoder.
    pub(super) fn reconstruct(
        &self,
        pass: &Pass,
        quantized: &Tensor,
    ) -> Result<(f64, Tensor, Vec<Tensor>)> {
        let outs = dense::forward(&self.decoder, quantized)?;
        let gap = (self.with_input(&outs, quantized)? - &pass.x)?;
        let count = gap.elem_count() as f64;
        let loss = f64::from(gap.sqr()?.sum_all()?.to_scalar::<f32>()?) / count;
        let grad = (gap * (2.0 / count))?;
        let (grads, back) = dense::backward(&self.decoder, (quantized, &outs), grad.clone(), true)?;
        let back = back.ok_or_else(|| Error::internal("the gradient stops at the decoder"))?;
        let back = if self.shape.residual { (back + grad)? } else { back };
        Ok((loss, back, grads))
    }

    /// The gradients of fusion and encoder from the one at the latent vectors.
    pub(super) fn backward(&self, pass: &Pass, grad: Tensor) -> Result<Vec<Tensor>> {
        let wants_input = self.fusion.is_some();
        let (mut grads, to_seen) =
            dense::backward(&self.encoder, (&pass.seen, &pass.outs), grad.clone(), wants_input)?;
        if let (Some(fusion), Some(aligned), Some(to_seen)) = (&self.fusion, &pass.aligned, to_seen)
        {
            let to_seen = if self.shape.residual { (to_seen + grad)? } else { to_seen };
            let mut front = fusion.backward(&pass.x, aligned, &to_seen, &self.shape.parts)?;
            front.append(&mut grads);
            grads = front;
        }
        Ok(grads)
    }

    /// The codewords of a level, row-major.
    pub(super) fn codebook(&self, level: usize) -> Result<Vec<f32>> {
        Ok(self.codebooks[level].flatten_all()?.to_vec1()?)
    }

    /// Replaces the codewords of a level.
    pub(super) fn set_codebook(&self, level: usize, codebook: &[f32]) -> Result<()> {
        let var = &self.codebooks[level];
        Ok(var.set(&Tensor::from_slice(codebook, var.shape(), var.device())?)?)
    }

    /// Encoder and decoder as they are stored, between steps that standardise.
    pub(super) fn coders(&self, (before, after): (Step, Step)) -> Result<(Coder, Coder)> {
        let mut steps = vec![before];
        let mut seen = self.shape.input;
        if let (Some(fusion), Some(&first)) = (&self.fusion, self.shape.parts.first()) {
            let matrix = |var: &Var| -> Result<Linear> {
                Ok(Linear::matrix(var.flatten_all()?.to_vec1()?, var.dim(0)?))
            };
            let views = fusion.views.iter().map(matrix).collect::<Result<_>>()?;
            steps.push(Step::Fusion { views, join: matrix(&fusion.join)? });
            seen = first;
        }
        let (hidden, latent) = (&self.shape.hidden, self.shape.latent);
        let there: Vec<usize> = [seen].iter().chain(hidden).chain([&latent]).copied().collect();
        let mut back: Vec<usize> = there.iter().rev().copied().collect();
        if let Some(last) = back.last_mut() {
            *last = self.shape.input;
        }
        let residual = self.shape.residual;
        steps.push(Step::Layers { layers: stored(&self.encoder, &there)?, residual });
        let layers = stored(&self.decoder, &back)?;
        Ok((Coder::new(steps), Coder::new(vec![Step::Layers { layers, residual }, after])))
    }
}

impl Fusion {
    fn aligned(&self, x: &Tensor, parts: &[usize]) -> Result<Tensor> {
        let mut aligned = vec![x.narrow(1, 0, parts[0])?];
        let mut at = parts[0];
        for (view, width) in self.views.iter().zip(&parts[1..]) {
            let part = x.narrow(1, at, *width)?.contiguous()?;
            aligned.push(part.matmul(&view.as_detached_tensor())?);
            at += width;
        }
        Ok(Tensor::cat(&aligned, 1)?)
    }

    fn backward(
        &self,
        x: &Tensor,
        aligned: &Tensor,
        grad: &Tensor,
        parts: &[usize],
    ) -> Result<Vec<Tensor>> {
        let to_aligned = grad.matmul(&self.join.as_detached_tensor().t()?)?;
        let mut grads = Vec::new();
        let mut at = parts[0];
        for (which, width) in parts[1..].iter().enumerate() {
            let part = x.narrow(1, at, *width)?.contiguous()?;
            let above = to_aligned.narrow(1, (which + 1) * parts[0], parts[0])?.contiguous()?;
            grads.push(part.t()?.matmul(&above)?);
            at += width;
        }
        grads.push(aligned.t()?.matmul(grad)?);
        Ok(grads)
    }
}

fn xavier(
    params: &mut Params,
    name: String,
    input: usize,
    output: usize,
    random: &mut ChaCha8Rng,
) -> Result<Var> {
    let deviation = (2.0 / (input + output) as f32).sqrt();
    params.create(name, &[input, output], Init::Matrix(deviation), random)
}

/// Layers between these widths, all but the last with a ReLU.
fn chain(
    params: &mut Params,
    name: &str,
    widths: &[usize],
    begins_with_nothing: bool,
    random: &mut ChaCha8Rng,
) -> Result<Vec<Dense>> {
    let last = widths.len() - 2;
    let layer = |(at, pair): (usize, &[usize])| {
        let gain = if at == last && begins_with_nothing { 0.0 } else { 1.0 };
        let name = format!("{name}.{at}");
        Dense::create(params, &name, (pair[0], pair[1]), (at < last, gain), random)
    };
    widths.windows(2).enumerate().map(layer).collect()
}

fn stored(layers: &[Dense], widths: &[usize]) -> Result<Vec<Linear>> {
    let pairs = layers.iter().zip(widths.windows(2)).enumerate();
    pairs
        .map(|(at, (layer, pair))| Linear::of(layer, (pair[0], pair[1]), at + 1 < layers.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;

    use super::*;
    use crate::device::source;

    fn tensor(rows: usize, width: usize, seed: u64) -> Tensor {
        let mut random = source(seed, 0);
        let data: Vec<f32> = (0..rows * width).map(|_| random.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(data, (rows, width), &Device::Cpu).unwrap()
    }

    fn nets() -> [Net; 3] {
        let shape = |parts: Vec<usize>, latent, residual| Shape {
            input: 6,
            parts,
            hidden: vec![7, 5],
            latent,
            residual,
            sizes: vec![4, 4],
        };
        [(vec![], 3, false), (vec![], 6, true), (vec![2, 3, 1], 3, false)].map(
            |(parts, latent, residual)| {
                let mut random = source(1, 1);
                let shape = shape(parts, latent, residual);
                let net = Net::new(shape, &Device::Cpu, &mut random).unwrap();
                // Layers that begin with nothing have no gradient to check behind them.
                for param in net.params.iter() {
                    let noise = tensor(1, param.var.elem_count(), 7);
                    let noise = (noise.reshape(param.var.shape()).unwrap() * 0.3).unwrap();
                    param.var.set(&(param.var.as_tensor() + noise).unwrap()).unwrap();
                }
                net
            },
        )
    }

    /// The loss with the latent vectors taken as they are.
    fn loss(net: &Net) -> f64 {
        let pass = net.forward(tensor(20, 6, 5)).unwrap();
        net.reconstruct(&pass, &pass.latent).unwrap().0
    }

    #[test]
    fn gradients_are_those_of_small_steps() {
        for net in nets() {
            let pass = net.forward(tensor(20, 6, 5)).unwrap();
            let (_, back, decoder) = net.reconstruct(&pass, &pass.latent).unwrap();
            let mut grads = net.backward(&pass, back).unwrap();
            grads.extend(decoder);
            for (param, grad) in net.params.iter().zip(grads) {
                assert_eq!(param.var.dims(), grad.dims(), "{}", param.name);
                let before = param.var.as_tensor().copy().unwrap();
                let direction = tensor(1, grad.elem_count(), 9).reshape(grad.shape()).unwrap();
                let at = |step: f64| {
                    param.var.set(&(&before + (&direction * step).unwrap()).unwrap()).unwrap();
                    loss(&net)
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                at(0.0);
                let ours = (grad * direction).unwrap().sum_all().unwrap();
                let ours = f64::from(ours.to_scalar::<f32>().unwrap());
                assert!(
                    (slope - ours).abs() < 2e-3 + 0.03 * ours.abs(),
                    "{}: {slope} {ours}",
                    param.name
                );
            }
        }
    }

    #[test]
    fn stored_coders_do_what_the_network_does() {
        for net in nets() {
            let same = || Step::Affine { centre: vec![0.0; 6], scale: 1.0 };
            let (encoder, decoder) = net.coders((same(), same())).unwrap();
            assert!(encoder.is_whole() && decoder.is_whole());
            let x = tensor(1, 6, 8);
            let input: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
            let latent: Vec<f32> =
                net.forward(x).unwrap().latent.flatten_all().unwrap().to_vec1().unwrap();
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close(&encoder.apply(&input), &latent));
            assert_eq!(decoder.apply(&latent).len(), 6);
        }
    }
}
