//! Tokens, and the token slice as the input of nom.

use std::iter::Enumerate;
use std::slice::Iter;

use crate::ast::Name;
use crate::error::{Expected, ParseError};
use crate::parser::failure::{Failure, Trace};
use crate::span::{Span, Spanned};

/// A token with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind<'a>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind<'a> {
    /// A keyword or a name.
    Word(&'a str),
    /// `"a name"`
    Quoted(String),
    Int(u64),
    Float(f64),
    /// `'a text'`
    Text(String),
    /// `?`, counted from 0 in each statement.
    Positional(usize),
    /// `$name`
    Named(&'a str),
    Symbol(&'static str),
    /// Something that no statement holds.
    Bad(Box<BadToken>),
}

/// Why something is not a token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BadToken {
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
    /// Whether it runs to the end of the text because its closing mark is missing.
    pub(crate) open: bool,
}

impl Token<'_> {
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(&self.kind, TokenKind::Symbol(found) if *found == symbol)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(found) if found.eq_ignore_ascii_case(word))
    }

    pub(crate) fn span(&self) -> Span {
        self.start..self.end
    }
}

/// The rest of a statement's tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'a> {
    /// All tokens of the statement.
    all: &'a [Token<'a>],
    /// The first one that is left.
    at: usize,
    /// How deep the expression or list being read is nested.
    depth: usize,
    /// The furthest failure, kept here so that alternatives which `opt` gave up still count.
    trace: &'a Trace,
    /// The place behind the last token.
    end: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(all: &'a [Token<'a>], end: usize, trace: &'a Trace) -> Self {
        Tokens { all, at: 0, depth: 0, trace, end }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The kind of the token that is `ahead` tokens from here.
    pub(crate) fn ahead(&self, ahead: usize) -> Option<&'a TokenKind<'a>> {
        self.all.get(self.at + ahead).map(|token| &token.kind)
    }

    pub(crate) fn peek(&self) -> Option<&'a TokenKind<'a>> {
        self.ahead(0)
    }

    pub(crate) fn is_keyword(&self, ahead: usize, word: &str) -> bool {
        self.all.get(self.at + ahead).is_some_and(|token| token.is_word(word))
    }

    pub(crate) fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        self.all.get(self.at + ahead).is_some_and(|token| token.is_symbol(symbol))
    }

    pub(crate) fn skip(&self, count: usize) -> Self {
        Tokens { at: (self.at + count).min(self.all.len()), ..*self }
    }

    /// The place of the next token, or the end.
    pub(crate) fn span(&self) -> Span {
        self.all.get(self.at).map_or(self.end..self.end, Token::span)
    }

    /// The place from here to where the rest begins.
    pub(crate) fn span_to(&self, rest: &Tokens<'_>) -> Span {
        let start = self.span().start;
        let last = rest.at.checked_sub(1).and_then(|at| self.all.get(at));
        start..last.map_or(start, |token| token.end.max(start))
    }

    /// One level deeper.
    pub(crate) fn enter(self) -> Result<Self, nom::Err<Failure>> {
        if self.depth == crate::MAX_DEPTH {
            let message = format!("the statement nests deeper than {} levels", crate::MAX_DEPTH);
            let error = ParseError::too_deep(self.span(), message);
            return Err(self.stop(error.with_help("write it with fewer parentheses, NOT or lists")));
        }
        Ok(Tokens { depth: self.depth + 1, ..self })
    }

    /// Back at the depth of the input that `enter` was called on.
    pub(crate) fn leave(self, outer: &Self) -> Self {
        Tokens { depth: outer.depth, ..self }
    }

    /// Counts an operator that makes the tree one level higher.
    pub(crate) fn count_term(&self) -> Result<(), nom::Err<Failure>> {
        if self.trace.count_term() <= crate::MAX_TERMS {
            return Ok(());
        }
        let message = format!("the statement has more than {} times AND or OR", crate::MAX_TERMS);
        let error = ParseError::too_deep(self.span(), message);
        Err(self.stop(error.with_help("compare with many values by IN")))
    }

    /// Notes what could have stood here.
    pub(crate) fn note(&self, expected: Expected) {
        self.trace.note(self.at, expected);
    }

    /// A failure that other alternatives may mend.
    pub(crate) fn fail(&self, expected: Expected) -> nom::Err<Failure> {
        self.note(expected);
        nom::Err::Error(Failure::at(self.at))
    }

    /// A failure that ends the parse with this error.
    pub(crate) fn stop(&self, error: ParseError) -> nom::Err<Failure> {
        nom::Err::Failure(Failure::because(self.at, error))
    }

    /// A name with the place of the next token.
    pub(crate) fn name(&self, text: &str) -> Name {
        Spanned::new(text.to_owned(), self.span())
    }
}

impl<'a> nom::Input for Tokens<'a> {
    type Item = &'a Token<'a>;
    type Iter = Iter<'a, Token<'a>>;
    type IterIndices = Enumerate<Iter<'a, Token<'a>>>;

    fn input_len(&self) -> usize {
        self.all.len() - self.at
    }

    fn take(&self, index: usize) -> Self {
        let end = self.all.get(self.at + index).map_or(self.end, |token| token.start);
        Tokens { all: &self.all[..self.at + index], end, ..*self }
    }

    fn take_from(&self, index: usize) -> Self {
        self.skip(index)
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        (self.take_from(index), self.take(index))
    }

    fn position<P>(&self, predicate: P) -> Option<usize>
    where
        P: Fn(Self::Item) -> bool,
    {
        self.iter_elements().position(predicate)
    }

    fn iter_elements(&self) -> Self::Iter {
        self.all[self.at..].iter()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, nom::Needed> {
        let left = self.input_len();
        if count <= left { Ok(count) } else { Err(nom::Needed::new(count - left)) }
    }
}
