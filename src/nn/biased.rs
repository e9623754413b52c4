//! The weights of attention from its scores and a bias on them, as T5 has it (Raffel et al. 2020, arXiv 1910.10683), in one
//! pass over the scores.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::attention::softmax as composed;
use super::exp::softmax;
use super::host::{CHUNK, add_scaled, dot, fused, slice, with};
use crate::error::{Error, Result};

/// The softmax over keys of `scores + bias`, with gradient to both.
///
/// `scores`: sequences × heads × queries × keys, and so is the result. `bias` has as many keys, and of the other
/// dimensions as many or one.
pub(crate) fn softmax_biased(scores: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (all, of_bias) = (scores.dims4()?, bias.dims4()?);
    let spreads = |bias: usize, all: usize| bias == all || bias == 1;
    let fits = spreads(of_bias.0, all.0)
        && spreads(of_bias.1, all.1)
        && spreads(of_bias.2, all.2)
        && of_bias.3 == all.3;
    if !fits {
        let message = format!("a bias of {of_bias:?} does not fit scores of {all:?}");
        return Err(Error::internal(message));
    }
    if fused(scores) {
        return Ok(scores.contiguous()?.apply_op2(&bias.contiguous()?, Fused)?);
    }
    composed(&scores.broadcast_add(bias)?)
}

/// Scores that one thread is done with sooner than others could be woken.
const FEW: usize = 64 * 1024;

/// The fused form.
struct Fused;

/// Where the bias of each row of scores begins.
struct Spread {
    heads: usize,
    queries: usize,
    keys: usize,
    /// Steps of the bias from one sequence, head and query to the next; 0 where it has one for all.
    steps: [usize; 3],
}

impl Spread {
    fn new(scores: &[usize], bias: &[usize]) -> Self {
        let (heads, queries, keys) = (scores[1], scores[2], scores[3]);
        let step = |at: usize| {
            if bias[at] == 1 { 0 } else { bias[at + 1..].iter().product() }
        };
        Spread { heads, queries, keys, steps: [step(0), step(1), step(2)] }
    }

    /// The bias of a row of scores.
    fn of<'b>(&self, bias: &'b [f32], row: usize) -> &'b [f32] {
        &bias[self.first(row)..][..self.keys]
    }

    fn first(&self, row: usize) -> usize {
        let (query, rest) = (row % self.queries, row / self.queries);
        let (head, sequence) = (rest % self.heads, rest / self.heads);
        sequence * self.steps[0] + head * self.steps[1] + query * self.steps[2]
    }
}

impl CustomOp2 for Fused {
    fn name(&self) -> &'static str {
        "softmax-biased"
    }

    fn cpu_fwd(
        &self,
        scores: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let spread = Spread::new(layout.dims(), bias_layout.dims());
        let bias = slice(bias, bias_layout)?;
        let mut out = slice(scores, layout)?.to_vec();
        let keys = spread.keys.max(1);
        let weigh = |(chunk, rows): (usize, &mut [f32])| {
            for (at, row) in rows.chunks_exact_mut(keys).enumerate() {
                add_scaled(row, 1.0, spread.of(bias, chunk * CHUNK + at));
                softmax(row);
            }
        };
        if out.len() < FEW {
            out.chunks_mut(keys * CHUNK).enumerate().for_each(weigh);
        } else {
            out.par_chunks_mut(keys * CHUNK).enumerate().for_each(weigh);
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    /// With weights `p`: `ds = p (g − Σ p g)`, and to the bias the sum of what it was added to.
    fn bwd(
        &self,
        scores: &Tensor,
        bias: &Tensor,
        weights: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let spread = Spread::new(scores.dims(), bias.dims());
        let keys = spread.keys.max(1);
        let d = with(weights, |weights| {
            with(grad, |grad| {
                let mut d = grad.to_vec();
                let pairs = d.par_chunks_mut(keys * CHUNK).zip(weights.par_chunks(keys * CHUNK));
                pairs.for_each(|(d, weights)| {
                    for (d, weights) in d.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
                        let mean = dot(d, weights);
                        for (d, weight) in d.iter_mut().zip(weights) {
                            *d = weight * (*d - mean);
                        }
                    }
                });
                d
            })
        })??;
        let mut of_bias = vec![0f32; bias.elem_count()];
        for (row, d) in d.chunks_exact(keys).enumerate() {
            add_scaled(&mut of_bias[spread.first(row)..][..keys], 1.0, d);
        }
        let of_bias = Tensor::from_vec(of_bias, bias.shape(), bias.device())?;
        Ok((Some(Tensor::from_vec(d, scores.shape(), scores.device())?), Some(of_bias)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    #[test]
    fn fused_equals_composed() {
        for shape in [[1, 3, 5, 7], [4, 1, 1, 7], [4, 3, 5, 7], [1, 1, 5, 7]] {
            let (scores, bias) = (random_var(&[4, 3, 5, 7], 1), random_var(&shape, 2));
            let weights = random_var(&[4, 3, 5, 7], 3);
            let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
            let vars = [&scores, &bias];
            let ours = softmax_biased(scores.as_tensor(), bias.as_tensor()).unwrap();
            let theirs = composed(&scores.broadcast_add(bias.as_tensor()).unwrap()).unwrap();
            let (ours, theirs) = (gradients(&vars, &loss(ours)), gradients(&vars, &loss(theirs)));
            assert_close(&ours, &theirs, 1e-5);
        }
        let (scores, bias) = (random_var(&[2, 1, 1, 3], 1), random_var(&[3, 1, 1, 3], 2));
        assert!(softmax_biased(scores.as_tensor(), bias.as_tensor()).is_err());
    }

    /// What a bias of minus infinity hides has no weight, and passes no gradient.
    #[test]
    fn what_is_hidden_counts_for_nothing() {
        let scores = random_var(&[1, 1, 2, 3], 1);
        let hidden = vec![0f32, f32::NEG_INFINITY, 0.0];
        let bias = Tensor::from_vec(hidden, (1, 1, 1, 3), scores.device()).unwrap();
        let weights = softmax_biased(scores.as_tensor(), &bias).unwrap();
        let rows = weights.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(rows[1] == 0.0 && rows[4] == 0.0 && (rows[0] + rows[2] - 1.0).abs() < 1e-6);
        let grads = weights.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let grad = grads.get(scores.as_tensor()).unwrap().flatten_all().unwrap();
        assert!(grad.to_vec1::<f32>().unwrap()[1] == 0.0);
    }
}
