//! Attention with a bias on its scores, as T5 has it (Raffel et al. 2020, arXiv 1910.10683), over packed rows as one fused
//! operation: the scores of a head are made, weighed and used up while they are in the nearest cache. The backward pass
//! makes them again, which is cheaper than to keep them (Dao et al. 2022, arXiv 2205.14135).

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::attention::softmax as composed_softmax;
use super::dropout::Mask;
use super::exp::softmax;
use super::host::{add_scaled, dot, fused, slice, with};
use super::matmul::Matrix;
use super::{Dropout, Segments};
use crate::error::{Error, Result};

/// Which rows attend to which: those of a segment of `queries` to all of the same segment of `keys`, which has one at
/// least.
#[derive(Clone, Debug)]
pub(crate) struct Sides {
    pub(crate) queries: Segments,
    pub(crate) keys: Segments,
    pub(crate) heads: usize,
}

/// What the rows of `q` find among the values, with gradient to all three. Scores are not scaled.
///
/// `q`: rows × heads · head width. `kv`: rows × 2 · heads · head width, keys and values side by side. `bias` is added to
/// the scores: heads × queries × keys, counted within a segment, or 1 in place of either of the first two. `dropout` is of
/// the weights. Gives rows × heads · head width.
pub(crate) fn attend_biased(
    q: &Tensor,
    kv: &Tensor,
    bias: &Tensor,
    sides: &Sides,
    dropout: &mut Dropout<'_>,
) -> Result<Tensor> {
    let ((q_rows, inner), (kv_rows, both)) = (q.dims2()?, kv.dims2()?);
    let (queries, keys) = (&sides.queries, &sides.keys);
    let (longest, of_bias) = ((queries.longest(), keys.longest()), bias.dims3()?);
    let fits = queries.len() == keys.len()
        && (queries.rows(), keys.rows()) == (q_rows, kv_rows)
        && both == 2 * inner
        && inner.is_multiple_of(sides.heads)
        && [1, sides.heads].contains(&of_bias.0)
        && (of_bias.1 == 1 || of_bias.1 >= longest.0)
        && of_bias.2 >= longest.1;
    if !fits {
        let message = format!("attention of {:?} to {:?} with {of_bias:?}", q.dims(), kv.dims());
        return Err(Error::internal(message));
    }
    if !fused(q) {
        return composed(q, kv, bias, sides, dropout);
    }
    let op = Fused { sides: sides.clone(), mask: dropout.mask(sides.scores()) };
    Ok(q.contiguous()?.apply_op3(&kv.contiguous()?, &bias.contiguous()?, op)?)
}

impl Sides {
    /// How many scores there are.
    fn scores(&self) -> usize {
        let sizes = self.queries.iter().zip(self.keys.iter());
        sizes.map(|(queries, keys)| self.heads * queries.len() * keys.len()).sum()
    }
}

/// One segment, or some of its queries.
struct Part {
    queries: Range<usize>,
    keys: Range<usize>,
    /// Queries of the segment before these.
    skipped: usize,
    /// The place of its first score among all.
    first: usize,
}

/// Segments that one thread handles, and the place for what becomes of each side.
struct Run<'a> {
    parts: Vec<Part>,
    of_queries: &'a mut [f32],
    of_keys: &'a mut [f32],
}

/// Rows of both sides that are worth a thread.
const WORTH: usize = 64;
/// Runs at most: each has a gradient of the bias of its own.
const RUNS: usize = 16;
/// Multiplications up to which one thread is done sooner than others are woken.
const SMALL: usize = 1 << 20;

/// The fused form.
struct Fused {
    sides: Sides,
    mask: Option<Mask>,
}

/// The numbers, and where those of a head lie.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    q: &'a [f32],
    kv: &'a [f32],
    bias: &'a [f32],
    /// Steps of the bias from a head and a query to the next; 0 where they share one.
    steps: (usize, usize),
    /// Numbers in a row of all heads, and of one.
    inner: usize,
    width: usize,
}

