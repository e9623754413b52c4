//! Attention of a language model that learns and answers: over packed rows with gradient, and for rows that go on from a
//! text that several of them share.
//!
//! Several heads of queries share one of keys and values (arXiv 2305.13245); positions are rotary (2104.09864), by the
//! angles that the model came with.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::attend::Attend;
use super::attention::{composed, shared, softmax};
use super::exp;
use super::host::{add_scaled, dot, fused, with};
use super::rotary::Rotary;
use super::{Cache, Segments};
use crate::error::Result;

/// The heads and their angles.
pub(crate) struct Grouped {
    /// Heads of queries.
    heads: usize,
    /// Heads of keys and values.
    kv_heads: usize,
    rotary: Arc<Rotary>,
}

/// The keys (turned) and values of texts that were read, both rows × heads of keys · head width, packed.
pub(crate) struct Texts {
    keys: Tensor,
    values: Tensor,
    segments: Segments,
}

impl Grouped {
    /// Heads that share keys and values, for at most `positions` positions. `angles`: what each pair turns by from one
    /// position to the next.
    pub(crate) fn new((heads, kv_heads): (usize, usize), angles: &[f64], positions: usize) -> Self {
        Grouped { heads, kv_heads, rotary: Arc::new(Rotary::of_angles(positions, angles)) }
    }

    /// Each row attends to itself and the earlier rows of its sequence, with gradient. `q`: rows × heads · head width,
    /// `k` and `v`: rows × heads of keys · head width. Gives rows × heads · head width.
    pub(crate) fn forward(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        segments: &Segments,
    ) -> Result<Tensor> {
        let qkv = Tensor::cat(&[q, k, v], 1)?;
        let op = Attend {
            segments: segments.clone(),
            heads: self.heads,
            kv_heads: self.kv_heads,
            rotary: Some(Arc::clone(&self.rotary)),
            causal: true,
        };
        if fused(&qkv) { Ok(qkv.apply_op1(op)?) } else { composed(&qkv, &op) }
    }

    /// What later rows need of texts. Without gradient.
    pub(crate) fn keep(&self, (k, v): (&Tensor, &Tensor), segments: &Segments) -> Result<Texts> {
        let positions: Vec<u32> = segments.iter().flat_map(|s| 0..s.len() as u32).collect();
        let keys = self.turned(&k.detach(), &positions)?.contiguous()?;
        Ok(Texts { keys, values: v.detach().contiguous()?, segments: segments.clone() })
    }

    /// One position more for each row: it attends to its text (`owners` names it) and to what the row has gathered since.
    /// Without gradient. Shapes as of [`Grouped::forward`].
    pub(crate) fn step(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        (texts, owners): (&Texts, &[u32]),
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let gathered = cache.length()?;
        let lengths: Vec<usize> = texts.segments.iter().map(|rows| rows.len()).collect();
        let positions = owners.iter().map(|owner| (lengths[*owner as usize] + gathered) as u32);
        let positions: Vec<u32> = positions.collect();
        let q = self.turned(q, &positions)?.contiguous()?;
        let key = self.turned(k, &positions)?.unsqueeze(1)?; // rows × 1 × heads of keys · head width
        let value = v.unsqueeze(1)?;
        let (keys, values) = match cache.past.take() {
            Some((keys, values)) => {
                (Tensor::cat(&[keys, key], 1)?, Tensor::cat(&[values, value], 1)?)
            }
            None => (key, value),
        };
        let (keys, values) = (keys.contiguous()?, values.contiguous()?);
        let mixed = if fused(&q) {
            self.mixed(&q, (texts, owners), (&keys, &values))?
        } else {
            self.mixed_composed(&q, (texts, owners), (&keys, &values))?
        };
        cache.past = Some((keys, values));
        Ok(mixed)
    }

    /// Turns heads. `x`: rows × any heads · head width.
    fn turned(&self, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let heads = x.reshape((rows, width / self.rotary.width(), self.rotary.width()))?;
        Ok(self.rotary.composed(&heads, positions)?.reshape((rows, width))?)
    }

    /// The fused form of a step.
    fn mixed(
        &self,
        q: &Tensor,
        (texts, owners): (&Texts, &[u32]),
        (keys, values): (&Tensor, &Tensor),
    ) -> Result<Tensor> {
        let (rows, width) = q.dims2()?;
        let (kv_width, own_rows) = (self.kv_heads * self.rotary.width(), keys.dim(1)?);
        let bounds: Vec<_> = texts.segments.iter().collect();
        let mut out = vec![0f32; rows * width];
        let mut each = |q: &[f32], text: Side<'_>, own: Side<'_>| {
            out.par_chunks_exact_mut(width).enumerate().for_each(|(row, out)| {
                let text = text.part(&bounds[owners[row] as usize], kv_width);
                let own = own.part(&(row * own_rows..(row + 1) * own_rows), kv_width);
                self.row(&q[row * width..][..width], [text, own], out);
            });
        };
        with(q, |q| {
            side((&texts.keys, &texts.values), |text| {
                side((keys, values), |own| each(q, text, own))
            })
        })???;
        Ok(Tensor::from_vec(out, (rows, width), &Device::Cpu)?)
    }

