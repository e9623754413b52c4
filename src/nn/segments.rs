//! Where the sequences of a packed batch begin and end.

use std::ops::Range;
use std::sync::Arc;

/// The bounds of the sequences in a matrix of packed rows.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    /// The first row of each sequence, and at the end the number of rows.
    bounds: Arc<[u32]>,
}

impl Segments {
    /// Sequences of these lengths, one after the other.
    pub(crate) fn of_lengths(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut bounds = vec![0u32];
        let mut end = 0;
        for length in lengths {
            end += length as u32;
            bounds.push(end);
        }
        Segments { bounds: bounds.into() }
    }

    /// The number of sequences.
    pub(crate) fn len(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.bounds[self.len()] as usize
    }

    /// The length of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        self.iter().map(|rows| rows.len()).max().unwrap_or(0)
    }

    /// The rows of each sequence.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.bounds.windows(2).map(|pair| pair[0] as usize..pair[1] as usize)
    }

    /// Runs of whole sequences of at least `rows` rows each (the last may be shorter): work for one
    /// thread.
    pub(super) fn runs(&self, rows: usize) -> Vec<Vec<Range<usize>>> {
        let mut runs = Vec::new();
        let mut run: Vec<Range<usize>> = Vec::new();
        let mut held = 0;
        for segment in self.iter() {
            held += segment.len();
            run.push(segment);
            if held >= rows {
                runs.push(std::mem::take(&mut run));
                held = 0;
            }
        }
        if !run.is_empty() {
            runs.push(run);
        }
        runs
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use candle_core::{Device, Tensor, Var};
    use rand::RngExt;

    use super::*;

    /// A variable of numbers between −1 and 1.
    pub(in crate::nn) fn random_var(shape: &[usize], seed: u64) -> Var {
        let mut random = crate::device::source(seed, 0);
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| random.random::<f32>() * 2.0 - 1.0).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// The loss and its gradients by some variables, flattened.
    pub(in crate::nn) fn gradients(vars: &[&Var], loss: &Tensor) -> Vec<Vec<f32>> {
        let grads = loss.backward().unwrap();
        let mut all = vec![vec![loss.to_scalar::<f32>().unwrap()]];
        for var in vars {
            let grad = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap();
            all.push(grad.to_vec1().unwrap());
        }
        all
    }

    /// Fails where numbers differ by more than `tolerance`, relative where they are large.
    pub(in crate::nn) fn assert_close(ours: &[Vec<f32>], theirs: &[Vec<f32>], tolerance: f32) {
        assert_eq!(ours.len(), theirs.len());
        for (which, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(ours.len(), theirs.len());
            for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
                let scale = b.abs().max(1.0);
                assert!((a - b).abs() <= tolerance * scale, "part {which}, number {at}: {a} {b}");
            }
        }
    }

    #[test]
    fn bounds_and_runs() {
        let segments = Segments::of_lengths([3, 0, 2, 5]);
        assert_eq!((segments.len(), segments.longest()), (4, 5));
        assert_eq!(segments.iter().collect::<Vec<_>>(), [0..3, 3..3, 3..5, 5..10]);
        let runs: Vec<usize> = segments.runs(4).iter().map(Vec::len).collect();
        assert_eq!(runs, [3, 1]);
        assert_eq!(Segments::of_lengths([]).len(), 0);
    }
}
