//! The built `sidql`, driven as a real process.

use std::ffi::OsStr;
use std::io::{Read, Write};
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

/// A shell at a terminal, which the program `script` lends.
#[cfg(target_os = "linux")]
pub(crate) struct Terminal {
    child: std::process::Child,
    shown: std::sync::mpsc::Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

#[cfg(target_os = "linux")]
impl Terminal {
    /// Opens the shell on a database of the home.
    pub(crate) fn open(home: &tempfile::TempDir, database: &str) -> Self {
        // Without `exec` a shell that stays in between dies of Ctrl-C too (dash does, bash does not), and its exit code
        // stands for ours.
        let line = format!("exec '{}' {database}", env!("CARGO_BIN_EXE_sidql"));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        script.env("HOME", home.path()).env("TERM", "xterm").env("NO_COLOR", "1");
        script.current_dir(home.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (send, shown) = std::sync::mpsc::channel();
        // A thread of its own, so that text that never comes fails a test instead of hanging it.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut bytes) {
                if send.send(bytes[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal { child, shown, unread: Vec::new() }
    }

    /// Types.
    pub(crate) fn send(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads on until the text is shown, and past it.
    pub(crate) fn expect(&mut self, text: &str) {
        let text = text.as_bytes();
        loop {
            let found = self.unread.windows(text.len()).position(|window| window == text);
            if let Some(at) = found {
                self.unread.drain(..at + text.len());
                return;
            }
            match self.shown.recv_timeout(std::time::Duration::from_secs(20)) {
                Ok(bytes) => self.unread.extend(bytes),
                Err(error) => {
                    let shown = String::from_utf8_lossy(&self.unread);
                    panic!("{:?} is not shown ({error}): {shown}", String::from_utf8_lossy(text));
                }
            }
        }
    }

    /// Waits for the end; the exit code.
    pub(crate) fn close(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().code()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails where the shell has ended, which is the rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
