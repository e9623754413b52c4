//! Work of the engine without the interpreter's lock, which Ctrl-C stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

/// How long Ctrl-C may go unnoticed.
const TICK: Duration = Duration::from_millis(50);

/// Runs work on a thread of its own while this one looks for signals, which only the main thread of Python gets.
///
/// After Ctrl-C `stop` is called until the work has ended; the work also sees the flag that it is given.
///
/// # Errors
/// What a signal handler raised: `KeyboardInterrupt`.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    stop: impl Fn(),
    work: impl FnOnce(&AtomicBool) -> T + Send,
) -> PyResult<T> {
    let stopping = AtomicBool::new(false);
    let ended = AtomicBool::new(false);
    let mut interrupted = None;
    let result = thread::scope(|scope| {
        let end = End { ended: &ended, waiter: thread::current() };
        let worker = scope.spawn(|| {
            let _end = end;
            work(&stopping)
        });
        while !ended.load(Ordering::Acquire) {
            py.detach(|| thread::park_timeout(TICK));
            if ended.load(Ordering::Acquire) {
                break;
            }
            if let Err(raised) = py.check_signals() {
                interrupted.get_or_insert(raised);
            }
            if interrupted.is_some() {
                stopping.store(true, Ordering::Relaxed);
                stop();
            }
        }
        py.detach(|| worker.join())
    });
    let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    interrupted.map_or(Ok(result), Err)
}

/// Wakes the waiting thread when the work ends, also by a panic.
struct End<'a> {
    ended: &'a AtomicBool,
    waiter: thread::Thread,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.waiter.unpark();
    }
}
