//! Causal self-attention with rotary positions, over packed rows or step by step with a key-value
//! cache.

use std::sync::Arc;

use candle_core::{D, Tensor};
use rand_chacha::ChaCha8Rng;

use super::attend::{Attend, AttendCached};
use super::host::fused;
use super::rotary::Rotary;
use super::{Linear, Params, Segments};
use crate::error::Result;

/// Multi-head causal self-attention without biases.
pub(crate) struct Attention {
    qkv: Linear,
    out: Linear,
    heads: usize,
    rotary: Arc<Rotary>,
}

/// The keys (rotated) and values that each row has gathered, both rows × length × width.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    past: Option<(Tensor, Tensor)>,
}

impl Cache {
    /// The cache of the rows that continue `parents`: an index for each new row.
    pub(crate) fn select(&self, parents: &Tensor) -> Result<Cache> {
        let select = |(keys, values): &(Tensor, Tensor)| -> Result<(Tensor, Tensor)> {
            Ok((keys.index_select(parents, 0)?, values.index_select(parents, 0)?))
        };
        Ok(Cache { past: self.past.as_ref().map(select).transpose()? })
    }

    /// How many positions it holds.
    fn length(&self) -> Result<usize> {
        self.past.as_ref().map_or(Ok(0), |(keys, _)| Ok(keys.dim(1)?))
    }
}

impl Attention {
    /// Attention over rows of `width` numbers and at most `positions` positions.
    pub(super) fn new(
        params: &mut Params,
        name: &str,
        (width, heads, positions): (usize, usize, usize),
        gain: f32,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let qkv = Linear::new(params, format!("{name}.qkv"), (width, 3 * width), 1.0, random)?;
        let out = Linear::new(params, format!("{name}.out"), (width, width), gain, random)?;
        Ok(Attention { qkv, out, heads, rotary: Arc::new(Rotary::new(positions, width / heads)) })
    }

    /// `x`: rows × width, packed as `segments` tells. Gives rows × width.
    pub(super) fn forward(&self, x: &Tensor, segments: &Segments) -> Result<Tensor> {
        let qkv = self.qkv.forward(x)?; // rows × 3·width
        let mixed = if fused(&qkv) {
            let (heads, rotary) = (self.heads, self.rotary.clone());
            qkv.contiguous()?.apply_op1(Attend { segments: segments.clone(), heads, rotary })?
        } else {
            composed(&qkv, segments, self.heads, &self.rotary)?
        };
        self.out.forward(&mixed)
    }

    /// One position more for each row. `x`: rows × width. Gives rows × width.
    pub(super) fn step(&self, x: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let qkv = self.qkv.forward(x)?; // rows × 3·width
        let positions = vec![cache.length()? as u32; rows];
        let part = |which: usize| -> Result<Tensor> {
            Ok(qkv.narrow(1, which * width, width)?.reshape((rows, self.heads, ()))?)
        };
        let q = self.rotary.composed(&part(0)?, &positions)?.reshape((rows, width))?;
        let key = self.rotary.composed(&part(1)?, &positions)?.reshape((rows, 1, width))?;
        let value = part(2)?.reshape((rows, 1, width))?;
        let (keys, values) = match cache.past.take() {
            Some((keys, values)) => {
                (Tensor::cat(&[keys, key], 1)?, Tensor::cat(&[values, value], 1)?)
            }
            None => (key, value),
        };
        let (keys, values) = (keys.contiguous()?, values.contiguous()?); // rows × length × width
        let mixed = if fused(&q) {
            let op = AttendCached { heads: self.heads };
            q.contiguous()?.apply_op3_no_bwd(&keys, &values, &op)?
        } else {
            composed_cached(&q, &keys, &values, self.heads)?
        };
        cache.past = Some((keys, values));
        self.out.forward(&mixed)
    }
}

fn softmax(scores: &Tensor) -> Result<Tensor> {
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
}

