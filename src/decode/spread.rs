//! Batches over every core, for work that holds a lot of memory while it runs.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;

/// Runs `work` on every batch and gives the results in order; the first error ends it.
///
/// Plain threads, not the pool of rayon: a pool thread that waits inside a batch (tensor products do) would
/// begin another batch meanwhile, and the caches of both would be alive at once. A batch alone runs in the pool, though:
/// from outside, each of its many operations would put a thread of the pool to work and this one to sleep, which takes
/// longer than most of them.
pub(super) fn spread<B: Sync, T: Send>(
    batches: &[B],
    work: impl Fn(usize, &B) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if let [batch] = batches {
        return rayon::scope(|_| Ok(vec![work(0, batch)?]));
    }
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(at) else { return Ok(done) };
            match work(at, batch) {
                Ok(result) => done.push((at, result)),
                Err(error) => {
                    next.store(batches.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    };
    let mut done = Vec::with_capacity(batches.len());
    thread::scope(|scope| -> Result<()> {
        let threads = rayon::current_num_threads().min(batches.len());
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            done.extend(worker.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))?);
        }
        Ok(())
    })?;
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::error::Error;

    #[test]
    fn results_keep_the_order_of_batches() {
        let batches: Vec<usize> = (0..100).collect();
        let doubled = spread(&batches, |at, batch| Ok(at + batch)).unwrap();
        assert_eq!(doubled, (0..100).map(|at| 2 * at).collect::<Vec<_>>());
        assert!(spread(&[], |_, (): &()| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn an_error_ends_the_work() {
        let ran = AtomicUsize::new(0);
        let result = spread(&vec![0; 10_000], |at, _| {
            ran.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
            if at == 3 { Err(Error::cancelled()) } else { Ok(()) }
        });
        assert!(result.unwrap_err().is_cancelled());
        assert!(ran.load(Ordering::Relaxed) < 10_000);
    }
}