impl<'a> Numbers<'a> {
    fn new(q: &'a [f32], kv: &'a [f32], bias: (&'a [f32], &[usize]), op: &Fused) -> Self {
        let inner = q.len() / op.sides.queries.rows().max(1);
        let (bias, dims) = bias;
        let step = |at: usize| if dims[at] == 1 { 0 } else { dims[at + 1..].iter().product() };
        Numbers { q, kv, bias, steps: (step(0), step(1)), inner, width: inner / op.sides.heads }
    }

    fn queries(&self, of: &'a [f32], part: &Part, head: usize) -> Matrix<'a> {
        let first = part.queries.start * self.inner + head * self.width;
        Matrix::new(&of[first..], part.queries.len(), self.width, self.inner)
    }

    /// Keys of a head, or with `side` 1 values.
    fn keys(&self, part: &Part, head: usize, side: usize) -> Matrix<'a> {
        let first = (2 * part.keys.start + side) * self.inner + head * self.width;
        Matrix::new(&self.kv[first..], part.keys.len(), self.width, 2 * self.inner)
    }

    fn bias_at(&self, head: usize, query: usize, keys: usize) -> Range<usize> {
        let first = head * self.steps.0 + query * self.steps.1;
        first..first + keys
    }

    /// The weights of a head before dropout, queries × keys.
    fn weights(&self, part: &Part, head: usize, weights: &mut Vec<f32>) {
        let keys = part.keys.len();
        weights.resize(part.queries.len() * keys, 0.0);
        let (q, k) = (self.queries(self.q, part, head), self.keys(part, head, 0));
        q.times_into(k.t(), weights, keys);
        for (query, row) in weights.chunks_exact_mut(keys).enumerate() {
            add_scaled(row, 1.0, &self.bias[self.bias_at(head, part.skipped + query, keys)]);
            softmax(row);
        }
    }
}

impl Fused {
    fn drop(&self, part: &Part, head: usize, weights: &mut [f32]) {
        if let Some(mask) = &self.mask {
            mask.apply(part.first + head * weights.len(), weights);
        }
    }

