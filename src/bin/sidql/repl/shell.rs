//! One running shell: a session, its settings and where results go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sidql::{Database, JobHandle, Outcome, Params, RowRef, Rows, Session, Value, grammar};

use sidql::grammar::ast::Statement;

use super::interrupt::{Interrupts, Pressed};
use super::mode::{Look, Mode};
use super::watch::Screen;
use super::{dot, number};
use crate::exit::{Exit, say};

/// What the dot commands set.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug)]
pub(crate) struct Settings {
    /// The form of results.
    pub(crate) mode: Mode,
    /// Whether the time of each statement is shown.
    pub(crate) timer: bool,
    /// Whether box, csv and tsv begin with the names of the columns.
    pub(crate) headers: bool,
    /// Whether statements are shown before they run.
    pub(crate) echo: bool,
    /// What stands for null, where the mode's own word will not do.
    pub(crate) null: Option<String>,
    /// Whether a script goes on after a failed statement.
    pub(crate) keep_going: bool,
    /// Whether dot commands may not open files.
    pub(crate) safe: bool,
    /// What stands for `$name` in statements.
    pub(crate) params: BTreeMap<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            mode: Mode::Box,
            timer: false,
            headers: true,
            echo: false,
            null: None,
            keep_going: false,
            safe: false,
            params: BTreeMap::new(),
        }
    }
}

/// Why a run of statements ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// `.quit`.
    Quit,
    /// A statement or a dot command failed; it has been reported.
    Failed,
    /// A script cannot be read.
    Script(String),
    /// Results cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    /// Everything the shell writes is a result.
    fn from(error: io::Error) -> Self {
        Stop::Output(error)
    }
}

/// Where a statement of a script stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The script.
    pub(super) name: &'a str,
    /// The line, from 1.
    pub(super) line: usize,
}

/// A running shell.
pub(crate) struct Shell {
    database: Database,
    session: Session,
    /// Jobs that go on behind the shell.
    background: Vec<JobHandle>,
    interrupts: Interrupts,
    screen: Screen,
    out: BufWriter<io::Stdout>,
    pub(crate) settings: Settings,
    failed: bool,
    depth: usize,
}

/// How deep `.read` may nest.
const MAX_DEPTH: usize = 16;

impl Shell {
    /// A shell that writes to stdout and shows the progress of jobs on stderr.
    pub(crate) fn new(database: &Database, settings: Settings, interrupts: Interrupts) -> Self {
        let screen = Screen::default();
        let mut session = database.session();
        session.watch(screen.observer(interrupts.clone()));
        Shell {
            database: database.clone(),
            session,
            background: Vec::new(),
            interrupts,
            screen,
            out: BufWriter::new(io::stdout()),
            settings,
            failed: false,
            depth: 0,
        }
    }

    /// Where results go.
    pub(crate) fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Runs the statements of a text.
    pub(super) fn text(&mut self, text: &str, place: Option<Place<'_>>) -> Result<(), Stop> {
        for span in grammar::split(text) {
            let statement = text[span.start..span.end].trim();
            if statement.is_empty() {
                continue;
            }
            let line = text[..span.start].matches('\n').count();
            let place = place.map(|place| Place { line: place.line + line, ..place });
            self.statement_at(statement, place)?;
        }
        Ok(())
    }

    /// Runs one statement and shows what it returns.
    pub(crate) fn statement(&mut self, statement: &str) -> Result<(), Stop> {
        self.statement_at(statement, None)
    }

    fn statement_at(&mut self, statement: &str, place: Option<Place<'_>>) -> Result<(), Stop> {
        if self.settings.echo {
            writeln!(self.out, "sidql> {statement};")?;
            self.out.flush()?;
        }
        let started = Instant::now();
        let running = self.interrupts.running(self.session.interrupt_handle(), &self.screen);
        let result = self.session.execute(statement, self.params());
        let pressed = running.end();
        self.screen.clear();
        // Its end is told by this statement.
        if let Ok(Statement::WaitJob(job) | Statement::CancelJob(job)) = grammar::parse(statement) {
            self.background.retain(|handle| handle.number() != job.node);
        }
        match result {
            Ok(outcome) => {
                if let Outcome::Started { job } = &outcome {
                    self.background.extend(self.database.job(*job));
                }
                self.show(&outcome, started.elapsed(), pressed)?;
                self.out.flush()?;
                Ok(())
            }
            Err(error) => {
                self.complain(&error, place)?;
                // A person who pressed Ctrl-C means the rest as well.
                if pressed == Pressed::Stop { Err(Stop::Failed) } else { self.after_failure() }
            }
        }
    }

    fn params(&self) -> Params {
        let given = self.settings.params.iter();
        given.fold(Params::default(), |params, (name, value)| params.set(name, value.clone()))
    }

    /// Asks for the shell's own needs: the rows of a statement that is not shown.
    pub(crate) fn ask(&mut self, question: &str) -> sidql::Result<Rows> {
        self.session.query(question, ())
    }

