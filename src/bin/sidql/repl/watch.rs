//! The progress of a job on stderr: a bar on a terminal, a line now and then elsewhere.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sidql::{JobProgress, Progress};

use super::interrupt::Interrupts;
use super::number::{grouped, short, span};
use crate::exit::say;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Work that ends sooner shows no bar: it would only flicker.
const BAR_AFTER: Duration = Duration::from_millis(300);

/// What is shown of the running job, shared by whoever draws, clears or writes beside it.
#[derive(Clone, Default)]
pub(super) struct Screen {
    view: Arc<Mutex<Option<View>>>,
}

impl Screen {
    /// What `Session::watch` is given. Nothing is drawn while a question is open.
    pub(super) fn observer(
        &self,
        interrupts: Interrupts,
    ) -> impl FnMut(&JobProgress) + Send + 'static {
        let terminal = io::stderr().is_terminal();
        let screen = self.clone();
        move |progress| {
            let asking = interrupts.asking();
            let mut view = screen.lock();
            if progress.finished {
                clear(&mut view);
                return;
            }
            let view = view.get_or_insert_with(|| View::new(progress.job));
            match (terminal, asking) {
                (true, false) => view.draw(&progress.snapshot),
                (true, true) => {}
                (false, _) => view.line(progress),
            }
        }
    }

    /// The job that the statement waits for.
    pub(super) fn job(&self) -> Option<u64> {
        self.lock().as_ref().map(|view| view.job)
    }

    /// Takes the bar away until it is drawn again.
    pub(super) fn pause(&self) {
        if let Some(view) = &mut *self.lock()
            && let Some(bar) = view.bar.take()
        {
            bar.finish_and_clear();
        }
    }

    /// The statement is over: nothing of its job stays on the screen.
    pub(super) fn clear(&self) {
        clear(&mut self.lock());
    }

    /// Writes a line without tearing the bar.
    pub(super) fn say(&self, text: &str) {
        match &*self.lock() {
            Some(View { bar: Some(bar), .. }) => bar.suspend(|| say(text)),
            _ => say(text),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<View>> {
        // Whatever a panic left half-drawn is cleared with the rest.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clear(view: &mut Option<View>) {
    if let Some(View { bar: Some(bar), .. }) = view.take() {
        bar.finish_and_clear();
    }
}

/// What is shown of one job.
struct View {
    job: u64,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(job: u64) -> Self {
        View { job, since: Instant::now(), bar: None }
    }

    fn draw(&mut self, snapshot: &Progress) {
        if self.bar.is_none() && self.since.elapsed() < BAR_AFTER {
            return;
        }
        let bar = self.bar.get_or_insert_with(ProgressBar::hidden);
        let style = if snapshot.total > 0 {
            "{prefix} [{bar:24}] {percent:>3} %{msg}"
        } else {
            "{spinner} {prefix} {pos}{msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("█▌ "));
        }
        bar.set_prefix(snapshot.stage.clone());
        bar.set_message(figures(snapshot));
        bar.set_length(snapshot.total);
        bar.set_position(snapshot.done);
        // Drawn only now, so that no half-set bar is ever seen.
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        bar.tick();
    }

    fn line(&mut self, progress: &JobProgress) {
        if self.since.elapsed() < LINE_EVERY {
            return;
        }
        self.since = Instant::now();
        let snapshot = &progress.snapshot;
        let of = match snapshot.total {
            0 => String::new(),
            total => format!(" of {}", grouped(total)),
        };
        let (job, stage, done) = (progress.job, &snapshot.stage, grouped(snapshot.done));
        say(format_args!("job {job}: {stage}, {done}{of}{}", figures(snapshot)));
    }
}

/// Rate, time left and the latest notes, each behind a comma.
fn figures(snapshot: &Progress) -> String {
    let mut text = String::new();
    let seconds = snapshot.elapsed.as_secs_f64();
    // A rate of the first moments says nothing.
    if seconds > 0.5 && snapshot.done > 0 {
        let rate = snapshot.done as f64 / seconds;
        let shown = if rate < 10.0 { format!("{rate:.1}") } else { grouped(rate as u64) };
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, ", {shown}/s");
        if snapshot.total > snapshot.done {
            let left = (snapshot.total - snapshot.done) as f64 / rate;
            let _ = write!(text, ", {} left", span(Duration::from_secs_f64(left.min(1e9))));
        }
    }
    for (name, figure) in &snapshot.notes {
        let _ = write!(text, ", {name} {}", short(*figure, 4));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_name_rate_time_and_notes() {
        let mut snapshot = Progress::default();
        assert_eq!(figures(&snapshot), "");
        snapshot.total = 100;
        snapshot.done = 25;
        snapshot.elapsed = Duration::from_secs(10);
        snapshot.notes = vec![("loss".to_owned(), 3.25)];
        assert_eq!(figures(&snapshot), ", 2.5/s, 30 s left, loss 3.25");
    }
}
