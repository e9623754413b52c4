//! Statements and dot commands from text that comes line by line.

use std::io::BufRead;

use sidql::grammar;

use super::shell::{Place, Shell, Stop};

impl Shell {
    /// Runs a script. A line that begins with `.` or `\` between statements is a dot command; the
    /// last statement needs no `;`.
    pub(super) fn script(
        &mut self,
        mut lines: impl BufRead,
        name: Option<&str>,
    ) -> Result<(), Stop> {
        let mut pending = String::new();
        let (mut first, mut next) = (1, 1);
        loop {
            let from = pending.len();
            let read = lines.read_line(&mut pending).map_err(|error| {
                Stop::Script(format!("cannot read {}: {error}", name.unwrap_or("the statements")))
            })?;
            if read == 0 {
                break;
            }
            next += 1;
            let line = &pending[from..];
            if is_dot(line) && is_idle(&pending[..from]) {
                let line = line.trim().to_owned();
                pending.clear();
                self.dot(&line, name.map(|name| Place { name, line: next - 1 }))?;
                first = next;
            } else if line.contains(';') && grammar::is_complete(&pending) {
                let text = std::mem::take(&mut pending);
                self.text(&text, name.map(|name| Place { name, line: first }))?;
                first = next;
            }
        }
        self.text(&pending, name.map(|name| Place { name, line: first }))
    }
}

/// Whether a line has the form of a dot command.
pub(super) fn is_dot(line: &str) -> bool {
    line.trim_start().starts_with(['.', '\\'])
}

/// The command that a person means who types its name as a word, as in other shells.
pub(super) fn spoken(line: &str) -> Option<&'static str> {
    match line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str() {
        "help" => Some(".help"),
        "quit" | "exit" => Some(".quit"),
        _ => None,
    }
}

/// Whether no statement has begun in the text: it is blank or holds only closed comments.
pub(super) fn is_idle(text: &str) -> bool {
    text.trim().is_empty() || (grammar::is_complete(text) && grammar::split(text).is_empty())
}
