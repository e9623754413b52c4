//! One error for the whole engine, sorted by what the caller has to do about it.

use std::fmt;
use std::ops::Range;

/// The result of everything that can fail in the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What remedies an error. Callers branch on this, people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The statement, the options or the data are wrong: mend the input.
    Input,
    /// Something else holds what is needed, or the work was interrupted: try again.
    Retry,
    /// The file is damaged: restore a backup.
    Restore,
    /// Disk, memory or a named limit is exhausted: make room or raise the limit.
    Resource,
    /// This build cannot do it (a newer file format, a missing feature): upgrade or rebuild.
    Install,
    /// A mistake of ours: please report it.
    Internal,
}

/// An error with a stable code, a message, and where it helps a place in the statement and a remedy.
///
/// Messages are in lower case without a final stop; the help stands on a line of its own.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: Kind,
    code: &'static str,
    message: String,
    help: Option<String>,
    span: Option<Range<usize>>,
    report: Option<String>,
}

impl Error {
    /// An error of the given kind. `code` is stable and kebab-cased, for example `unknown-field`.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Error {
            inner: Box::new(Inner { kind, code, message, help: None, span: None, report: None }),
        }
    }

    /// The statement, an option or a value is wrong.
    pub fn input(code: &'static str, message: impl Into<String>) -> Self {
        Error::new(Kind::Input, code, message)
    }

    /// A name that is not known, with the nearest one that is.
    pub fn unknown<'a>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Self {
        let error = Error::input("unknown-name", format!("unknown {what} `{name}`"));
        if let Some(near) = sidql_grammar::suggest::nearest(name, known.clone()) {
            error.help(format!("did you mean `{near}`?"))
        } else {
            let known: Vec<_> = known.into_iter().collect();
            match known.as_slice() {
                [] => error.help(format!("there is no {what} yet")),
                names => error.help(format!("known: {}", names.join(", "))),
            }
        }
    }

    /// The work was stopped on request.
    pub fn cancelled() -> Self {
        Error::new(Kind::Retry, "cancelled", "cancelled on request")
    }

    /// A broken invariant of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, "internal", message)
            .help("this is a bug of sidql; please report the statement that led here")
    }

    /// Adds the remedy, shown on its own line.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.inner.help = Some(help.into());
        self
    }

    /// Adds the byte range of the statement that the error is about, unless it has one.
    pub fn at(mut self, span: impl Into<Range<usize>>) -> Self {
        self.inner.span.get_or_insert(span.into());
        self
    }

    /// Puts the circumstances before the message: `context: message`.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// Keeps the picture of the statement with a caret under the span.
    pub(crate) fn with_report(mut self, text: &str) -> Self {
        if let Some(span) = self.inner.span.clone() {
            self.inner.report = Some(sidql_grammar::report::caret(text, span));
        }
        self
    }

    /// What remedies it.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        self.inner.code
    }

    /// The message alone, without the place and the help.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The remedy, if one is known.
    pub fn help_text(&self) -> Option<&str> {
        self.inner.help.as_deref()
    }

    /// The byte range of the statement that the error is about.
    pub fn span(&self) -> Option<Range<usize>> {
        self.inner.span.clone()
    }

    /// Whether the work was stopped on request.
    pub fn is_cancelled(&self) -> bool {
        self.inner.code == "cancelled"
    }
}

/// The whole report: message, place in the statement, help.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.message)?;
        if let Some(report) = &self.inner.report {
            write!(f, "\n{}", report.trim_end())?;
        }
        if let Some(help) = &self.inner.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}/{}] {self}", self.inner.kind, self.inner.code)
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    /// Shapes and types are ours to get right, so a tensor error is our bug.
    fn from(error: candle_core::Error) -> Self {
        Error::internal(format!("tensor: {error}"))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::input("bad-json", error.to_string())
    }
}

impl From<sidql_storage::Error> for Error {
    fn from(error: sidql_storage::Error) -> Self {
        use sidql_storage::Error as Storage;
        let message = error.to_string();
        match error {
            Storage::Io(_) => Error::new(Kind::Resource, "io", message),
            Storage::Full => Error::new(Kind::Resource, "disk-full", message),
            Storage::Corrupt { .. } => Error::new(Kind::Restore, "corrupt", message),
            Storage::Version { .. } => Error::new(Kind::Install, "newer-format", message),
            Storage::NotSidql => Error::input("not-sidql", message),
            Storage::Locked => Error::new(Kind::Retry, "locked", message),
            Storage::Poisoned => Error::new(Kind::Retry, "poisoned", message),
            Storage::ReadOnly => Error::input("read-only", message),
            Storage::Closed => Error::new(Kind::Retry, "closed", message),
            Storage::Conflict(_) => Error::input("conflict", message),
            Storage::NotFound(_) => Error::input("not-found", message),
            Storage::Invalid(_) => Error::input("invalid", message),
            _ => Error::internal(message),
        }
    }
}

impl From<sidql_grammar::ParseError> for Error {
    fn from(error: sidql_grammar::ParseError) -> Self {
        let built = Error::input(error.code(), error.to_string()).at(error.span.clone());
        match error.help {
            Some(help) => built.help(help),
            None => built,
        }
    }
}
