//! Ctrl-C: ends the running statement, or asks what to do about the job that it waits for; pressed again, the program.

use std::io::{self, Write};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sidql::Interrupt;

use super::keys::Keys;
use super::watch::Screen;
use crate::exit::{INTERRUPTED, say};

/// The statement that Ctrl-C would end.
#[derive(Clone)]
pub(crate) struct Interrupts {
    state: Arc<Mutex<State>>,
    interactive: bool,
}

#[derive(Default)]
struct State {
    running: Option<(Interrupt, Screen)>,
    phase: Phase,
}

/// How far a person has gone in stopping the statement.
#[derive(Default)]
enum Phase {
    #[default]
    Untouched,
    /// Ctrl-C was pressed while it waits for a job, and the question is not answered.
    Asked(Keys),
    /// The job goes on without it.
    Detached,
    /// It was asked to stop.
    Stopping,
}

/// What a person did about a statement while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// Nothing that ended it.
    Nothing,
    /// The job shall go on in the background.
    Detach,
    /// It shall stop.
    Stop,
}

/// A statement that is running; see [`Running::end`].
pub(super) struct Running<'a> {
    interrupts: &'a Interrupts,
}

impl Interrupts {
    /// Takes over Ctrl-C. While nothing runs it ends a script and leaves a person's shell alone,
    /// where the line editor clears the line.
    pub(crate) fn install(interactive: bool) -> Result<Self, ctrlc::Error> {
        let interrupts = Interrupts { state: Arc::default(), interactive };
        let pressed = interrupts.clone();
        ctrlc::set_handler(move || pressed.press())?;
        Ok(interrupts)
    }

    /// Whether a person is at the keyboard.
    pub(super) fn interactive(&self) -> bool {
        self.interactive
    }

    /// Names the statement that Ctrl-C ends from now on, and the screen that shows its progress.
    pub(super) fn running(&self, statement: Interrupt, screen: &Screen) -> Running<'_> {
        *self.lock() =
            State { running: Some((statement, screen.clone())), phase: Phase::Untouched };
        Running { interrupts: self }
    }

    fn press(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some((statement, screen)) = &state.running else {
            if !self.interactive {
                process::exit(INTERRUPTED);
            }
            return;
        };
        state.phase = match std::mem::take(&mut state.phase) {
            Phase::Untouched => match screen.job().filter(|_| self.interactive) {
                Some(job) => ask(job, statement, screen),
                None => stop(statement, screen, "interrupting"),
            },
            Phase::Asked(keys) => {
                drop(keys);
                stop(statement, screen, "cancelling")
            }
            // The statement is about to give back the prompt.
            Phase::Detached => Phase::Detached,
            // Nothing acknowledged is lost by leaving at once: the file is safe at every moment.
            Phase::Stopping => process::exit(INTERRUPTED),
        };
    }

    /// Looks whether the question has been answered; tells whether it is still open. Called while a statement waits.
    pub(super) fn asking(&self) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        let (Phase::Asked(keys), Some((statement, screen))) = (&state.phase, &state.running) else {
            return false;
        };
        let key = keys.pressed().map(|key| key.to_ascii_lowercase());
        state.phase = match key {
            Some('d') => {
                statement.detach();
                say("detach");
                Phase::Detached
            }
            Some('c' | 'q') => stop(statement, screen, "cancelling"),
            Some('\n' | '\r' | 'w' | '\u{1b}') => {
                say("wait");
                Phase::Untouched
            }
            _ => return true,
        };
        false
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two plain fields; a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks what shall become of a job. Where no single key can be read there is no answer but to stop.
fn ask(job: u64, statement: &Interrupt, screen: &Screen) -> Phase {
    let Some(keys) = Keys::open() else { return stop(statement, screen, "cancelling") };
    screen.pause();
    // Without stderr there is nobody to ask; Ctrl-C again cancels.
    let _ = write!(
        io::stderr(),
        "job {job}: (d)etach, it goes on; (c)ancel, as Ctrl-C does; Enter waits: "
    );
    let _ = io::stderr().flush();
    Phase::Asked(keys)
}

fn stop(statement: &Interrupt, screen: &Screen, how: &str) -> Phase {
    statement.interrupt();
    screen.say(&format!("{how} … (Ctrl-C again leaves at once)"));
    Phase::Stopping
}

impl Running<'_> {
    /// The statement is over; tells what was done about it meanwhile.
    pub(super) fn end(self) -> Pressed {
        let state = std::mem::take(&mut *self.interrupts.lock());
        match state.phase {
            Phase::Untouched => Pressed::Nothing,
            Phase::Asked(keys) => {
                drop(keys);
                say("ended by itself");
                Pressed::Nothing
            }
            Phase::Detached => Pressed::Detach,
            Phase::Stopping => Pressed::Stop,
        }
    }
}
