//! Attention of texts that grow, for language models that run without learning: the rows of several texts at once, each
//! to what is kept of its own text. Several heads of queries share one of keys and values (arXiv 2305.13245); positions
//! are rotary (2104.09864).

use candle_core::{Device, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::exp::softmax;
use super::host::with;
use crate::error::Result;

/// The keys, turned, and the values that one layer keeps of one text: tokens × heads of keys · head width.
#[derive(Clone, Default)]
pub(crate) struct Grown {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Grown {
    /// Forgets all but the first `kept` of `length` tokens.
    pub(crate) fn truncate(&mut self, kept: usize, length: usize) {
        for numbers in [&mut self.keys, &mut self.values] {
            let width = numbers.len() / length.max(1);
            numbers.truncate(kept * width);
        }
    }
}

/// The heads, and how far they see.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    /// Heads of queries.
    pub(crate) queries: usize,
    /// Heads of keys and values.
    pub(crate) keys: usize,
    /// Numbers of a head.
    pub(crate) width: usize,
    /// What the products of queries and keys are multiplied with.
    pub(crate) scale: f32,
    /// Tokens that a row sees, its own included.
    pub(crate) window: usize,
}

/// Cosines and sines of the angles: positions × half a head.
#[derive(Clone, Copy)]
pub(crate) struct Angles<'a> {
    /// The cosines.
    pub(crate) cos: &'a Tensor,
    /// The sines.
    pub(crate) sin: &'a Tensor,
    /// Whether pairs are neighbours in a row, and not half a head apart.
    pub(crate) interleaved: bool,
}

/// Attention of new rows, which join what is kept of their texts. `q`: rows × heads · width, `k` and `v`: rows × heads
/// of keys · width; `texts`: the number of rows of each text and what is kept of it, in order. Gives rows × heads ·
/// width. On the processor alone.
pub(crate) fn attend_grown(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    angles: Angles<'_>,
    heads: Heads,
    texts: &mut [(usize, &mut Grown)],
) -> Result<Tensor> {
    let plain = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let (mut q, mut k, v) = (plain(q)?, plain(k)?, plain(v)?);
    let (q_width, kv_width) = (heads.queries * heads.width, heads.keys * heads.width);
    let rows = q.len() / q_width;
    with(angles.cos, |cos| {
        with(angles.sin, |sin| {
            let half = heads.width / 2;
            let mut first = 0;
            for (count, past) in texts.iter() {
                let start = past.keys.len() / kv_width;
                for row in 0..*count {
                    let place = (start + row) * half..(start + row + 1) * half;
                    let (cos, sin) = (&cos[place.clone()], &sin[place]);
                    let at = first + row;
                    for head in q[at * q_width..][..q_width].chunks_exact_mut(heads.width) {
                        turn(head, cos, sin, angles.interleaved);
                    }
                    for head in k[at * kv_width..][..kv_width].chunks_exact_mut(heads.width) {
                        turn(head, cos, sin, angles.interleaved);
                    }
                }
                first += count;
            }
        })
    })??;
    let mut first = 0;
    let mut parts = Vec::with_capacity(texts.len() * heads.keys);
    for (count, past) in texts.iter_mut() {
        let new = first * kv_width..(first + *count) * kv_width;
        past.keys.extend_from_slice(&k[new.clone()]);
        past.values.extend_from_slice(&v[new]);
        let q = &q[first * q_width..(first + *count) * q_width];
        parts.extend((0..heads.keys).map(|head| Part { q, past, heads, head }));
        first += *count;
    }
    let arch = Arch::new();
    let mixed: Vec<Vec<f32>> = parts.into_par_iter().map(|part| arch.dispatch(part)).collect();
    let mut out = vec![0f32; q.len()];
    let group = q_width / heads.keys;
    let mut first = 0;
    for ((count, _), mixed) in texts.iter().zip(mixed.chunks(heads.keys)) {
        for (head, mixed) in mixed.iter().enumerate() {
            for (row, mixed) in mixed.chunks_exact(group).enumerate() {
                out[(first + row) * q_width + head * group..][..group].copy_from_slice(mixed);
            }
        }
        first += count;
    }
    Ok(Tensor::from_vec(out, (rows, q_width), &Device::Cpu)?)
}

/// Turns the pairs of a head.
fn turn(head: &mut [f32], cos: &[f32], sin: &[f32], interleaved: bool) {
    let half = head.len() / 2;
    for (pair, (cos, sin)) in cos.iter().zip(sin).enumerate() {
        let (a, b) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, half + pair) };
        let (x, y) = (head[a], head[b]);
        head[a] = x * cos - y * sin;
        head[b] = x * sin + y * cos;
    }
}

/// The queries that share one head of keys and values of one text.
struct Part<'a> {
    /// The new rows of the text, all heads.
    q: &'a [f32],
    past: &'a Grown,
    heads: Heads,
    /// The head of keys.
    head: usize,
}

impl WithSimd for Part<'_> {
    /// Rows × the heads that share, side by side.
    type Output = Vec<f32>;

    #[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Heads { queries, keys, width, scale, window } = self.heads;
        let (group, kv_width) = (queries / keys, keys * width);
        let kept = self.past.keys.len() / kv_width;
        let rows = self.q.len() / (queries * width);
        let mut out = vec![0f32; rows * group * width];
        let mut weights = vec![Vec::with_capacity(kept); group];
        let new = self.q.chunks_exact(queries * width).zip(out.chunks_exact_mut(group * width));
        for (row, (q, out)) in new.enumerate() {
            let q = &q[self.head * group * width..][..group * width];
            let at = kept - rows + row;
            let seen = (at + 1).saturating_sub(window)..at + 1;
            let there = |token: usize| token * kv_width + self.head * width;
            for weights in &mut weights {
                weights.clear();
            }
            for token in seen.clone() {
                let key = &self.past.keys[there(token)..][..width];
                for (q, weights) in q.chunks_exact(width).zip(&mut weights) {
                    weights.push(scale * product(simd, q, key));
                }
            }
            for weights in &mut weights {
                softmax(weights);
            }
            for (which, token) in seen.enumerate() {
                let value = &self.past.values[there(token)..][..width];
                for (out, weights) in out.chunks_exact_mut(width).zip(&weights) {
                    for (out, value) in out.iter_mut().zip(value) {
                        *out += weights[which] * value;
                    }
                }
            }
        }
        out
    }
}

/// The sum of products.
#[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
#[inline(always)]
fn product<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = simd.mul_add_e_f32s(*a, *b, sum);
    }
    simd.reduce_sum_f32s(sum) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}
