//! The built `sidql`, driven as a real process.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// All it wrote to stdout.
    pub(crate) out: String,
    /// All it wrote to stderr.
    pub(crate) err: String,
}

/// The command with a home of its own, so that no one's rc file or history takes part.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidql"));
    command.env("HOME", home).env_remove("COLUMNS").current_dir(home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `sidql` with arguments and an empty stdin.
pub(crate) fn sidql<A: AsRef<OsStr>>(home: &Path, arguments: &[A]) -> Ended {
    end(command(home).args(arguments))
}

/// Runs `sidql` with arguments and a text on stdin.
pub(crate) fn sidql_fed<A: AsRef<OsStr>>(home: &Path, arguments: &[A], text: &str) -> Ended {
    let mut child = command(home).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A process that ends early closes the pipe; what it says tells more than this error.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    ended(child.wait_with_output().unwrap())
}

fn end(command: &mut Command) -> Ended {
    ended(command.output().unwrap())
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
