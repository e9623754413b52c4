//! How far a parse came and what would have let it go on.
//!
//! Every primitive notes what it expected and where. The furthest place wins and ties are merged,
//! whichever alternative they came from; this is both the error message and the completion.

use std::cell::{Cell, RefCell};

use nom::error::{ErrorKind, ParseError as NomError};

use crate::error::{Expected, ParseError};
use crate::keyword;
use crate::lexer::Piece;
use crate::parser::{form_of, is_starter};
use crate::span::line_column;
use crate::suggest::nearest;
use crate::token::{Token, TokenKind, Tokens};

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
        error.help = help(text, piece, at, &expected);
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
    error.help = help(text, piece, at, &expected);
    error.with_expected(expected)
}

/// The beginning of a token that may be long.
fn clipped(token: &str) -> String {
    const MOST: usize = 40;
    if token.chars().count() <= MOST {
        return token.to_owned();
    }
    token.chars().take(MOST).chain(['…']).collect()
}

/// The expected set as a phrase. What a comparison or a column implies is left out.
fn listed(expected: &[Expected]) -> String {
    use Expected::{Column, Keyword, Operator, Symbol, Value};
    if expected.iter().all(|one| matches!(one, Keyword(word) if is_starter(word))) {
        return "a statement".to_owned();
    }
    let has = |one: Expected| expected.contains(&one);
    let implied = |one: &Expected| match one {
        Keyword("NOT" | "IN" | "IS" | "LIKE" | "BETWEEN" | "CONTAINS") if has(Operator) => true,
        Keyword("NOT") | Symbol("(" | "-") if has(Column) => true,
        Keyword("TRUE" | "FALSE" | "NULL") if has(Value) => true,
        _ => false,
    };
    let mut words: Vec<String> =
        expected.iter().filter(|one| !implied(one)).map(ToString::to_string).collect();
    let last = words.pop().unwrap_or_else(|| "something else".to_owned());
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

/// How to mend it, the most particular advice first.
fn help(text: &str, piece: &Piece<'_>, at: usize, expected: &[Expected]) -> Option<String> {
    let token = piece.tokens.get(at);
    let word = token.and_then(|token| match token.kind {
        TokenKind::Word(word) => Some(word),
        _ => None,
    });
    if let Some(word) = word {
        let keywords = expected.iter().filter_map(|one| match one {
            Expected::Keyword(keyword) => Some(*keyword),
            _ => None,
        });
        if let Some(near) = nearest(word, keywords) {
            return Some(format!("did you mean `{near}`?"));
        }
    }
    if at == 0 {
        let words: Vec<String> = expected.iter().map(ToString::to_string).collect();
        return Some(format!("a statement begins with {}", words.join(", ")));
    }
    if let Some(word) = word {
        if is_starter(word) && expected.contains(&Expected::End) {
            return Some(format!("end the statement before `{word}` with `;`"));
        }
        if keyword::is_reserved(word) && expected.iter().any(|one| one.is_name()) {
            return Some(format!("`{word}` is a word of the language; as a name write \"{word}\""));
        }
    }
    unquoted(text, token, expected)
        .or_else(|| unclosed(text, &piece.tokens[..at], expected))
        .or_else(|| form_of(piece.tokens).map(|form| format!("the form is {form}")))
}

/// Advice where a text without quotes stands for a text.
fn unquoted(text: &str, token: Option<&Token<'_>>, expected: &[Expected]) -> Option<String> {
    let token = token?;
    let wants = expected.contains(&Expected::Text)
        || (expected.contains(&Expected::Value) && !expected.contains(&Expected::Column));
    let written = match &token.kind {
        TokenKind::Word(word) => *word,
        TokenKind::Quoted(name) => name,
        TokenKind::Int(_) | TokenKind::Float(_) => &text[token.span()],
        _ => return None,
    };
    wants.then(|| format!("texts are written in single quotes: '{}'", clipped(written)))
}

/// Advice where a bracket is still open.
fn unclosed(text: &str, before: &[Token<'_>], expected: &[Expected]) -> Option<String> {
    const PAIRS: [(&str, &str); 3] = [("(", ")"), ("[", "]"), ("{", "}")];
    let mut open: Vec<&Token<'_>> = Vec::new();
    for token in before {
        if PAIRS.iter().any(|(opening, _)| token.is_symbol(opening)) {
            open.push(token);
        } else if PAIRS.iter().any(|(_, closing)| token.is_symbol(closing)) {
            open.pop();
        }
    }
    let last = open.last()?;
    let (opening, closing) = PAIRS.iter().find(|(opening, _)| last.is_symbol(opening))?;
    if !expected.iter().any(|one| matches!(one, Expected::Symbol(symbol) if symbol == closing)) {
        return None;
    }
    let (line, column) = line_column(text, last.start);
    Some(format!("the `{opening}` at line {line}, column {column} is not closed"))
}