    /// Shares the segments out, with the numbers that stand in their rows: `widths` of each side in a row.
    fn runs<'a>(
        &self,
        (mut of_queries, mut of_keys): (&'a mut [f32], &'a mut [f32]),
        widths: (usize, usize),
    ) -> Vec<Run<'a>> {
        let Sides { queries, keys, heads } = &self.sides;
        let worth = WORTH.max((queries.rows() + keys.rows()).div_ceil(RUNS));
        let (mut runs, mut parts, mut first) = (Vec::new(), Vec::new(), 0);
        let (mut rows, last) = ((0, 0), queries.len().saturating_sub(1));
        for (at, (queries, keys)) in queries.iter().zip(keys.iter()).enumerate() {
            rows = (rows.0 + queries.len(), rows.1 + keys.len());
            let scores = heads * queries.len() * keys.len();
            parts.push(Part { queries, keys, skipped: 0, first });
            first += scores;
            if rows.0 + rows.1 >= worth || at == last {
                let mine = of_queries.split_off_mut(..rows.0 * widths.0).unwrap_or_default();
                let there = of_keys.split_off_mut(..rows.1 * widths.1).unwrap_or_default();
                let parts = std::mem::take(&mut parts);
                runs.push(Run { parts, of_queries: mine, of_keys: there });
                rows = (0, 0);
            }
        }
        runs
    }

    /// Shares out the queries of a few segments without dropout.
    fn pieces<'a>(&self, mut of_queries: &'a mut [f32], inner: usize) -> Vec<Run<'a>> {
        let Sides { queries, keys, .. } = &self.sides;
        let most = queries.rows().div_ceil(rayon::current_num_threads()).max(1);
        let mut runs = Vec::new();
        for (queries, keys) in queries.iter().zip(keys.iter()) {
            for skipped in (0..queries.len()).step_by(most) {
                let from = queries.start + skipped;
                let queries = from..queries.end.min(from + most);
                let mine = of_queries.split_off_mut(..queries.len() * inner).unwrap_or_default();
                let parts = vec![Part { queries, keys: keys.clone(), skipped, first: 0 }];
                runs.push(Run { parts, of_queries: mine, of_keys: &mut [] });
            }
        }
        runs
    }

    fn forward(&self, numbers: Numbers<'_>, run: Run<'_>) {
        let mut weights = Vec::new();
        let mut out = run.of_queries;
        for part in &run.parts {
            let Some(mine) = out.split_off_mut(..part.queries.len() * numbers.inner) else {
                return;
            };
            if mine.is_empty() {
                continue;
            }
            for head in 0..self.sides.heads {
                numbers.weights(part, head, &mut weights);
                self.drop(part, head, &mut weights);
                let keys = part.keys.len();
                let weights = Matrix::new(&weights, part.queries.len(), keys, keys);
                let out = &mut mine[head * numbers.width..];
                weights.times_into(numbers.keys(part, head, 1), out, numbers.inner);
            }
        }
    }

    /// With weights `p`, those left after dropout `d(p)`, and the result `o = d(p) v`: `dv = d(p)ᵀ g`, `ds = p (d(g vᵀ) −
    /// Σ p d(g vᵀ))`, `dq = ds k`, `dk = dsᵀ q`. Gives the gradient of the bias.
    fn backward(&self, numbers: Numbers<'_>, grad: &[f32], run: Run<'_>) -> Vec<f32> {
        let (inner, width) = (numbers.inner, numbers.width);
        let mut of_bias = vec![0f32; numbers.bias.len()];
        let (mut weights, mut dropped, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        let (mut of_queries, mut of_keys) = (run.of_queries, run.of_keys);
        for part in &run.parts {
            let (queries, keys) = (part.queries.len(), part.keys.len());
            let dq = of_queries.split_off_mut(..queries * inner).unwrap_or_default();
            let dkv = of_keys.split_off_mut(..keys * 2 * inner).unwrap_or_default();
            if queries == 0 {
                continue;
            }
            for head in 0..self.sides.heads {
                numbers.weights(part, head, &mut weights);
                dropped.clone_from(&weights);
                self.drop(part, head, &mut dropped);
                let g = numbers.queries(grad, part, head);
                let kept = Matrix::new(&dropped, queries, keys, keys);
                kept.t().times_into(g, &mut dkv[inner + head * width..], 2 * inner);
                scores.resize(weights.len(), 0.0);
                g.times_into(numbers.keys(part, head, 1).t(), &mut scores, keys);
                self.drop(part, head, &mut scores);
                let rows = scores.chunks_exact_mut(keys).zip(weights.chunks_exact(keys));
                for (query, (ds, weights)) in rows.enumerate() {
                    let mean = dot(ds, weights);
                    for (ds, weight) in ds.iter_mut().zip(weights) {
                        *ds = weight * (*ds - mean);
                    }
                    add_scaled(&mut of_bias[numbers.bias_at(head, query, keys)], 1.0, ds);
                }
                let ds = Matrix::new(&scores, queries, keys, keys);
                ds.times_into(numbers.keys(part, head, 0), &mut dq[head * width..], inner);
                let q = numbers.queries(numbers.q, part, head);
                ds.t().times_into(q, &mut dkv[head * width..], 2 * inner);
            }
        }
        of_bias
    }
}

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "attend-biased"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        kv: &CpuStorage,
        kv_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (q, kv) = (slice(q, q_layout)?, slice(kv, kv_layout)?);
        let bias = (slice(bias, bias_layout)?, bias_layout.dims());
        let numbers = Numbers::new(q, kv, bias, self);
        let mut out = vec![0f32; q.len()];
        let few = self.mask.is_none() && self.sides.queries.len() < rayon::current_num_threads();
        let runs = if few {
            self.pieces(&mut out, numbers.inner)
        } else {
            self.runs((&mut out, &mut []), (numbers.inner, 0))
        };
        if self.sides.scores().saturating_mul(numbers.width) <= SMALL {
            for run in runs {
                self.forward(numbers, run);
            }
        } else {
            runs.into_par_iter().for_each(|run| self.forward(numbers, run));
        }
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        kv: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (mut dq, mut dkv) = (vec![0f32; q.elem_count()], vec![0f32; kv.elem_count()]);
        let mut back = |q: &[f32], kv: &[f32], of_bias: &[f32], grad: &[f32]| -> Vec<f32> {
            let numbers = Numbers::new(q, kv, (of_bias, bias.dims()), self);
            let runs = self.runs((&mut dq, &mut dkv), (numbers.inner, 2 * numbers.inner));
            let runs = runs.into_par_iter().map(|run| self.backward(numbers, grad, run));
            let parts: Vec<Vec<f32>> = runs.collect();
            let mut sum = vec![0f32; of_bias.len()];
            for part in &parts {
                add_scaled(&mut sum, 1.0, part);
            }
            sum
        };
        let dbias = with(q, |q| {
            with(kv, |kv| with(bias, |bias| with(grad, |grad| back(q, kv, bias, grad))))
        })????;
        let tensor =
            |numbers, like: &Tensor| Tensor::from_vec(numbers, like.shape(), like.device());
        Ok((Some(tensor(dq, q)?), Some(tensor(dkv, kv)?), Some(tensor(dbias, bias)?)))
    }
}

