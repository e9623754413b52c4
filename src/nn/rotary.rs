//! Rotary positions (Su et al. 2021, arXiv 2104.09864): pairs of numbers turned by an angle that
//! grows with the position, so that products of queries and keys depend on distance alone.

use candle_core::{D, Tensor};

use crate::error::Result;

/// The base of the geometric series of angles. Sequences are short here, so it is smaller than the
/// 10,000 of language models.
const BASE: f32 = 1000.0;

/// Cosines and sines for every position and pair. The pair of column `at` is `at + half`.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rotary {
    /// A table for `positions` positions and heads of `width` numbers.
    pub(super) fn new(positions: usize, width: usize) -> Self {
        let half = width / 2;
        let mut rotary = Rotary { cos: Vec::new(), sin: Vec::new(), half };
        for position in 0..positions {
            for pair in 0..half {
                let angle = position as f32 / BASE.powf(pair as f32 / half as f32);
                rotary.cos.push(angle.cos());
                rotary.sin.push(angle.sin());
            }
        }
        rotary
    }

    /// A table for `positions` positions, where pair after pair turns by these angles from one position to the next.
    pub(super) fn of_angles(positions: usize, angles: &[f64]) -> Self {
        let turned = |turn: fn(f64) -> f64| {
            let row = |at: usize| angles.iter().map(move |angle| turn(angle * at as f64) as f32);
            (0..positions).flat_map(row).collect()
        };
        Rotary { cos: turned(f64::cos), sin: turned(f64::sin), half: angles.len() }
    }

    /// Numbers of a head.
    pub(super) fn width(&self) -> usize {
        2 * self.half
    }

    /// Turns one head's row at a position; `direction` is 1, or −1 to turn back.
    pub(super) fn turn(&self, row: &mut [f32], position: usize, direction: f32) {
        let angles = position * self.half..(position + 1) * self.half;
        let (first, second) = row.split_at_mut(self.half);
        let turns = self.cos[angles.clone()].iter().zip(&self.sin[angles]);
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
            let sin = sin * direction;
            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
        }
    }

    /// The composed form. `x`: rows × heads × width, one position for each row.
    pub(super) fn composed(&self, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        let table = |values: &[f32]| -> Result<Tensor> {
            let rows = positions
                .iter()
                .flat_map(|&at| values[at as usize * self.half..][..self.half].iter().copied());
            let shape = (positions.len(), 1, self.half);
            Ok(Tensor::from_vec(rows.collect(), shape, x.device())?.to_dtype(x.dtype())?)
        };
        let (cos, sin) = (table(&self.cos)?, table(&self.sin)?); // rows × 1 × half
        let first = x.narrow(D::Minus1, 0, self.half)?;
        let second = x.narrow(D::Minus1, self.half, self.half)?;
        let a = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
        let b = (first.broadcast_mul(&sin)? + second.broadcast_mul(&cos)?)?;
        Ok(Tensor::cat(&[a, b], D::Minus1)?)
    }
}
