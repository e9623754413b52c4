//! Errors of the engine as exceptions of PEP 249, which are defined in `python/sidql/errors.py`.

use pyo3::prelude::*;
use sidql::ErrorKind;

pyo3::import_exception!(sidql.errors, DatabaseError);
pyo3::import_exception!(sidql.errors, DataError);
pyo3::import_exception!(sidql.errors, IntegrityError);
pyo3::import_exception!(sidql.errors, InternalError);
pyo3::import_exception!(sidql.errors, NotSupportedError);
pyo3::import_exception!(sidql.errors, OperationalError);
pyo3::import_exception!(sidql.errors, ProgrammingError);

/// Codes of wrong input that is not a mistake in the statement.
const CODES: &[(&str, New)] = &[
    ("bad-column", DataError::new_err),
    ("bad-field", DataError::new_err),
    ("bad-id", DataError::new_err),
    ("bad-json", DataError::new_err),
    ("bad-record", DataError::new_err),
    ("bad-sid", DataError::new_err),
    ("bad-value", DataError::new_err),
    ("bad-vector", DataError::new_err),
    ("type-mismatch", DataError::new_err),
    ("wrong-dimension", DataError::new_err),
    ("conflict", IntegrityError::new_err),
    ("duplicate-id", IntegrityError::new_err),
    ("missing-field", IntegrityError::new_err),
    ("missing-id", IntegrityError::new_err),
    ("name-taken", IntegrityError::new_err),
    ("unknown-item", IntegrityError::new_err),
    ("unknown-user", IntegrityError::new_err),
    ("not-sidql", DatabaseError::new_err),
    ("read-only", OperationalError::new_err),
    ("unreadable-file", OperationalError::new_err),
    ("unwritable-file", OperationalError::new_err),
];

/// Message, code, help, and the place in the statement in characters.
type Arguments = (String, String, Option<String>, Option<(usize, usize)>);

/// Makes an exception.
type New = fn(Arguments) -> PyErr;

/// An error as the exception of its kind. `text` is the statement that it is about.
pub(crate) fn raise(error: &sidql::Error, text: &str) -> PyErr {
    let characters = |byte: usize| text.char_indices().take_while(|(at, _)| *at < byte).count();
    let span = error.span().map(|span| (characters(span.start), characters(span.end)));
    let help = error.help_text().map(str::to_owned);
    let arguments = (error.to_string(), error.code().to_owned(), help, span);
    let by_code = CODES.iter().find(|(code, _)| *code == error.code());
    match (by_code, error.kind()) {
        _ if error.code() == "closed" => ProgrammingError::new_err(arguments),
        (Some((_, new)), _) => new(arguments),
        (None, ErrorKind::Input) => ProgrammingError::new_err(arguments),
        (None, ErrorKind::Retry | ErrorKind::Resource) => OperationalError::new_err(arguments),
        (None, ErrorKind::Restore) => DatabaseError::new_err(arguments),
        (None, ErrorKind::Install) => NotSupportedError::new_err(arguments),
        (None, _) => InternalError::new_err(arguments),
    }
}

/// Use of what is closed.
pub(crate) fn closed(what: &str) -> sidql::Error {
    sidql::Error::new(ErrorKind::Retry, "closed", format!("the {what} is closed"))
}