/// The composed form: pads the segments, attends under a mask, packs them again.
fn composed(
    q: &Tensor,
    kv: &Tensor,
    bias: &Tensor,
    sides: &Sides,
    dropout: &mut Dropout<'_>,
) -> Result<Tensor> {
    let (device, inner) = (q.device(), q.dim(1)?);
    let (queries, keys) = (sides.queries.longest(), sides.keys.longest());
    let padded = |x: &Tensor, segments: &Segments, longest: usize| -> Result<Tensor> {
        let rows = segments.iter().flat_map(|rows| {
            // A padded place reads any row: the mask hides it.
            let last = segments.rows().saturating_sub(1);
            (0..longest).map(move |at| (rows.start + at).min(last) as u32)
        });
        let x = x.index_select(&Tensor::new(rows.collect::<Vec<u32>>(), device)?, 0)?;
        let x = x.reshape((segments.len(), longest, sides.heads, inner / sides.heads))?;
        Ok(x.transpose(1, 2)?.contiguous()?)
    };
    let q = padded(q, &sides.queries, queries)?; // segments × heads × longest × head width
    let k = padded(&kv.narrow(1, 0, inner)?.contiguous()?, &sides.keys, keys)?;
    let v = padded(&kv.narrow(1, inner, inner)?.contiguous()?, &sides.keys, keys)?;
    let hidden = sides.keys.iter().flat_map(|rows| {
        (0..keys).map(move |at| if at < rows.len() { 0f32 } else { f32::NEG_INFINITY })
    });
    let hidden = Tensor::from_vec(hidden.collect(), (sides.keys.len(), 1, 1, keys), device)?;
    let bias = bias.narrow(1, 0, queries.min(bias.dim(1)?))?.narrow(2, 0, keys)?;
    let scores = q.matmul(&k.t()?)?.broadcast_add(&bias.unsqueeze(0)?)?;
    let scores = scores.broadcast_add(&hidden.to_dtype(scores.dtype())?)?;
    let weights = dropout.apply(&composed_softmax(&scores)?)?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?; // segments × longest × heads × head width
    let mixed = mixed.reshape((sides.queries.len() * queries, inner))?;
    let packed = sides.queries.iter().enumerate();
    let packed =
        packed.flat_map(|(at, rows)| (0..rows.len()).map(move |row| (at * queries + row) as u32));
    Ok(mixed.index_select(&Tensor::new(packed.collect::<Vec<u32>>(), device)?, 0)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    fn sides(queries: &[usize], keys: &[usize]) -> Sides {
        let of = |lengths: &[usize]| Segments::of_lengths(lengths.iter().copied());
        Sides { queries: of(queries), keys: of(keys), heads: 3 }
    }

    #[test]
    fn fused_equals_composed() {
        let worlds = [
            sides(&[4, 1, 6], &[4, 1, 6]),
            sides(&[2, 0, 3, 1], &[5, 2, 1, 7]),
            sides(&[40, 70, 9], &[40, 70, 9]),
            sides(&[75], &[90]),
        ];
        for sides in worlds {
            let (rows, there) = (sides.queries.rows(), sides.keys.rows());
            let (q, kv) = (random_var(&[rows, 12], 1), random_var(&[there, 24], 2));
            let (queries, keys) = (sides.queries.longest(), sides.keys.longest());
            let weights = random_var(&[rows, 12], 4);
            let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
            for of_bias in [[3, queries, keys], [1, 1, keys], [3, queries + 2, keys + 1]] {
                let bias = random_var(&of_bias, 3);
                let all = [&q, &kv, &bias];
                let mut off = Dropout::off();
                let ours = attend_biased(&q, &kv, &bias, &sides, &mut off).unwrap();
                let theirs = composed(&q, &kv, &bias, &sides, &mut off).unwrap();
                let (ours, theirs) = (gradients(&all, &loss(ours)), gradients(&all, &loss(theirs)));
                assert_close(&ours, &theirs, 2e-5);
            }
        }
        let (q, kv) = (random_var(&[2, 12], 1), random_var(&[3, 24], 2));
        let bias = random_var(&[3, 2, 2], 3);
        let wrong = attend_biased(&q, &kv, &bias, &sides(&[2], &[3]), &mut Dropout::off());
        assert!(wrong.is_err(), "a bias of too few keys");
    }

    /// The gradient of a sum is that of what dropout left, as differences show.
    #[test]
    fn dropout_is_of_the_weights() {
        let sides = sides(&[3, 2], &[4, 6]);
        let (kv, bias) = (random_var(&[10, 24], 2), random_var(&[3, 3, 6], 3));
        let weights = random_var(&[5, 12], 4);
        let run = |q: &Tensor| {
            let mut random = crate::device::source(7, 0);
            let mut dropout = Dropout { share: 0.5, random: Some(&mut random) };
            let y = attend_biased(q, &kv, &bias, &sides, &mut dropout).unwrap();
            (y * weights.as_tensor()).unwrap().sum_all().unwrap()
        };
        let q = random_var(&[5, 12], 1);
        let grad = gradients(&[&q], &run(&q)).pop().unwrap();
        for at in [0, 13, 37, 59] {
            let moved = |by: f32| {
                let mut numbers = q.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                numbers[at] += by;
                let q = Tensor::from_vec(numbers, (5, 12), q.device()).unwrap();
                run(&q).to_scalar::<f32>().unwrap()
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - grad[at]).abs() < 2e-3, "{at}: {slope} {}", grad[at]);
        }
    }

    /// What a bias of minus infinity hides has no weight, and passes no gradient.
    #[test]
    fn what_is_hidden_counts_for_nothing() {
        let (q, kv) = (random_var(&[2, 3], 1), random_var(&[3, 6], 2));
        let hidden = vec![0f32, f32::NEG_INFINITY, 0.0];
        let bias = Tensor::from_vec(hidden, (1, 1, 3), q.device()).unwrap();
        let y = attend_biased(&q, &kv, &bias, &sides(&[2], &[3]), &mut Dropout::off()).unwrap();
        let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let of_kv = grads.get(kv.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(of_kv[1], [0.0; 6]);
        assert!(of_kv[0].iter().all(|grad| *grad != 0.0));
    }
}