    /// Hands over the rows of a statement one by one, with where results go.
    pub(super) fn each(
        &mut self,
        question: &str,
        mut take: impl FnMut(RowRef<'_>, &mut dyn Write) -> sidql::Result<()>,
    ) -> sidql::Result<()> {
        let question = self.database.prepare(question)?;
        let out = &mut self.out;
        self.session.for_each(&question, (), |row| take(row, out))
    }

    /// Tells of the jobs behind the shell that have ended since.
    pub(super) fn tell_of_jobs(&mut self) {
        self.background.retain(|job| {
            match job.wait_timeout(Duration::ZERO) {
                None => return true,
                Some(Ok(message)) => say(format_args!("job {}: {message}", job.number())),
                Some(Err(error)) => say(format_args!("job {}: {error}", job.number())),
            }
            false
        });
    }

    fn show(&mut self, outcome: &Outcome, took: Duration, pressed: Pressed) -> Result<(), Stop> {
        let settings = &self.settings;
        let time = settings.timer.then(|| format!("{:.3} s", took.as_secs_f64()));
        let mode = settings.mode;
        let message = match outcome {
            Outcome::Rows(rows) => {
                let look = Look::new(mode, settings.headers, settings.null.as_deref());
                mode.write(&mut self.out, rows, &look)?;
                for note in rows.notes.iter().filter(|note| note.is_short()) {
                    say(note);
                }
                let noun = if rows.len() == 1 { "row" } else { "rows" };
                format!("{} {noun}", number::grouped(rows.len() as u64))
            }
            Outcome::Done { message, .. } => message.clone(),
            Outcome::Started { job } => {
                let how =
                    if pressed == Pressed::Detach { "goes on behind the shell" } else { "started" };
                format!("job {job} {how}; `WAIT JOB {job};` waits for it")
            }
            _ => "done".to_owned(),
        };
        let is_rows = matches!(outcome, Outcome::Rows(_));
        match (mode.for_people(), is_rows, time) {
            (true, true, Some(time)) => writeln!(self.out, "({message}, {time})")?,
            (true, true, None) => writeln!(self.out, "({message})")?,
            (true, false, Some(time)) => writeln!(self.out, "{message} ({time})")?,
            (true, false, None) => writeln!(self.out, "{message}")?,
            (false, _, Some(time)) => say(format_args!("{message} ({time})")),
            (false, false, None) => say(message),
            (false, true, None) => {}
        }
        Ok(())
    }

    /// Reports an error behind the results so far.
    pub(super) fn complain(
        &mut self,
        error: &sidql::Error,
        place: Option<Place<'_>>,
    ) -> Result<(), Stop> {
        self.out.flush()?;
        say(format_args!("error: {error}"));
        if let Some(Place { name, line }) = place {
            say(format_args!("in {name}, line {line}"));
        }
        self.failed = true;
        Ok(())
    }

    /// Reports what is wrong with a dot command.
    pub(super) fn refuse(&mut self, message: &str, place: Option<Place<'_>>) -> Result<(), Stop> {
        self.failed(&sidql::Error::input("shell", message), place)
    }

    /// Reports what failed, which ends a script.
    pub(super) fn failed(
        &mut self,
        error: &sidql::Error,
        place: Option<Place<'_>>,
    ) -> Result<(), Stop> {
        self.complain(error, place)?;
        self.after_failure()
    }

    fn after_failure(&self) -> Result<(), Stop> {
        if self.settings.keep_going { Ok(()) } else { Err(Stop::Failed) }
    }

    /// Runs a dot command.
    pub(super) fn dot(&mut self, line: &str, place: Option<Place<'_>>) -> Result<(), Stop> {
        if self.settings.echo {
            writeln!(self.out, "sidql> {line}")?;
        }
        dot::run(self, line, place)?;
        self.out.flush()?;
        Ok(())
    }

    /// Runs the statements of a file.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), Stop> {
        let name = path.display().to_string();
        if self.depth == MAX_DEPTH {
            return Err(Stop::Script(format!("{name}: more than {MAX_DEPTH} nested scripts")));
        }
        let file = File::open(path)
            .map_err(|error| Stop::Script(format!("cannot read {name}: {error}")))?;
        self.depth += 1;
        let result = self.script(BufReader::new(file), Some(&name));
        self.depth -= 1;
        result
    }

    /// Runs the statements that come in through stdin.
    pub(super) fn stdin(&mut self) -> Result<(), Stop> {
        self.script(io::stdin().lock(), Some("stdin"))
    }

    /// How the command ends when the shell has ended like this.
    pub(crate) fn end(mut self, ended: Result<(), Stop>) -> Exit {
        let ended = ended.and_then(|()| Ok(self.out.flush()?));
        self.tell_of_jobs();
        for job in self.background.iter().map(JobHandle::number) {
            say(format_args!(
                "job {job} stops with the shell; `RESUME JOB {job};` goes on with it"
            ));
        }
        match ended {
            Ok(()) | Err(Stop::Quit) if self.failed && !self.interrupts.interactive() => {
                Exit::Failed
            }
            Ok(()) | Err(Stop::Quit) => Exit::Ok,
            Err(Stop::Failed) => Exit::Failed,
            Err(Stop::Script(message)) => {
                say(format_args!("error: {message}"));
                Exit::Usage
            }
            // Whoever read the results has seen enough.
            Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.discard();
                Exit::Ok
            }
            Err(Stop::Output(error)) => {
                say(format_args!("error: cannot write the results: {error}"));
                self.discard();
                Exit::Usage
            }
        }
    }

    /// Gives up what is still buffered, so that nothing is written to a closed pipe again.
    fn discard(self) {
        let (_, _unwritten) = self.out.into_parts();
    }
}
