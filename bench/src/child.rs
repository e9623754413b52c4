//! Work in a process of its own, so that its time has a beginning and its peak of memory is its own.
//!
//! A child prints lines of a name, a tab and a number; its parent reads them as figures.

#![allow(clippy::print_stdout, reason = "a child tells its parent what it measured")]

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{Result, option, peak_mib};

/// The name of the figure that [`tell_peak`] tells.
pub const PEAK: &str = "peak";

/// What a child told, and how long it lived.
pub struct Child {
    /// Seconds from its start to its end.
    pub wall: f64,
    figures: HashMap<String, f64>,
}

impl Child {
    /// Runs a program to its end. What it says beside its figures goes to the same place as ours.
    pub fn run(command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        let wall = started.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err(format!("{command:?} ended with {}", output.status).into());
        }
        let said = String::from_utf8(output.stdout)?;
        Ok(Child { wall, figures: said.lines().filter_map(figure).collect() })
    }

    /// A figure by name.
    pub fn figure(&self, name: &str) -> Result<f64> {
        let found = self.figures.get(name).copied();
        found.ok_or_else(|| format!("a child did not tell `{name}`").into())
    }

    /// Whether a figure of a name was told.
    pub fn tells(&self, name: &str) -> bool {
        self.figures.contains_key(name)
    }
}

fn figure(line: &str) -> Option<(String, f64)> {
    let (name, number) = line.split_once('\t')?;
    Some((name.to_owned(), number.trim().parse().ok()?))
}

/// This program once more, in another role.
pub fn again(role: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--role", role]);
    Ok(command)
}

/// The role of this process; none for the one that was started first.
pub fn role() -> Option<String> {
    option("--role")
}

/// Tells the parent a figure.
pub fn tell(name: &str, figure: f64) {
    println!("{name}\t{figure}");
}

/// Tells the parent the most memory that this process had so far, in MiB, as [`PEAK`].
pub fn tell_peak() -> Result {
    tell(PEAK, peak_mib().ok_or("the system does not tell the peak of memory")?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_lines_of_a_name_and_a_number() {
        assert_eq!(figure("peak\t12.5"), Some(("peak".to_owned(), 12.5)));
        assert_eq!(figure("peak 12.5"), None);
        assert_eq!(figure("peak\tmuch"), None);
    }

    #[test]
    fn a_child_that_fails_is_an_error() {
        assert!(Child::run(Command::new("false").arg("x")).is_err());
        let child = Child::run(Command::new("printf").arg("a\t1\nb\t2.5\n")).expect("it runs");
        assert_eq!(child.figure("b").expect("it was told"), 2.5);
        assert!(child.figure("c").is_err());
    }
}