/// The composed form over packed rows: pads the sequences, attends under a mask, packs them again.
fn composed(qkv: &Tensor, segments: &Segments, heads: usize, rotary: &Rotary) -> Result<Tensor> {
    let (rows, width) = (qkv.dim(0)?, qkv.dim(1)? / 3);
    let (device, longest) = (qkv.device(), segments.longest());
    let positions: Vec<u32> = segments.iter().flat_map(|s| 0..s.len() as u32).collect();
    let mut padded = Vec::new(); // for each padded place its packed row
    let mut packed = Vec::new(); // for each packed row its padded place
    for (at, segment) in segments.iter().enumerate() {
        packed.extend((0..segment.len()).map(|j| (at * longest + j) as u32));
        // A padded place reads any row: the mask hides it from the rows before it.
        padded.extend((0..longest).map(|j| (segment.start + j).min(rows - 1) as u32));
    }
    let padded = Tensor::new(padded, device)?;
    let part = |which: usize, turn: bool| -> Result<Tensor> {
        let mut x = qkv.narrow(1, which * width, width)?.reshape((rows, heads, ()))?;
        if turn {
            x = rotary.composed(&x, &positions)?;
        }
        let x = x.contiguous()?.index_select(&padded, 0)?; // sequences·longest × heads × head width
        let shape = (segments.len(), longest, heads, width / heads);
        Ok(x.reshape(shape)?.transpose(1, 2)?.contiguous()?)
    };
    let (q, k, v) = (part(0, true)?, part(1, true)?, part(2, false)?);
    // sequences × heads × longest × longest
    let scores = (q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?;
    let mask = (0..longest * longest)
        .map(|at| if at % longest > at / longest { f32::NEG_INFINITY } else { 0.0 });
    let mask = Tensor::from_vec(mask.collect(), (longest, longest), device)?;
    let weights = softmax(&scores.broadcast_add(&mask.to_dtype(scores.dtype())?)?)?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?; // sequences × longest × heads × head width
    let mixed = mixed.reshape((segments.len() * longest, width))?;
    Ok(mixed.index_select(&Tensor::new(packed, device)?, 0)?)
}

/// The composed form of one step.
fn composed_cached(q: &Tensor, keys: &Tensor, values: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, length, width) = keys.dims3()?;
    let split = |x: &Tensor, length: usize| -> Result<Tensor> {
        Ok(x.reshape((rows, length, heads, width / heads))?.transpose(1, 2)?.contiguous()?)
    };
    let (q, keys, values) = (split(q, 1)?, split(keys, length)?, split(values, length)?);
    // rows × heads × 1 × length
    let scores = (q.matmul(&keys.t()?)? / ((width / heads) as f64).sqrt())?;
    Ok(softmax(&scores)?.matmul(&values)?.reshape((rows, width))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::nn::segments::tests::{assert_close, gradients, random_var};

    fn op(segments: &Segments) -> Attend {
        let rotary = Arc::new(Rotary::new(70, 6));
        Attend { segments: segments.clone(), heads: 2, rotary }
    }

    #[test]
    fn fused_equals_composed() {
        let segments = Segments::of_lengths([1, 5, 70, 3]);
        let (qkv, weights) = (random_var(&[79, 36], 1), random_var(&[79, 12], 2));
        let qkv_scaled = (qkv.as_tensor() * 2.0).unwrap();
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let op = op(&segments);
        let theirs = composed(&qkv_scaled, &segments, 2, &op.rotary).unwrap();
        let theirs = gradients(&[&qkv], &loss(theirs));
        let ours = gradients(&[&qkv], &loss(qkv_scaled.apply_op1(op).unwrap()));
        assert_close(&ours, &theirs, 3e-5);
    }

    #[test]
    fn a_row_sees_nothing_later_and_nothing_of_others() {
        let segments = Segments::of_lengths([4, 4]);
        let a = random_var(&[8, 36], 1).to_vec2::<f32>().unwrap();
        let mut b = a.clone();
        b[2] = vec![9.0; 36]; // changes rows 2 and 3 alone
        let run = |rows: Vec<Vec<f32>>| {
            let qkv = Tensor::new(rows, &candle_core::Device::Cpu).unwrap();
            qkv.apply_op1(op(&segments)).unwrap().to_vec2::<f32>().unwrap()
        };
        let (a, b) = (run(a), run(b));
        let same: Vec<bool> = a.iter().zip(&b).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true, true, false, false, true, true, true, true]);
    }

    #[test]
    fn cached_steps_equal_the_whole() {
        let mut params = Params::new(&candle_core::Device::Cpu);
        let mut random = crate::device::source(1, 0);
        let attention = Attention::new(&mut params, "a", (12, 2, 8), 1.0, &mut random).unwrap();
        let x = random_var(&[10, 12], 5);
        let whole = attention.forward(&x, &Segments::of_lengths([5, 5])).unwrap();
        let mut cache = Cache::default();
        for at in 0..5u32 {
            let rows = Tensor::new(&[at, at + 5], x.device()).unwrap();
            let now = attention.step(&x.index_select(&rows, 0).unwrap(), &mut cache).unwrap();
            let then = whole.index_select(&rows, 0).unwrap();
            assert_close(&now.to_vec2().unwrap(), &then.to_vec2().unwrap(), 1e-5);
            let (keys, values) = cache.past.clone().unwrap();
            let q = random_var(&[2, 12], u64::from(at));
            let fused = q.apply_op3_no_bwd(&keys, &values, &AttendCached { heads: 2 }).unwrap();
            let composed = composed_cached(&q, &keys, &values, 2).unwrap();
            assert_close(&fused.to_vec2().unwrap(), &composed.to_vec2().unwrap(), 1e-5);
        }
    }
}
