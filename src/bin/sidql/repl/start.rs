//! From the arguments to a running shell.

use std::io::{self, IsTerminal};
use std::path::Path;

use sidql::{Database, Outcome, Result, Session, Value};

use super::edit;
use super::interrupt::Interrupts;
use super::mode::Mode;
use super::shell::{Settings, Shell, Stop};
use crate::args::{Args, Input};
use crate::exit::{Exit, say};

/// Runs the inputs of the command line, or stdin, or a shell for the person at the terminal.
pub(crate) fn run(args: &Args, inputs: Vec<Input>) -> Exit {
    let interactive = inputs.is_empty() && io::stdin().is_terminal();
    let interrupts = match Interrupts::install(interactive) {
        Ok(interrupts) => interrupts,
        Err(error) => {
            say(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let database = match open(args) {
        Ok(database) => database,
        Err(error) => {
            say(format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let mut shell = Shell::new(&database, settings(args), interrupts);
    let ended = if interactive {
        greet(args, &mut database.session());
        edit::interact(&mut shell, database.session(), !args.no_rc)
    } else {
        run_inputs(&mut shell, inputs)
    };
    let exit = shell.end(ended);
    match database.close() {
        Ok(()) => exit,
        Err(error) => {
            say(format_args!("error: {error}"));
            Exit::Usage
        }
    }
}

fn open(args: &Args) -> Result<Database> {
    let builder =
        Database::builder().read_only(args.readonly).create(!args.readonly).file_access(!args.safe);
    match &args.file {
        Some(file) => builder.open(file),
        None => builder.open_in_memory(),
    }
}

fn settings(args: &Args) -> Settings {
    let terminal = io::stdout().is_terminal();
    Settings {
        mode: args.mode.unwrap_or(if terminal { Mode::Box } else { Mode::Tsv }),
        keep_going: args.keep_going,
        safe: args.safe,
        ..Settings::default()
    }
}

fn run_inputs(shell: &mut Shell, inputs: Vec<Input>) -> Result<(), Stop> {
    if inputs.is_empty() {
        return shell.stdin();
    }
    for input in inputs {
        match input {
            Input::Text(text) => shell.script(text.as_bytes(), None)?,
            Input::File(path) if path == Path::new("-") => shell.stdin()?,
            Input::File(path) => shell.file(&path)?,
        }
    }
    Ok(())
}

fn greet(args: &Args, session: &mut Session) {
    let version = env!("CARGO_PKG_VERSION");
    match &args.file {
        Some(file) => say(format_args!("sidql {version}, {}", file.display())),
        None => say(format_args!(
            "sidql {version}, in memory: nothing is kept (`sidql FILE` opens or creates a file)"
        )),
    }
    say("Statements end with `;`. `.help` lists the commands of the shell.");
    if let Some(notice) = interrupted_jobs(session) {
        say(notice);
    }
}

/// A line about the jobs that a crash or a kill cut short.
fn interrupted_jobs(session: &mut Session) -> Option<String> {
    // A file whose jobs cannot be listed still opens; the statement itself will tell why.
    let Ok(Outcome::Rows(rows)) = session.execute("SHOW JOBS", ()) else { return None };
    let cut: Vec<String> = (0..rows.len())
        .filter(|row| rows.get(*row, "state").and_then(Value::as_str) == Some("interrupted"))
        .filter_map(|row| rows.get(row, "job").map(Value::to_string))
        .collect();
    match cut.as_slice() {
        [] => None,
        [job] => Some(format!("job {job} was interrupted: `RESUME JOB {job};` goes on with it")),
        jobs => Some(format!(
            "{} jobs were interrupted ({}): `SHOW JOBS;` lists them, `RESUME JOB n;` goes on",
            jobs.len(),
            jobs.join(", ")
        )),
    }
}
