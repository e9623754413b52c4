//! The layout `sequences`: a user, a tab, and the ids of the user's items separated by spaces, oldest first.

use std::path::Path;

use super::Position;
use super::source::{Lines, Source};
use crate::error::Result;

/// The interactions of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The line, counted from 1.
    pub(crate) line: u64,
    /// The user.
    pub(crate) user: String,
    /// The ids of the items, oldest first; none or more.
    pub(crate) items: Vec<String>,
}

/// The users of a file, in order. After a bad line the next ones can still be read.
pub(crate) struct Sequences {
    lines: Lines,
}

impl Sequences {
    /// Opens a file; `.gz` and `.zst` are decompressed.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Sequences { lines: Lines::new(Source::open(path)?) })
    }

    /// How far the file is read.
    pub(crate) fn bytes_read(&self) -> Position {
        self.lines.meter.position()
    }
}

impl Iterator for Sequences {
    type Item = Result<Sequence>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, text) = match self.lines.next()? {
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            if text.trim().is_empty() {
                continue;
            }
            return Some(match text.split_once('\t') {
                Some((user, items)) if !user.is_empty() && !items.contains('\t') => {
                    let items = items.split_ascii_whitespace().map(str::to_owned).collect();
                    Ok(Sequence { line, user: user.to_owned(), items })
                }
                _ => {
                    let message = "expected a user, a tab and item ids separated by spaces";
                    Err(self.lines.name.wrong(line, message))
                }
            });
        }
    }
}
