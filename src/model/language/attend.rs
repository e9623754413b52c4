//! Attention of a language model, and what it keeps of a text: by the fused form of `nn/` on the processor, composed of
//! candle's operations elsewhere.

use candle_core::{DType, Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::rotary_emb::{rope, rope_i};

use super::shape::{Rotary, Shape};
use crate::error::{Error, Result};
use crate::nn::{Angles, Grown, Heads, attend_grown, fuses};

/// The keys and values of the tokens that one text has so far, layer by layer.
#[derive(Clone, Default)]
pub(in crate::model) struct Memory {
    pub(super) layers: Vec<Past>,
    pub(super) length: usize,
}

/// What one layer keeps of one text.
#[derive(Clone)]
pub(super) enum Past {
    /// On the processor.
    Here(Grown),
    /// Elsewhere: keys and values, heads × tokens × head width; nothing before the first token.
    There(Option<(Tensor, Tensor)>),
}

impl Memory {
    /// Tokens that are kept.
    pub(in crate::model) fn len(&self) -> usize {
        self.length
    }

    /// Forgets all tokens but the first `length`.
    pub(in crate::model) fn truncate(&mut self, length: usize) -> Result<()> {
        if length >= self.length {
            return Ok(());
        }
        if length == 0 {
            *self = Memory::default();
            return Ok(());
        }
        for past in &mut self.layers {
            match past {
                Past::Here(grown) => grown.truncate(length, self.length),
                Past::There(Some((keys, values))) => {
                    // A copy: a view would keep the whole.
                    *keys = keys.narrow(1, 0, length)?.force_contiguous()?;
                    *values = values.narrow(1, 0, length)?.force_contiguous()?;
                }
                Past::There(None) => {}
            }
        }
        self.length = length;
        Ok(())
    }
}

/// Attention in the layers of one kind: those that see everything, or those that see a window.
pub(super) struct Attention {
    heads: Heads,
    turns: Turns,
    /// Whether the fused form runs.
    pub(super) here: bool,
}

/// Cosines and sines: positions × half a head.
struct Turns {
    cos: Tensor,
    sin: Tensor,
    interleaved: bool,
}

impl Attention {
    /// For texts of at most `positions` tokens.
    pub(super) fn new(
        shape: &Shape,
        local: bool,
        positions: usize,
        (dtype, device): (DType, &Device),
    ) -> candle_core::Result<Attention> {
        let rotary = if local { &shape.local_rotary } else { &shape.rotary };
        let heads = Heads {
            queries: shape.heads,
            keys: shape.kv_heads,
            width: shape.head_width,
            scale: shape.scale as f32,
            window: if local { shape.window } else { usize::MAX },
        };
        let turns = Turns::new(rotary, shape.head_width, positions, (dtype, device))?;
        Ok(Attention { heads, turns, here: fuses(device, dtype) })
    }

    /// What a layer keeps of a text that has no token yet.
    pub(super) fn nothing(&self) -> Past {
        if self.here { Past::Here(Grown::default()) } else { Past::There(None) }
    }

    /// Attention of the new rows of several texts, each within its own. `texts`: the number of new rows of each, and
    /// what is kept of it, which they join. Queries, keys and values: rows × heads · width.
    pub(super) fn attend(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        texts: &mut [(usize, &mut Past)],
    ) -> Result<Tensor> {
        if self.here {
            let Turns { cos, sin, interleaved } = &self.turns;
            let angles = Angles { cos, sin, interleaved: *interleaved };
            let mut grown = Vec::with_capacity(texts.len());
            for (rows, past) in texts {
                let Past::Here(past) = past else {
                    return Err(Error::internal("a text that is kept on another device"));
                };
                grown.push((*rows, past));
            }
            return attend_grown((q, k, v), angles, self.heads, &mut grown);
        }
        let mut mixed = Vec::with_capacity(texts.len());
        let mut first = 0;
        for (rows, past) in texts {
            let Past::There(past) = past else {
                return Err(Error::internal("a text that is kept on the processor"));
            };
            let part = |x: &Tensor| x.narrow(0, first, *rows);
            mixed.push(self.composed((&part(q)?, &part(k)?, &part(v)?), past)?);
            first += *rows;
        }
        Ok(Tensor::cat(&mixed, 0)?)
    }

    /// Attention within one text.
    fn composed(
        &self,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        past: &mut Option<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let Heads { queries, keys, width, scale, .. } = self.heads;
        let rows = q.dim(0)?;
        let start = past.as_ref().map_or(Ok(0), |(keys, _)| keys.dim(1))?;
        // 1 × heads × rows × head width
        let split = |x: &Tensor, heads: usize| -> candle_core::Result<Tensor> {
            x.reshape((1, rows, heads, width))?.transpose(1, 2)?.contiguous()
        };
        let q = self.turns.turn(&split(q, queries)?, start)?;
        let k = self.turns.turn(&split(k, keys)?, start)?.squeeze(0)?;
        let v = split(v, keys)?.squeeze(0)?;
        let (k, v) = match past.take() {
            Some((before, values)) => {
                (Tensor::cat(&[before, k], 1)?, Tensor::cat(&[values, v], 1)?)
            }
            None => (k, v),
        };
        // Heads that share keys lie side by side, so that their rows are one matrix.
        let q = q.reshape((keys, queries / keys * rows, width))?;
        let scores = (q.matmul(&k.t()?)? * f64::from(scale))?;
        let mut scores = scores.reshape((queries, rows, start + rows))?;
        if let Some(mask) = self.mask(start, rows, &scores)? {
            scores = scores.broadcast_add(&mask)?;
        }
        let weights = softmax_last_dim(&scores)?.reshape((keys, (), start + rows))?;
        let mixed = weights.matmul(&v)?.reshape((queries, rows, width))?;
        *past = Some((k, v));
        Ok(mixed.transpose(0, 1)?.reshape((rows, queries * width))?)
    }

    /// What hides from rows what comes after them, and from those of a window what is too long ago: rows × all
    /// rows. Nothing where every row sees everything.
    fn mask(&self, start: usize, rows: usize, scores: &Tensor) -> Result<Option<Tensor>> {
        let window = self.heads.window;
        if rows == 1 && start < window {
            return Ok(None);
        }
        let hide = |row: usize| {
            let at = start + row;
            (0..start + rows).map(move |other| {
                let seen = other <= at && at - other < window;
                if seen { 0.0 } else { f32::NEG_INFINITY }
            })
        };
        let mask: Vec<f32> = (0..rows).flat_map(hide).collect();
        let mask = Tensor::from_vec(mask, (rows, start + rows), scores.device())?;
        Ok(Some(mask.to_dtype(scores.dtype())?))
    }
}

impl Turns {
    fn new(
        rotary: &Rotary,
        head_width: usize,
        positions: usize,
        (dtype, device): (DType, &Device),
    ) -> candle_core::Result<Turns> {
        let angles = rotary.angles(head_width);
        let table = |turn: fn(f64) -> f64| {
            let row = |at: usize| angles.iter().map(move |angle| turn(angle * at as f64) as f32);
            let rows: Vec<f32> = (0..positions).flat_map(row).collect();
            Tensor::from_vec(rows, (positions, head_width / 2), device)?.to_dtype(dtype)
        };
        Ok(Turns { cos: table(f64::cos)?, sin: table(f64::sin)?, interleaved: rotary.interleaved })
    }

    /// `x`: 1 × heads × rows × head width, the first row at position `start`.
    fn turn(&self, x: &Tensor, start: usize) -> candle_core::Result<Tensor> {
        let rows = x.dim(2)?;
        let (cos, sin) = (self.cos.narrow(0, start, rows)?, self.sin.narrow(0, start, rows)?);
        if self.interleaved { rope_i(x, &cos, &sin) } else { rope(x, &cos, &sin) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rand::RngExt;
    use serde_json::json;

    use super::*;
    use crate::device::source;

    /// Two texts that grow, by both forms.
    #[test]
    fn fused_equals_composed() {
        for (family, window) in [("qwen2", 4096), ("gemma3_text", 3)] {
            let shape = Shape::of_json(&json!({
                "model_type": family, "hidden_size": 24, "num_attention_heads": 6, "head_dim": 20,
                "num_key_value_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1,
                "vocab_size": 9, "sliding_window": window, "query_pre_attn_scalar": 20,
            }));
            let mut shape = shape.unwrap();
            for interleaved in [false, true] {
                shape.rotary.interleaved = interleaved;
                let given = (DType::F32, &Device::Cpu);
                let fused = Attention::new(&shape, window == 3, 64, given).unwrap();
                let mut composed = Attention::new(&shape, window == 3, 64, given).unwrap();
                assert!(fused.here);
                composed.here = false;
                let mut pasts: Vec<[Past; 2]> =
                    (0..2).map(|_| [fused.nothing(), composed.nothing()]).collect();
                let mut random = source(1, 0);
                for counts in [[3, 17], [1, 1], [4, 2]] {
                    let rows = counts.iter().sum::<usize>();
                    let mut draw = |width: usize| {
                        let numbers: Vec<f32> =
                            (0..rows * width).map(|_| random.random::<f32>() - 0.5).collect();
                        Tensor::from_vec(numbers, (rows, width), &Device::Cpu).unwrap()
                    };
                    let (q, k, v) = (draw(120), draw(40), draw(40));
                    let mut run = |attention: &Attention, form: usize| -> Vec<f32> {
                        let mut texts: Vec<_> = counts
                            .iter()
                            .copied()
                            .zip(pasts.iter_mut().map(|past| &mut past[form]))
                            .collect();
                        let mixed = attention.attend((&q, &k, &v), &mut texts).unwrap();
                        mixed.flatten_all().unwrap().to_vec1().unwrap()
                    };
                    let (ours, theirs) = (run(&fused, 0), run(&composed, 1));
                    let far = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
                    assert!(far.fold(0.0, f32::max) < 2e-6, "{family}, {interleaved}");
                }
            }
        }
    }
}
