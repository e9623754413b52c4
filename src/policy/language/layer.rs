//! One block of a language model that learns.

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::error::Result;
use crate::model::base::{self, Matrix};
use crate::nn::{Adapted, Dropout, Moves, Params, Weight, rms_norm, swiglu};

/// A block.
pub(super) struct Layer {
    norm_1: Weight,
    q: Adapted,
    k: Adapted,
    v: Adapted,
    /// Scales of the norms of queries and keys.
    head_norms: Option<(Weight, Weight)>,
    out: Adapted,
    norm_2: Weight,
    gate: Adapted,
    up: Adapted,
    down: Adapted,
    epsilon: f32,
}

impl Layer {
    /// Over the weights of a block.
    pub(super) fn new(
        params: &mut Params,
        name: &str,
        weights: &base::Layer,
        (moves, epsilon): (Moves, f32),
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let moved = moves == Moves::All;
        let scale = |params: &mut Params, part: &str, values: &Tensor| {
            Weight::new(params, format!("{name}.{part}"), values, (moved, false))
        };
        let norm_1 = scale(params, "norm_1", &weights.norm_1)?;
        let norm_2 = scale(params, "norm_2", &weights.norm_2)?;
        let head_norms = match &weights.head_norms {
            None => None,
            Some((q, k)) => Some((scale(params, "q_norm", q)?, scale(params, "k_norm", k)?)),
        };
        let mut map = |part: &str, Matrix { matrix, bias }: &Matrix| {
            let name = format!("{name}.{part}");
            Adapted::new(params, &name, (matrix, bias.as_ref()), moves, random)
        };
        Ok(Layer {
            norm_1,
            q: map("q", &weights.q)?,
            k: map("k", &weights.k)?,
            v: map("v", &weights.v)?,
            head_norms,
            out: map("out", &weights.out)?,
            norm_2,
            gate: map("gate", &weights.gate)?,
            up: map("up", &weights.up)?,
            down: map("down", &weights.down)?,
            epsilon,
        })
    }

    /// Queries, keys and values of rows, side by side for each head. `x`: rows × width.
    pub(super) fn parts(&self, x: &Tensor, learn: bool) -> Result<[Tensor; 3]> {
        let x = rms_norm(x, &self.norm_1.tensor(learn), self.epsilon)?;
        let (mut q, mut k) = (self.q.forward(&x, learn)?, self.k.forward(&x, learn)?);
        if let Some((q_norm, k_norm)) = &self.head_norms {
            let normed = |x: &Tensor, scale: &Weight| -> Result<Tensor> {
                let scale = scale.tensor(learn);
                let heads = x.reshape(((), scale.dim(0)?))?;
                Ok(rms_norm(&heads, &scale, self.epsilon)?.reshape(x.shape())?)
            };
            (q, k) = (normed(&q, q_norm)?, normed(&k, k_norm)?);
        }
        Ok([q, k, self.v.forward(&x, learn)?])
    }

    /// What follows the attention. `x`: rows × width; `mixed`: rows × heads · head width. Gives rows × width.
    pub(super) fn rest(
        &self,
        x: &Tensor,
        mixed: &Tensor,
        learn: bool,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let x = (x + dropout.apply(&self.out.forward(mixed, learn)?)?)?;
        let normed = rms_norm(&x, &self.norm_2.tensor(learn), self.epsilon)?;
        let (gate, up) = (self.gate.forward(&normed, learn)?, self.up.forward(&normed, learn)?);
        let fed = self.down.forward(&swiglu(&Tensor::cat(&[gate, up], 1)?)?, learn)?;
        Ok((&x + dropout.apply(&fed)?)?)
    }
}
