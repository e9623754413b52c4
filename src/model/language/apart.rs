//! A language model taken apart, for a policy that learns over its weights.

use candle_core::Tensor;

use super::shape::Family;
use super::weights::Linear;
use super::{Language, Layer};
use crate::error::{Error, Result};
use crate::model::base::{self, Matrix, Sizes, Weights};

impl Language {
    /// Its sizes and weights. Heads have the two numbers of a pair half a head apart, however they were stored.
    pub(in crate::model) fn apart(self) -> Result<(Sizes, Weights)> {
        let shape = self.shape;
        if shape.family == Family::Gemma3 || shape.local.contains(&true) {
            let message = "policies do not learn over layers that see a window of the past";
            return Err(Error::input("bad-model", message).help(
                "Llama, Mistral, SmolLM2, Qwen 2 and 3 without windows can be learned over",
            ));
        }
        let half = shape.rotary.interleaved.then_some(shape.head_width / 2);
        let head = match self.head {
            Some(head) if !shape.tied => Some(whole(&head)?.matrix),
            _ => None,
        };
        let layers = self.layers.into_iter().map(|layer| parts(layer, half));
        let weights = Weights {
            words: self.words,
            head,
            norm: self.norm,
            layers: layers.collect::<Result<_>>()?,
        };
        let sizes = Sizes {
            width: shape.width,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            epsilon: shape.epsilon,
            angles: shape.rotary.angles(shape.head_width),
            positions: shape.positions,
        };
        Ok((sizes, weights))
    }
}

/// The weights of a block; `half` of a head where the numbers of a pair are neighbours.
fn parts(layer: Layer, half: Option<usize>) -> Result<base::Layer> {
    let turned = |linear: &Linear| -> Result<Matrix> {
        let Matrix { matrix, bias } = whole(linear)?;
        let Some(half) = half else { return Ok(Matrix { matrix, bias }) };
        let matrix = parted(&matrix, half)?;
        Ok(Matrix { matrix, bias: bias.map(|bias| parted(&bias, half)).transpose()? })
    };
    Ok(base::Layer {
        norm_1: layer.norm_1,
        q: turned(&layer.q)?,
        k: turned(&layer.k)?,
        v: whole(&layer.v)?,
        head_norms: layer.head_norms,
        out: whole(&layer.out)?,
        norm_2: layer.norm_2,
        gate: whole(&layer.gate)?,
        up: whole(&layer.up)?,
        down: whole(&layer.down)?,
    })
}

fn whole(linear: &Linear) -> Result<Matrix> {
    let (matrix, bias) =
        linear.whole().ok_or_else(|| Error::internal("packed weights cannot be learned over"))?;
    Ok(Matrix { matrix, bias })
}

/// Rows of heads, pair by pair, as first numbers of all pairs and then second ones.
fn parted(rows: &Tensor, half: usize) -> Result<Tensor> {
    let count = rows.dim(0)? as u32;
    let half = half as u32;
    let from = |row: u32| {
        let (head, within) = (row / (2 * half), row % (2 * half));
        head * 2 * half + 2 * (within % half) + within / half
    };
    let from = Tensor::new((0..count).map(from).collect::<Vec<u32>>(), rows.device())?;
    Ok(rows.index_select(&from, 0)?)
}