    /// One row: the softmax over both sides together.
    fn row(&self, q: &[f32], sides: [Side<'_>; 2], out: &mut [f32]) {
        let (head_width, group) = (self.rotary.width(), self.heads / self.kv_heads);
        let (kv_width, scale) = (self.kv_heads * head_width, 1.0 / (head_width as f32).sqrt());
        let mut weights = Vec::new();
        for head in 0..self.heads {
            let (mine, shared) = (head * head_width, head / group * head_width);
            let q = &q[mine..][..head_width];
            weights.clear();
            for side in sides {
                let keys = side.keys.chunks_exact(kv_width);
                weights.extend(keys.map(|key| scale * dot(q, &key[shared..][..head_width])));
            }
            exp::softmax(&mut weights);
            let values = sides.iter().flat_map(|side| side.values.chunks_exact(kv_width));
            for (weight, value) in weights.iter().zip(values) {
                let out = &mut out[mine..][..head_width];
                add_scaled(out, *weight, &value[shared..][..head_width]);
            }
        }
    }

    /// The composed form: texts padded, and one for each row.
    fn mixed_composed(
        &self,
        q: &Tensor,
        (texts, owners): (&Texts, &[u32]),
        (keys, values): (&Tensor, &Tensor),
    ) -> Result<Tensor> {
        let (rows, width) = q.dims2()?;
        let (head_width, longest) = (self.rotary.width(), texts.segments.longest());
        let own = keys.dim(1)?;
        let bounds: Vec<_> = texts.segments.iter().collect();
        let last = texts.keys.dim(0)?.saturating_sub(1);
        let (mut places, mut mask) = (Vec::new(), Vec::new());
        for owner in owners {
            let text = &bounds[*owner as usize];
            // A padded place reads any row: the mask hides it.
            places.extend((0..longest).map(|at| (text.start + at).min(last) as u32));
            let hidden = (0..longest).map(|at| at >= text.len());
            let hidden = hidden.chain(std::iter::repeat_n(false, own));
            mask.extend(hidden.map(|hidden| if hidden { f32::NEG_INFINITY } else { 0.0 }));
        }
        let places = Tensor::new(places, q.device())?;
        let mask = Tensor::from_vec(mask, (rows, 1, 1, longest + own), q.device())?;
        let all = |text: &Tensor, own: &Tensor| -> Result<Tensor> {
            let text = text.index_select(&places, 0)?.reshape((rows, longest, ()))?;
            let all = Tensor::cat(&[&text, own], 1)?; // rows × length × heads of keys · head width
            let parted = all.reshape((rows, all.dim(1)?, self.kv_heads, head_width))?;
            shared(&parted.transpose(1, 2)?.contiguous()?, self.heads)
        };
        let (keys, values) = (all(&texts.keys, keys)?, all(&texts.values, values)?);
        let q = q.reshape((rows, self.heads, 1, head_width))?;
        let scores = (q.matmul(&keys.t()?)? / (head_width as f64).sqrt())?;
        let weights = softmax(&scores.broadcast_add(&mask.to_dtype(scores.dtype())?)?)?;
        Ok(weights.matmul(&values)?.reshape((rows, width))?)
    }
}

/// Keys and values as plain numbers.
#[derive(Clone, Copy)]
struct Side<'a> {
    keys: &'a [f32],
    values: &'a [f32],
}

impl<'a> Side<'a> {
    fn part(self, rows: &std::ops::Range<usize>, width: usize) -> Side<'a> {
        let place = rows.start * width..rows.end * width;
        Side { keys: &self.keys[place.clone()], values: &self.values[place] }
    }
}

/// Calls `read` with the numbers of keys and values.
fn side<R>((keys, values): (&Tensor, &Tensor), read: impl FnOnce(Side<'_>) -> R) -> Result<R> {
    Ok(with(keys, |keys| with(values, |values| read(Side { keys, values })))??)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::Var;

    use super::*;
    use crate::nn::composed as as_elsewhere;
    use crate::nn::segments::tests::{assert_close, random_var};

    /// Rows that go on from two texts, step by step, equal the packed rows of whole texts; by both forms.
    #[test]
    fn steps_from_shared_texts_equal_the_whole() {
        let grouped = Grouped::new((6, 2), &[1.0, 0.1], 16); // heads of 4
        let parts = |seed: u64, rows: usize| {
            [24, 8, 8].map(|width| random_var(&[rows, width], seed + width as u64))
        };
        let (texts, more) = ([3usize, 5], 2);
        // Texts of 3 and 5 rows; four rows go on from them, each by two steps.
        let (before, owners) = (parts(1, 8), [1u32, 0, 1, 1]);
        let after = [parts(100, 4), parts(200, 4)];
        let run = || {
            let [q, k, v] = before.each_ref().map(Var::as_detached_tensor);
            let segments = Segments::of_lengths(texts);
            let kept = grouped.keep((&k, &v), &segments).unwrap();
            grouped.forward((&q, &k, &v), &segments).unwrap();
            let mut cache = Cache::default();
            let steps = after.each_ref().map(|parts| {
                let [q, k, v] = parts.each_ref().map(Var::as_detached_tensor);
                grouped.step((&q, &k, &v), (&kept, &owners), &mut cache).unwrap()
            });
            steps.map(|step| step.to_vec2::<f32>().unwrap())
        };
        let (fused, composed) = (run(), as_elsewhere(run));
        for (row, owner) in owners.iter().enumerate() {
            let first = if *owner == 0 { 0 } else { texts[0] };
            let length = texts[*owner as usize];
            let whole = [0, 1, 2].map(|which| {
                let text = before[which].narrow(0, first, length).unwrap();
                let own = |step: usize| after[step][which].narrow(0, row, 1).unwrap();
                Tensor::cat(&[text, own(0), own(1)], 0).unwrap()
            });
            let segments = Segments::of_lengths([length + more]);
            let whole = grouped.forward((&whole[0], &whole[1], &whole[2]), &segments).unwrap();
            let whole = whole.to_vec2::<f32>().unwrap();
            for step in 0..more {
                let expected = &whole[length + step..=length + step];
                assert_close(&fused[step][row..=row], expected, 1e-5);
                assert_close(&composed[step][row..=row], expected, 1e-5);
            }
        }
    }
}
