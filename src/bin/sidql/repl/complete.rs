//! What the line editor asks while a person types: completion, and whether a statement is whole.

use std::borrow::Cow;

use rustyline::Context;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use sidql::{Session, grammar};

use super::dot::Argument;
use super::script::{is_dot, spoken};
use super::{dot, highlight};

/// The editor's view of the shell. It has a session of its own, which only completes.
pub(super) struct Helper {
    session: Session,
    files: FilenameCompleter,
}

impl Helper {
    pub(super) fn new(session: Session) -> Self {
        Helper { session, files: FilenameCompleter::new() }
    }

    /// The commands of the shell, and what can stand behind them.
    fn dot(&self, line: &str) -> rustyline::Result<(usize, Vec<Pair>)> {
        let begin = line.len() - line.trim_start().len();
        let Some(space) = line[begin..].find(' ').map(|at| begin + at) else {
            let named = dot::names().filter(|name| name.starts_with(&line[begin..]));
            return Ok((begin, named.map(|name| pair(name.to_owned(), name.to_owned())).collect()));
        };
        let command = &line[begin..space];
        let start = line.rfind(' ').map_or(begin, |at| at + 1);
        let words: Vec<&str> = line[space..start].split_whitespace().collect();
        let names: Vec<String> = match dot::arguments(command, words.len()) {
            Argument::None => Vec::new(),
            Argument::Words(words) => words,
            Argument::File => return self.files.complete_path(line, line.len()),
            Argument::Relation => self.named("DESCRIBE ", "relation"),
            Argument::Plotted if words == ["codebook"] => {
                self.named("DESCRIBE CODEBOOK ", "codebook")
            }
            Argument::Plotted => Vec::new(),
        };
        let fits = names.into_iter().filter(|name| name.starts_with(&line[start..]));
        Ok((start, fits.map(|name| pair(name.clone(), name)).collect()))
    }

    /// The names that a statement could go on with, of one sort.
    fn named(&self, statement: &str, detail: &str) -> Vec<String> {
        let found = self.session.complete(statement, statement.len()).candidates.into_iter();
        found.filter(|one| one.detail == detail).map(|one| one.text).collect()
    }
}

/// The longest line of the list, so that each candidate has one.
const WIDEST: usize = 78;

fn short(line: &str) -> String {
    if line.chars().count() <= WIDEST {
        return line.to_owned();
    }
    line.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// Where the path begins that a COPY names, if the line ends within one.
fn path_of_copy(line: &str) -> Option<usize> {
    let statement = line.rfind(';').map_or(line, |at| &line[at + 1..]).trim_start();
    let copies = statement.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("COPY "));
    let open = line.matches('\'').count() % 2 == 1;
    line.rfind('\'').filter(|_| copies && open).map(|at| at + 1)
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
            return self.dot(&line[..cursor]);
        }
        if let Some(start) = path_of_copy(&line[..cursor]) {
            let (at, pairs) = self.files.complete_path(&line[start..cursor], cursor - start)?;
            return Ok((start + at, pairs));
        }
        let completion = self.session.complete(line, cursor);
        let widest = completion.candidates.iter().map(|c| c.text.len()).max().unwrap_or(0);
        // One column with details while there are few; names alone once there are many.
        let detailed = completion.candidates.len() <= 12;
        let pairs = completion
            .candidates
            .into_iter()
            .map(|candidate| {
                let (text, detail) = (&candidate.text, &candidate.detail);
                let display = if detailed && !detail.is_empty() {
                    short(&format!("{text:widest$}  {detail}"))
                } else if detail.starts_with(|letter: char| letter.is_ascii_digit()) {
                    format!("{text} ({detail})")
                } else {
                    text.clone()
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
        Ok(if is_dot(text) || spoken(text).is_some() || grammar::is_complete(text) {
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
