//! The language of sidql: text to syntax tree and back.
//!
//! [`parse`] reads one statement, [`parse_script`] several; a [`ParseError`] knows its place, what
//! was expected there and often the word that was meant. Printing a [`ast::Statement`] gives the
//! canonical text. Names are not resolved here: which relations, kinds and options exist is
//! the engine's business.
//!
//! # The grammar
//!
//! ```text
#![doc = include_str!("../sidql.ebnf")]
//! ```

pub mod ast;
mod error;
pub mod keyword;
mod lexer;
mod parser;
mod print;
pub mod report;
pub mod span;
pub mod suggest;
mod token;

/// SID patterns in plain strings, for example in the value of a text column or a parameter.
pub mod pattern {
    pub use crate::ast::letters;
    pub use crate::parser::pattern::{MAX_LEVELS, parse_sid, read_sid};
}

pub use error::{Expected, ParseError};
pub use parser::{MAX_DEPTH, MAX_TERMS, statement_forms};

use ast::Statement;
use lexer::{Piece, lex, pieces};
use span::{Span, Spanned};

/// The longest statement in bytes.
pub const MAX_STATEMENT_BYTES: usize = 1 << 20;

/// Reads one statement; a `;` behind it is optional.
pub fn parse(text: &str) -> Result<Statement, ParseError> {
    if text.len() > MAX_STATEMENT_BYTES {
        return Err(ParseError::too_long(0, text.len()));
    }
    let tokens = lex(text);
    let pieces = pieces(text, &tokens);
    if let Some(second) = pieces.get(1) {
        return Err(ParseError::second_statement(text, second.span()));
    }
    let piece = pieces.into_iter().next().unwrap_or_else(|| Piece::blank(text, &tokens));
    Ok(parser::parse_piece(text, &piece)?.node)
}

/// Reads the statements of a script; their spans are places in the whole text.
pub fn parse_script(text: &str) -> Result<Vec<Spanned<Statement>>, ParseError> {
    let tokens = lex(text);
    pieces(text, &tokens)
        .iter()
        .map(|piece| {
            let span = piece.span();
            if span.len() > MAX_STATEMENT_BYTES {
                return Err(ParseError::too_long(span.start, span.len()));
            }
            parser::parse_piece(text, piece)
        })
        .collect()
}

/// The places of the statements of a script, without their `;` and without parsing them.
pub fn split(text: &str) -> Vec<Span> {
    let tokens = lex(text);
    pieces(text, &tokens).iter().map(Piece::span).collect()
}

/// Whether the text ends with a `;` outside texts and comments, or is blank.
pub fn is_complete(text: &str) -> bool {
    lex(text).last().is_none_or(|token| token.is_symbol(";"))
}

/// What could stand where the word under the cursor begins.
///
/// Empty within texts, comments and behind a syntax error.
pub fn expected_at(text: &str, offset: usize) -> Vec<Expected> {
    let before = &text[..span::floor(text, offset)];
    let word = before.chars().rev().take_while(|letter| lexer::continues_word(*letter));
    let before = &before[..before.len() - word.map(char::len_utf8).sum::<usize>()];
    // Within a text or a comment a further word is not a word.
    if !lex(&format!("{before} x")).last().is_some_and(|token| token.is_word("x")) {
        return Vec::new();
    }
    let tokens = lex(before);
    let last = tokens.iter().rposition(|token| token.is_symbol(";")).map_or(0, |at| at + 1);
    let end = before.len()..before.len();
    parser::expected_at_end(&Piece { tokens: &tokens[last..], end, terminated: false })
}
