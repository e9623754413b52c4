//! What long work is given: a way to report, to be stopped, and to save its place.
//!
//! The work knows no queue, database handle or screen; see `job/` for who stands behind.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A handle on one piece of running work, shared by the work and by whoever watches it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
    /// Whether it is that of work within a step: it can be stopped, but neither counts nor says anything.
    within: bool,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    detach: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    /// Steps of all stages.
    steps: AtomicU64,
    stage: Mutex<Stage>,
    /// Asked on the thread that began the work.
    poll: Option<(ThreadId, Poll)>,
}

/// How long a poll may go unasked while work looks whether it shall stop.
const BEAT: Duration = Duration::from_millis(50);

/// What its caller looks for while work runs.
#[derive(Clone)]
pub(crate) struct Poll(Arc<Mutex<Polling>>);

struct Polling {
    last: Instant,
    ask: Box<dyn FnMut() -> bool + Send>,
}

impl Poll {
    pub(crate) fn new(ask: impl FnMut() -> bool + Send + 'static) -> Self {
        Poll(Arc::new(Mutex::new(Polling { last: Instant::now(), ask: Box::new(ask) })))
    }

    /// Whether the work shall stop. Asks only now and then, and not from within itself.
    fn says_stop(&self) -> bool {
        let Ok(mut polling) = self.0.try_lock() else { return false };
        if polling.last.elapsed() < BEAT {
            return false;
        }
        polling.last = Instant::now();
        (polling.ask)()
    }
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Poll")
    }
}

#[derive(Debug, Default)]
struct Stage {
    name: String,
    started: Option<Instant>,
    notes: Vec<(String, f64)>,
    curves: Curves,
}

/// Points of a curve that are kept: when there are more, every other one goes.
const POINTS: usize = 256;

/// What the figures of long work were on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curves {
    /// Steps done, those of earlier stages with them.
    pub(crate) steps: u64,
    /// One for each figure.
    pub(crate) curves: Vec<Curve>,
}

/// What one figure was on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// The name of the figure, for example `loss`.
    pub(crate) figure: String,
    /// The steps done then, and the figure.
    pub(crate) points: Vec<(u64, f64)>,
    /// One in so many notes is kept.
    stride: u64,
    /// How many notes there were.
    noted: u64,
}

impl Curves {
    fn add(&mut self, step: u64, figure: &str, value: f64) {
        let at = self.curves.iter().position(|curve| curve.figure == figure);
        let at = at.unwrap_or_else(|| {
            self.curves.push(Curve { figure: figure.to_owned(), stride: 1, ..Curve::default() });
            self.curves.len() - 1
        });
        self.curves[at].add(step, value);
    }
}

impl Curve {
    fn add(&mut self, step: u64, value: f64) {
        // JSON has no word for what is not finite, and no picture shows it.
        if value.is_finite() && self.noted.is_multiple_of(self.stride) {
            self.points.push((step, value));
        }
        self.noted += 1;
        if self.points.len() > POINTS {
            self.stride *= 2;
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
        }
    }
}

/// What a watcher sees at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What is being done, for example `epoch 3 of 20`.
    pub stage: String,
    /// Steps done in this stage.
    pub done: u64,
    /// Steps of this stage; 0 while unknown.
    pub total: u64,
    /// Time since the stage began.
    pub elapsed: Duration,
    /// The latest figures by name, for example `("loss", 3.2)`.
    pub notes: Vec<(String, f64)>,
}

impl Progress {
    /// Progress that nobody watches.
    pub(crate) fn silent() -> Self {
        Progress::default()
    }

    /// Progress of work on this thread, which looks about twenty times a second whether its caller wants it to stop.
    pub(crate) fn polling(poll: Poll) -> Self {
        let shared = Shared { poll: Some((thread::current().id(), poll)), ..Shared::default() };
        Progress { shared: Arc::new(shared), within: false }
    }

    /// Progress of work that is a step of this one, or part of a step.
    pub(crate) fn within(&self) -> Self {
        Progress { shared: Arc::clone(&self.shared), within: true }
    }

    /// Begins a stage of `total` steps (0 where unknown).
    pub(crate) fn stage(&self, name: impl Into<String>, total: u64) {
        if self.within {
            return;
        }
        let mut stage = self.lock();
        stage.name = name.into();
        stage.started = Some(Instant::now());
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
    }

    /// Counts `steps` more as done.
    pub(crate) fn advance(&self, steps: u64) {
        if self.within {
            return;
        }
        self.shared.steps.fetch_add(steps, Ordering::Relaxed);
        self.shared.done.fetch_add(steps, Ordering::Relaxed);
    }

