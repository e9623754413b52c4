//! The exponential in a form that the compiler turns into vector instructions.

use pulp::{Arch, NullaryFnOnce};

use super::host::sum;

/// `e` to the power `x`, to about two units in the last place; arguments beyond ±87 are held at
/// ±87.
#[inline]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5·2²³ rounds to the nearest integer without a call.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r / 5040.0)));
    let power = 1.0 + r + r * r * (0.5 + r * tail);
    power * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

/// The highest of some scores; minus infinity of none.
#[inline]
fn max(scores: &[f32]) -> f32 {
    let (eights, rest) = scores.as_chunks::<8>();
    let mut most = [f32::NEG_INFINITY; 8];
    for scores in eights {
        for lane in 0..8 {
            // As a choice, which vector instructions know, not as a call.
            most[lane] = if scores[lane] > most[lane] { scores[lane] } else { most[lane] };
        }
    }
    rest.iter().chain(&most).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// A score so far below the highest has no weight. What little it had would be no normal number soon, and processors
/// take a hundred times as long for a product with one that is not.
const NOTHING: f32 = -60.0;

/// `e` to the power of a logarithm of a probability; 0 where that is almost nothing.
#[inline]
pub(super) fn probability(log: f32) -> f32 {
    if log < NOTHING { 0.0 } else { exp(log) }
}

/// Replaces scores by their softmax and gives the logarithm of the sum of their exponentials.
pub(super) fn softmax(scores: &mut [f32]) -> f32 {
    Arch::new().dispatch(Softmax(scores))
}

/// Scores, run with the widest vector registers that the processor has.
struct Softmax<'a>(&'a mut [f32]);

impl NullaryFnOnce for Softmax<'_> {
    type Output = f32;

    #[expect(clippy::inline_always, reason = "it must become part of the code for each processor")]
    #[inline(always)]
    fn call(self) -> f32 {
        let max = max(self.0);
        let (eights, rest) = self.0.as_chunks_mut::<8>();
        for scores in eights {
            *scores = scores.map(|score| probability(score - max));
        }
        // The last few as a whole register too: one by one they would take longer than all the others.
        let mut last = [f32::NEG_INFINITY; 8];
        last[..rest.len()].copy_from_slice(rest);
        last = last.map(|score| probability(score - max));
        rest.copy_from_slice(&last[..rest.len()]);
        let sum = sum(self.0);
        let scale = 1.0 / sum;
        for score in self.0.iter_mut() {
            *score *= scale;
        }
        max + sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_library() {
        for step in -8700..=8700 {
            let x = step as f32 / 100.0;
            let (ours, theirs) = (exp(x), x.exp());
            assert!((ours - theirs).abs() <= theirs * 3e-7, "{x}: {ours} {theirs}");
        }
    }

    /// Numbers that are almost nothing make every product with them many times slower.
    #[test]
    fn softmax_has_no_denormal_numbers() {
        let mut scores: Vec<f32> = (0..400).map(|at| -0.5 * at as f32).collect();
        scores.push(f32::NEG_INFINITY);
        softmax(&mut scores);
        assert!(scores.iter().all(|weight| *weight == 0.0 || *weight > 1e-30), "{scores:?}");
        assert_eq!(scores[400], 0.0);
    }

    #[test]
    fn softmax_sums_to_one() {
        let mut scores = [1000.0, 1001.0, -1000.0];
        let log_sum = softmax(&mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((log_sum - 1001.3133).abs() < 1e-3);
    }
}
