//! Ctrl-C: ends the running statement; pressed again, the program.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use sidql::Interrupt;

use super::watch::Screen;
use crate::exit::INTERRUPTED;

/// The statement that Ctrl-C would end.
#[derive(Clone)]
pub(crate) struct Interrupts {
    state: Arc<Mutex<State>>,
    interactive: bool,
}

#[derive(Default)]
struct State {
    running: Option<(Interrupt, Screen)>,
    pressed: bool,
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
        *self.lock() = State { running: Some((statement, screen.clone())), pressed: false };
        Running { interrupts: self }
    }

    fn press(&self) {
        let mut state = self.lock();
        match &state.running {
            // Nothing acknowledged is lost by leaving at once: the file is safe at every moment.
            Some(_) if state.pressed => process::exit(INTERRUPTED),
            Some((statement, screen)) => {
                statement.interrupt();
                screen.say("interrupting … (again to leave at once)");
                state.pressed = true;
            }
            None if self.interactive => {}
            None => process::exit(INTERRUPTED),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is two plain fields; a panic elsewhere leaves them whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    /// The statement is over; tells whether Ctrl-C was pressed meanwhile.
    pub(super) fn end(self) -> bool {
        std::mem::take(&mut *self.interrupts.lock()).pressed
    }
}
