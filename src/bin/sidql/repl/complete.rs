//! What the line editor asks while a person types: completion, and whether a statement is whole.

use std::borrow::Cow;

use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use sidql::{Session, grammar};

use super::script::is_dot;
use super::{dot, highlight};

/// The editor's view of the shell. It has a session of its own, which only completes.
pub(super) struct Helper {
    session: Session,
}

impl Helper {
    pub(super) fn new(session: Session) -> Self {
        Helper { session }
    }
}

impl rustyline::Helper for Helper {}

impl Hinter for Helper {
    type Hint = String;
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if is_dot(line) {
            let start = line.len() - line.trim_start().len();
            let typed = &line[start..cursor.max(start)];
            let named = dot::names().filter(|name| name.starts_with(typed));
            let pairs = named.map(|name| pair(name.to_owned(), name.to_owned())).collect();
            return Ok((start, pairs));
        }
        let completion = self.session.complete(line, cursor);
        let widest = completion.candidates.iter().map(|c| c.text.len()).max().unwrap_or(0);
        // One column with details while there are few; names alone once there are many.
        let detailed = completion.candidates.len() <= 12;
        let pairs = completion
            .candidates
            .into_iter()
            .map(|candidate| {
                let display = if detailed && !candidate.detail.is_empty() {
                    format!("{:widest$}  {}", candidate.text, candidate.detail)
                } else {
                    candidate.text.clone()
                };
                pair(display, candidate.text)
            })
            .collect();
        Ok((completion.start, pairs))
    }
}

fn pair(display: String, replacement: String) -> Pair {
    Pair { display, replacement }
}

impl Validator for Helper {
    /// Enter sends a whole statement and otherwise begins a new line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        Ok(if is_dot(text) || grammar::is_complete(text) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if is_dot(line) { Cow::Borrowed(line) } else { Cow::Owned(highlight::colour(line)) }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        // Moving the cursor changes no colour.
        kind != CmdKind::MoveCursor
    }
}
