//! How the command ends, and what it says on the way.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// The command line is wrong or a file cannot be used.
    Usage = 1,
    /// A statement failed.
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The exit code after a second Ctrl-C, as shells expect it.
pub(crate) const INTERRUPTED: i32 = 130;

/// Writes a line for a person to stderr.
pub(crate) fn say(text: impl Display) {
    // Without stderr there is nobody to tell that stderr is gone.
    let _ = writeln!(io::stderr(), "{text}");
}
