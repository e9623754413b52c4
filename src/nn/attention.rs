//! Self-attention: causal with rotary positions, over packed rows or step by step with a key-value
//! cache; or of all rows to all, over packed rows.

use std::sync::Arc;

use candle_core::{D, Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::attend::{Attend, AttendBiased, AttendCached};
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

/// The keys (rotated) and values that each row has gathered, both rows × length × width of all heads of keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pub(super) past: Option<(Tensor, Tensor)>,
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
    pub(super) fn length(&self) -> Result<usize> {
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
        let (heads, rotary) = (self.heads, Some(self.rotary.clone()));
        let op =
            Attend { segments: segments.clone(), heads, kv_heads: heads, rotary, causal: true };
        let mixed =
            if fused(&qkv) { qkv.contiguous()?.apply_op1(op)? } else { composed(&qkv, &op)? };
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

/// Attention of every row to all rows of its sequence; the rows know their positions already.
///
/// `qkv`: rows × 3·width, queries, keys and values side by side, to which `bias` is added. Gives rows
/// × width. Without gradient.
pub(crate) fn attend_all(
    qkv: &Tensor,
    bias: &Tensor,
    segments: &Segments,
    heads: usize,
) -> Result<Tensor> {
    let op =
        Attend { segments: segments.clone(), heads, kv_heads: heads, rotary: None, causal: false };
    if fused(qkv) {
        return Ok(qkv.contiguous()?.apply_op2_no_bwd(bias, &AttendBiased(op))?);
    }
    composed(&qkv.broadcast_add(bias)?, &op)
}

/// The softmax over the last dimension, with gradient.
pub(crate) fn softmax(scores: &Tensor) -> Result<Tensor> {
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
}

/// The composed form over packed rows: pads the sequences, attends under a mask, packs them again.
pub(super) fn composed(qkv: &Tensor, op: &Attend) -> Result<Tensor> {
    let Attend { segments, rotary, .. } = op;
    let (rows, heads, kv_heads) = (qkv.dim(0)?, op.heads, op.kv_heads);
    let head_width = qkv.dim(1)? / (heads + 2 * kv_heads);
    let (device, longest) = (qkv.device(), segments.longest());
    let positions: Vec<u32> = segments.iter().flat_map(|s| 0..s.len() as u32).collect();
    let mut padded = Vec::new(); // for each padded place its packed row
    let mut packed = Vec::new(); // for each packed row its padded place
    for (at, segment) in segments.iter().enumerate() {
        packed.extend((0..segment.len()).map(|j| (at * longest + j) as u32));
        // A padded place reads any row: the mask hides it.
        padded.extend((0..longest).map(|j| (segment.start + j).min(rows - 1) as u32));
    }
    let padded = Tensor::new(padded, device)?;
    let part = |first: usize, of: usize, turn: bool| -> Result<Tensor> {
        let x = qkv.narrow(1, first * head_width, of * head_width)?;
        let mut x = x.reshape((rows, of, head_width))?;
        if let Some(rotary) = rotary.as_deref().filter(|_| turn) {
            x = rotary.composed(&x, &positions)?;
        }
        let x = x.contiguous()?.index_select(&padded, 0)?; // sequences·longest × heads × head width
        let shape = (segments.len(), longest, of, head_width);
        shared(&x.reshape(shape)?.transpose(1, 2)?.contiguous()?, heads)
    };
    let q = part(0, heads, true)?;
    let (k, v) = (part(heads, kv_heads, true)?, part(heads + kv_heads, kv_heads, false)?);
    // sequences × heads × longest × longest
    let scores = (q.matmul(&k.t()?)? / (head_width as f64).sqrt())?;
    let mask = mask(op, device)?.to_dtype(scores.dtype())?;
    let weights = softmax(&scores.broadcast_add(&mask)?)?;
    let mixed = weights.matmul(&v)?.transpose(1, 2)?; // sequences × longest × heads × head width
    let mixed = mixed.reshape((segments.len() * longest, heads * head_width))?;
    Ok(mixed.index_select(&Tensor::new(packed, device)?, 0)?)
}

/// Repeats heads of keys or values for the heads of queries that share them. `x`: any × heads of keys × length × head
/// width. Gives any × heads × length × head width.
pub(super) fn shared(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (any, kv_heads, length, width) = x.dims4()?;
    if kv_heads == heads {
        return Ok(x.clone());
    }
    let repeated =
        x.unsqueeze(2)?.broadcast_as((any, kv_heads, heads / kv_heads, length, width))?;
    Ok(repeated.contiguous()?.reshape((any, heads, length, width))?)
}

/// What is added to the scores of padded sequences, so that no row sees what it must not: longest ×
/// longest, and where that depends on the sequence, sequences × 1 × 1 × longest.
fn mask(op: &Attend, device: &Device) -> Result<Tensor> {
    let longest = op.segments.longest();
    let hide = |hidden: bool| if hidden { f32::NEG_INFINITY } else { 0.0 };
    if op.causal {
        // This hides the padding too: it comes later than every row.
        let mask = (0..longest * longest).map(|at| hide(at % longest > at / longest));
        return Ok(Tensor::from_vec(mask.collect(), (longest, longest), device)?);
    }
    let row = |rows: std::ops::Range<usize>| (0..longest).map(move |at| hide(at >= rows.len()));
    let mask = op.segments.iter().flat_map(row).collect();
    Ok(Tensor::from_vec(mask, (op.segments.len(), 1, 1, longest), device)?)
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
        let rotary = Some(Arc::new(Rotary::new(70, 6)));
        Attend { segments: segments.clone(), heads: 2, kv_heads: 2, rotary, causal: true }
    }

    /// Four heads of queries share two of keys: gradients add up.
    #[test]
    fn shared_heads_fused_equal_composed() {
        let segments = Segments::of_lengths([1, 5, 70, 3]);
        let (qkv, weights) = (random_var(&[79, 48], 1), random_var(&[79, 24], 2));
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        let op = || Attend { heads: 4, kv_heads: 2, ..op(&segments) };
        let theirs = gradients(&[&qkv], &loss(composed(qkv.as_tensor(), &op()).unwrap()));
        let ours = gradients(&[&qkv], &loss(qkv.apply_op1(op()).unwrap()));
        assert_close(&ours, &theirs, 3e-5);
    }

    #[test]
    fn fused_equals_composed() {
        let segments = Segments::of_lengths([1, 5, 70, 3]);
        let (qkv, weights) = (random_var(&[79, 36], 1), random_var(&[79, 12], 2));
        let qkv_scaled = (qkv.as_tensor() * 2.0).unwrap();
        let loss = |y: Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap();
        for causal in [true, false] {
            let op = Attend { causal, ..op(&segments) };
            let theirs = composed(&qkv_scaled, &op).unwrap();
            let theirs = gradients(&[&qkv], &loss(theirs));
            let ours = gradients(&[&qkv], &loss(qkv_scaled.apply_op1(op).unwrap()));
            assert_close(&ours, &theirs, 3e-5);
        }
    }

    #[test]
    fn every_row_sees_its_whole_sequence_after_the_bias() {
        let segments = Segments::of_lengths([2, 9, 1]);
        let (qkv, bias) = (random_var(&[12, 36], 1), random_var(&[36], 2));
        let op = Attend { rotary: None, causal: false, ..op(&segments) };
        let theirs = composed(&qkv.broadcast_add(&bias).unwrap(), &op).unwrap();
        let ours = attend_all(&qkv, &bias, &segments, 2).unwrap();
        assert_close(&ours.to_vec2().unwrap(), &theirs.to_vec2().unwrap(), 1e-5);
        let mut changed = qkv.to_vec2::<f32>().unwrap();
        changed[10] = vec![9.0; 36]; // the last row of the second sequence
        let changed = Tensor::new(changed, &Device::Cpu).unwrap();
        let changed = attend_all(&changed, &bias, &segments, 2).unwrap().to_vec2::<f32>().unwrap();
        let ours = ours.to_vec2::<f32>().unwrap();
        let same: Vec<bool> = ours.iter().zip(&changed).map(|(a, b)| a == b).collect();
        assert_eq!(same, (0..12).map(|at| !(2..11).contains(&at)).collect::<Vec<_>>());
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
