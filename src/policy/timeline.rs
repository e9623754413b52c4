//! Blocks over the items of a history, one position for each: what `decoder`, `hybrid` and `parallel` share.

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;

use super::{History, Targets};
use crate::error::{Error, Result};
use crate::nn::{Block, Dropout, Params, RmsNorm, Segments, Shape};

/// A causal transformer over items.
pub(super) struct Timeline {
    blocks: Vec<Block>,
    norm: RmsNorm,
}

impl Timeline {
    /// As many blocks as the shape is deep.
    pub(super) fn new(params: &mut Params, shape: Shape, random: &mut ChaCha8Rng) -> Result<Self> {
        let blocks = blocks(params, "timeline", shape, random)?;
        let norm = RmsNorm::new(params, "timeline.norm".to_owned(), shape.width, random)?;
        Ok(Timeline { blocks, norm })
    }

    /// `x`: positions × width, packed as `segments` tells. Gives the state behind each position.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        segments: &Segments,
        dropout: &mut Dropout<'_>,
    ) -> Result<Tensor> {
        let mut x = dropout.apply(x)?;
        for block in &self.blocks {
            x = block.forward(&x, segments, dropout)?;
        }
        self.norm.forward(&x)
    }
}

/// Blocks of one name, as many as the shape is deep.
pub(super) fn blocks(
    params: &mut Params,
    name: &str,
    shape: Shape,
    random: &mut ChaCha8Rng,
) -> Result<Vec<Block>> {
    (0..shape.depth).map(|at| Block::new(params, &format!("{name}.{at}"), shape, random)).collect()
}

/// The latest `count` items.
pub(super) fn latest(history: History<'_>, count: usize) -> History<'_> {
    &history[history.len().saturating_sub(count)..]
}

/// The end of a sequence of a start token and a history, for each history: where its state stands.
pub(super) fn ends(segments: &Segments) -> Vec<u32> {
    segments.iter().map(|rows| rows.end as u32 - 1).collect()
}

/// A batch to learn from. A sequence is a start token and all but the last item, so that every position predicts the
/// item that follows it.
pub(super) struct Lesson<'a> {
    /// Histories that have a target, their latest items.
    pub(super) read: Vec<History<'a>>,
    /// Where the sequences lie.
    pub(super) segments: Segments,
    /// The rows that are asked, and the items that they should name.
    pub(super) rows: Vec<u32>,
    pub(super) targets: Vec<u32>,
}

impl<'a> Lesson<'a> {
    /// Of histories, with at most `count` items before a target.
    pub(super) fn new(histories: &[History<'a>], count: usize, asked: Targets) -> Result<Self> {
        let read: Vec<History<'a>> = histories
            .iter()
            .filter(|history| !history.is_empty())
            .map(|history| latest(history, count + 1))
            .collect();
        if read.is_empty() {
            return Err(Error::internal("a loss needs at least one item to predict"));
        }
        let segments = Segments::of_lengths(read.iter().map(|history| history.len()));
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (history, segment) in read.iter().zip(segments.iter()) {
            let first = if asked == Targets::All { 0 } else { history.len() - 1 };
            rows.extend((first..history.len()).map(|at| (segment.start + at) as u32));
            targets.extend_from_slice(&history[first..]);
        }
        Ok(Lesson { read, segments, rows, targets })
    }

    /// What each sequence holds behind its start token.
    pub(super) fn before(&self) -> impl Iterator<Item = History<'a>> + '_ {
        self.read.iter().map(|history| &history[..history.len() - 1])
    }
}
