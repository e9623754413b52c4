//! One block of a transformer, norms before the layers as in Qwen2 (arXiv 2407.10671).

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use super::attention::Attention;
use super::feed_forward::FeedForward;
use super::{Cache, Dropout, Params, RmsNorm, Segments};
use crate::error::Result;

/// Attention and feed-forward, each behind a norm and beside a residual path.
pub(crate) struct Block {
    norm_1: RmsNorm,
    attention: Attention,
    norm_2: RmsNorm,
    feed_forward: FeedForward,
}

/// The sizes of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Numbers in a row.
    pub(crate) width: usize,
    /// Heads of the attention; they divide the width into even parts.
    pub(crate) heads: usize,
    /// Units of the feed-forward layer.
    pub(crate) hidden: usize,
    /// Positions that a sequence can have.
    pub(crate) positions: usize,
    /// Blocks on the residual path; more of them begin with smaller outputs.
    pub(crate) depth: usize,
}

impl Block {
    /// A block with the sizes of `shape`.
    pub(crate) fn new(
        params: &mut Params,
        name: &str,
        shape: Shape,
        random: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let Shape { width, heads, hidden, positions, depth } = shape;
        let gain = 1.0 / (2.0 * depth as f32).sqrt();
        let sizes = (width, heads, positions);
        let norm_1 = RmsNorm::new(params, format!("{name}.norm_1"), width, random)?;
        let attention = Attention::new(params, &format!("{name}.attention"), sizes, gain, random)?;
        let norm_2 = RmsNorm::new(params, format!("{name}.norm_2"), width, random)?;
        let name = format!("{name}.feed_forward");
        let feed_forward = FeedForward::new(params, &name, (width, hidden), gain, random)?;
        Ok(Block { norm_1, attention, norm_2, feed_forward })
    }

    /// `x`: rows × width, packed as `segments` tells. Gives rows × width.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        segments: &Segments,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let mixed = self.attention.forward(&self.norm_1.forward(x)?, segments)?;
        self.rest(dropout.add(x, &mixed)?, dropout)
    }

    /// One position more for each row. `x`: rows × width. Gives rows × width.
    pub(crate) fn step(&self, x: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let mixed = self.attention.step(&self.norm_1.forward(x)?, cache)?;
        self.rest((x + mixed)?, &mut Dropout::off())
    }

    fn rest(&self, x: Tensor, dropout: &mut Dropout<'_>) -> Result<Tensor> {
        let fed = self.feed_forward.forward(&self.norm_2.forward(&x)?)?;
        dropout.add(&x, &fed)
    }
}