    /// Notes the latest figure under a name.
    pub(crate) fn note(&self, name: &str, figure: f64) {
        if self.within {
            return;
        }
        let mut stage = self.lock();
        match stage.notes.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = figure,
            None => stage.notes.push((name.to_owned(), figure)),
        }
        stage.curves.add(self.shared.steps.load(Ordering::Relaxed), name, figure);
    }

    /// The figures so far.
    pub(crate) fn curves(&self) -> Curves {
        let steps = self.shared.steps.load(Ordering::Relaxed);
        Curves { steps, ..self.lock().curves.clone() }
    }

    /// Goes on with the figures of work that was stopped `done` steps into a stage. It will count these steps again.
    pub(crate) fn go_on(&self, curves: Curves, done: u64) {
        self.shared.steps.store(curves.steps.saturating_sub(done), Ordering::Relaxed);
        self.lock().curves = curves;
    }

    /// Asks whoever waits for the work to wait no longer.
    pub(crate) fn detach(&self) {
        self.shared.detach.store(true, Ordering::Relaxed);
    }

    /// Whether nobody shall wait for the work any longer.
    pub(crate) fn detached(&self) -> bool {
        self.shared.detach.load(Ordering::Relaxed)
    }

    /// Fails with a cancelled error once a stop was requested. Call it at least ten times a second.
    pub(crate) fn check(&self) -> Result<()> {
        if self.stopping() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Whether a stop was requested.
    pub(crate) fn stopping(&self) -> bool {
        if let Some((thread, poll)) = &self.shared.poll
            && *thread == thread::current().id()
            && poll.says_stop()
        {
            self.stop();
        }
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Asks the work to stop at its next check.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// What there is to see now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let stage = self.lock();
        Snapshot {
            stage: stage.name.clone(),
            done: self.shared.done.load(Ordering::Relaxed),
            total: self.shared.total.load(Ordering::Relaxed),
            elapsed: stage.started.map(|at| at.elapsed()).unwrap_or_default(),
            notes: stage.notes.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        // A watcher that panicked leaves plain data behind; it is safe to go on with it.
        self.shared.stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where long work saves its place. One slot, replaced whole at each save.
pub(crate) trait Checkpoint {
    /// The last saved state, if the work began before.
    fn load(&self) -> Result<Option<Vec<u8>>>;
    /// Replaces the saved state, durably.
    fn save(&self, state: &[u8]) -> Result<()>;
    /// Whether enough time has passed since the last save. True at most every few seconds.
    fn due(&self) -> bool;
}

/// A checkpoint that is never kept.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unsaved;

#[cfg(test)]
impl Checkpoint for Unsaved {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, _state: &[u8]) -> Result<()> {
        Ok(())
    }

    fn due(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_within_is_stopped_but_not_counted() {
        let progress = Progress::silent();
        progress.stage("rounds", 3);
        let within = progress.within();
        within.stage("rows", 1000);
        within.advance(500);
        within.note("error", 1.0);
        progress.advance(1);
        let Snapshot { stage, done, total, notes, .. } = progress.snapshot();
        assert_eq!((stage.as_str(), done, total, notes.len()), ("rounds", 1, 3, 0));
        progress.stop();
        assert!(within.check().is_err_and(|error| error.is_cancelled()));
    }

    #[test]
    fn a_curve_keeps_its_shape_in_few_points() {
        let progress = Progress::silent();
        progress.stage("epoch 1", 10_000);
        for step in 0..10_000 {
            progress.advance(1);
            progress.note("loss", f64::from(step));
        }
        progress.note("loss", f64::NAN);
        let curves = progress.curves();
        assert_eq!(curves.steps, 10_000);
        let [loss] = curves.curves.as_slice() else { panic!("one figure: {curves:?}") };
        assert!((POINTS / 2..=POINTS).contains(&loss.points.len()), "{}", loss.points.len());
        assert_eq!(loss.points[0], (1, 0.0));
        let gaps: Vec<u64> = loss.points.windows(2).map(|two| two[1].0 - two[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap == gaps[0]), "{gaps:?}");
        assert!(loss.points.iter().all(|(step, value)| *value == *step as f64 - 1.0));
    }

    #[test]
    fn work_that_goes_on_counts_no_step_twice() {
        let first = Progress::silent();
        first.advance(30);
        first.stage("epoch 2", 20);
        first.advance(7);
        first.note("loss", 2.0);
        let second = Progress::silent();
        second.go_on(first.curves(), 7);
        second.stage("epoch 2", 20);
        second.advance(7);
        second.advance(1);
        second.note("loss", 1.0);
        assert_eq!(second.curves().curves[0].points, [(37, 2.0), (38, 1.0)]);
    }
}
