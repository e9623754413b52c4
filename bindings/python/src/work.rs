//! Work of the engine without the interpreter's lock, which Ctrl-C stops.
//!
//! Work runs on the thread that asks for it: on an idle machine another one takes longer to wake than a look-up takes. The
//! engine looks now and then whether it shall go on, and so do we: handlers of signals run in that moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long Ctrl-C may go unnoticed between the parts of some work.
const BEAT: Duration = Duration::from_millis(50);

/// What a signal handler raised while work ran. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signals(Arc<Mutex<State>>);

struct State {
    last: Instant,
    raised: Option<PyErr>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Signals(Arc::new(Mutex::new(State { last: Instant::now(), raised: None })))
    }

    /// Runs the handlers of signals that came; only the main thread of Python has any. Tells whether one of them raised.
    pub(crate) fn look(&self) -> bool {
        let raised = Python::attach(|py| py.check_signals().err());
        let mut state = self.lock();
        state.last = Instant::now();
        if raised.is_some() {
            state.raised = raised;
        }
        state.raised.is_some()
    }

    /// The same, unless that was a moment ago.
    pub(crate) fn look_now_and_then(&self) -> bool {
        let due = self.lock().last.elapsed() >= BEAT;
        due && self.look()
    }

    /// What was raised, once.
    pub(crate) fn take(&self) -> Option<PyErr> {
        self.lock().raised.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
