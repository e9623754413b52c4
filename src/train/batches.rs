//! The order in which histories are learned: shuffled anew for every epoch, from the seed alone.

use rand::seq::SliceRandom;

use crate::device::source;

/// Streams of the seed, so that no two draws share one: shuffles, dropout of a step, choice of
/// validation users, rollouts.
const SHUFFLE: u64 = 1 << 60;
const DROPOUT: u64 = 2 << 60;
const VALIDATION: u64 = 3 << 60;
const ROLLOUT: u64 = 4 << 60;

/// The stream of a step's dropout.
pub(super) fn dropout_stream(step: u64) -> u64 {
    DROPOUT + step
}

/// The stream of the targets and rollouts before a step.
pub(super) fn rollout_stream(step: u64) -> u64 {
    ROLLOUT + step
}

/// All of `0..count`, shuffled for an epoch.
pub(super) fn order(count: usize, seed: u64, epoch: usize) -> Vec<u32> {
    shuffled(count, seed, SHUFFLE + epoch as u64)
}

/// At most `limit` of `0..count`, in ascending order.
pub(super) fn sample(count: usize, limit: usize, seed: u64) -> Vec<u32> {
    let mut chosen = shuffled(count, seed, VALIDATION);
    chosen.truncate(limit);
    chosen.sort_unstable();
    chosen
}

fn shuffled(count: usize, seed: u64, stream: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut source(seed, stream));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_differ_by_epoch_and_repeat() {
        assert_eq!(order(50, 1, 2), order(50, 1, 2));
        assert_ne!(order(50, 1, 2), order(50, 1, 3));
        let mut sorted = order(50, 1, 2);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<u32>>());
        assert_eq!(sample(50, 7, 1).len(), 7);
        assert_eq!(sample(5, 7, 1), [0, 1, 2, 3, 4]);
    }
}
