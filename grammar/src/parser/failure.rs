//! How far a parse came and what would have let it go on.
//!
//! Every primitive notes what it expected and where. The furthest place wins and ties are merged,
//! whichever alternative they came from; this is both the error message and the completion.

use std::cell::{Cell, RefCell};

use nom::error::{ErrorKind, ParseError as NomError};

use crate::error::{Expected, ParseError};
use crate::lexer::Piece;
use crate::parser::advice::advice;
use crate::parser::{is_starter, starters};
use crate::token::{TokenKind, Tokens};

/// The error type of the nom parsers: the place, and the reason where the place does not say it all.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    at: usize,
    reason: Option<Box<ParseError>>,
}

impl Failure {
    pub(crate) fn at(at: usize) -> Self {
        Failure { at, reason: None }
    }

    pub(crate) fn because(at: usize, error: ParseError) -> Self {
        Failure { at, reason: Some(Box::new(error)) }
    }

    /// The error that a reader sees.
    pub(crate) fn explain(self, text: &str, piece: &Piece<'_>, trace: &Trace) -> ParseError {
        match self.reason {
            Some(reason) => *reason,
            None => explain(text, piece, trace),
        }
    }
}

impl<'a> NomError<Tokens<'a>> for Failure {
    fn from_error_kind(input: Tokens<'a>, _: ErrorKind) -> Self {
        Failure::at(input.at())
    }

    fn append(_: Tokens<'a>, _: ErrorKind, other: Self) -> Self {
        other
    }

    fn or(self, other: Self) -> Self {
        if self.reason.is_none() && (other.reason.is_some() || other.at > self.at) {
            other
        } else {
            self
        }
    }
}

/// The furthest failure so far and how much has been built.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    furthest: Cell<usize>,
    expected: RefCell<Vec<Expected>>,
    terms: Cell<usize>,
}

impl Trace {
    pub(crate) fn note(&self, at: usize, expected: Expected) {
        let mut noted = self.expected.borrow_mut();
        if at > self.furthest.get() {
            self.furthest.set(at);
            noted.clear();
        }
        if at == self.furthest.get() && !noted.contains(&expected) {
            noted.push(expected);
        }
    }

    pub(crate) fn count_term(&self) -> usize {
        self.terms.set(self.terms.get() + 1);
        self.terms.get()
    }

    /// The furthest token that some parser could not take.
    pub(super) fn furthest(&self) -> usize {
        self.furthest.get()
    }

    /// What was expected at this token, if no parser came further.
    pub(crate) fn expected_at(&self, at: usize) -> Vec<Expected> {
        if self.furthest.get() == at { self.expected.borrow().clone() } else { Vec::new() }
    }
}

fn explain(text: &str, piece: &Piece<'_>, trace: &Trace) -> ParseError {
    let at = trace.furthest.get();
    let expected = trace.expected.borrow().clone();
    let Some(token) = piece.tokens.get(at) else {
        let found = if piece.terminated { "`;`" } else { "the end of the text" }.to_owned();
        let message = format!("expected {}, found {found}", listed(&expected));
        let mut error = ParseError::syntax(piece.end.clone(), message, found);
        error.help = advice(text, piece, at, &expected);
        return error.with_expected(expected);
    };
    let found = format!("`{}`", clipped(&text[token.span()]));
    if let TokenKind::Bad(bad) = &token.kind {
        let first = text[token.start..].chars().next().map_or(0, char::len_utf8);
        let span = if bad.open { token.start..token.start + first } else { token.span() };
        let mut error = ParseError::syntax(span, bad.message.clone(), found);
        error.help = bad.help.map(str::to_owned);
        return error.with_expected(expected);
    }
    let message = format!("expected {}, found {found}", listed(&expected));
    let mut error = ParseError::syntax(token.span(), message, found);
    error.help = advice(text, piece, at, &expected);
    error.with_expected(expected)
}

/// The beginning of a token that may be long.
pub(super) fn clipped(token: &str) -> String {
    const MOST: usize = 40;
    if token.chars().count() <= MOST {
        return token.to_owned();
    }
    token.chars().take(MOST).chain(['…']).collect()
}

/// The expected set as a phrase. What a comparison, a column or a value implies is left out.
fn listed(expected: &[Expected]) -> String {
    use Expected::{Column, End, Keyword, Operator, Symbol, Value, Vector};
    let has = |one: Expected| expected.contains(&one);
    let statement = starters().all(|word| has(Keyword(word)));
    let implied = |one: &Expected| match one {
        Keyword(word) if statement => is_starter(word),
        Keyword("AND" | "OR" | "NOT" | "IN" | "IS" | "LIKE" | "BETWEEN" | "CONTAINS") => {
            has(Operator) || (has(Column) && *one == Keyword("NOT"))
        }
        Symbol("(") => has(Column),
        Symbol("[") => has(Value) || has(Vector),
        _ => false,
    };
    let ordered = expected.iter().filter(|one| **one != End);
    let ordered = ordered.chain(expected.iter().filter(|one| **one == End));
    let mut words: Vec<String> =
        ordered.filter(|one| !implied(one)).map(ToString::to_string).collect();
    if statement {
        words.push("a statement".to_owned());
    }
    let last = words.pop().unwrap_or_else(|| "something else".to_owned());
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}
