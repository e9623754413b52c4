//! How to mend a statement. Most advice is tried before it is given: a change is worth naming when
//! the parse goes on behind the place where it stopped.

use crate::error::Expected;
use crate::keyword::{self, KEYWORDS};
use crate::lexer::Piece;
use crate::parser::failure::{Trace, clipped};
use crate::parser::{form_of, is_starter, run};
use crate::print::Identifier;
use crate::span::line_column;
use crate::suggest::nearest;
use crate::token::{Token, TokenKind};

/// Longer statements are not tried with changes.
const MAX_TOKENS: usize = 1000;

/// The most particular advice for what was found at this token.
pub(super) fn advice(
    text: &str,
    piece: &Piece<'_>,
    at: usize,
    expected: &[Expected],
) -> Option<String> {
    let token = piece.tokens.get(at);
    let word = token.and_then(|token| match token.kind {
        TokenKind::Word(word) => Some(word),
        _ => None,
    });
    if let Some(near) = word.and_then(|word| nearest(word, keywords(expected))) {
        return Some(format!("did you mean `{near}`?"));
    }
    if at == 0 {
        let words: Vec<String> = expected.iter().map(ToString::to_string).collect();
        return Some(format!("a statement begins with {}", words.join(", ")));
    }
    if let Some(word) = word
        && is_starter(word)
        && expected.contains(&Expected::End)
    {
        return Some(format!("end the statement before `{word}` with `;`"));
    }
    reserved(piece, at, word, expected)
        .or_else(|| torn(piece, at))
        .or_else(|| marked(text, piece, at, expected))
        .or_else(|| overquoted(piece, at, expected))
        .or_else(|| unquoted(text, piece, at, expected))
        .or_else(|| unclosed(text, &piece.tokens[..at], expected))
        .or_else(|| missing(text, piece, at, expected))
        .or_else(|| misspelt_before(piece, at))
        .or_else(|| form(piece, expected))
}

fn keywords(expected: &[Expected]) -> impl Iterator<Item = &'static str> {
    expected.iter().filter_map(|one| match one {
        Expected::Keyword(keyword) => Some(*keyword),
        _ => None,
    })
}

/// How far the parse goes with `count` tokens replaced; `None` if to the end.
fn changed<'t>(
    piece: &Piece<'t>,
    at: usize,
    count: usize,
    put: Option<TokenKind<'t>>,
) -> Option<usize> {
    let (start, end) = piece
        .tokens
        .get(at)
        .map_or((piece.end.start, piece.end.start), |token| (token.start, token.end));
    let mut tokens = piece.tokens.to_vec();
    tokens.splice(at..at + count, put.map(|kind| Token { kind, start, end }));
    let trace = Trace::default();
    let piece = Piece { tokens: &tokens, end: piece.end.clone(), terminated: piece.terminated };
    run(&piece, &trace).err().map(|_| trace.furthest())
}

/// Whether the parse of the changed statement ends well or comes beyond a token.
fn mends<'t>(
    piece: &Piece<'t>,
    at: usize,
    count: usize,
    put: Option<TokenKind<'t>>,
    beyond: usize,
) -> bool {
    piece.tokens.len() <= MAX_TOKENS
        && changed(piece, at, count, put).is_none_or(|furthest| furthest > beyond)
}

/// A reserved word as a name.
fn reserved(
    piece: &Piece<'_>,
    at: usize,
    word: Option<&str>,
    expected: &[Expected],
) -> Option<String> {
    let word = word.filter(|word| keyword::is_reserved(word))?;
    let named = expected.iter().any(|one| one.is_name());
    let quoted = TokenKind::Quoted(word.to_owned());
    (named && mends(piece, at, 1, Some(quoted), at + 1))
        .then(|| format!("`{word}` is a word of the language; as a name write \"{word}\""))
}

/// A text that a quote within it has ended.
fn torn(piece: &Piece<'_>, at: usize) -> Option<String> {
    let (before, token) = (piece.tokens.get(at.checked_sub(1)?)?, piece.tokens.get(at)?);
    let text = matches!(before.kind, TokenKind::Text(_));
    let rest = matches!(token.kind, TokenKind::Word(_) | TokenKind::Bad(_));
    (text && rest && before.end == token.start)
        .then(|| "a quote within a text is written twice: 'it''s'".to_owned())
}

/// How many tokens from this one on stand without a gap and are no punctuation: `clip-base.2`.
fn joined(tokens: &[Token<'_>]) -> usize {
    let part = |token: &Token<'_>| match &token.kind {
        TokenKind::Word(_) | TokenKind::Int(_) | TokenKind::Float(_) => true,
        TokenKind::Symbol(mark) => ["-", "."].contains(mark),
        TokenKind::Bad(bad) => !bad.open,
        _ => false,
    };
    let gap = |pair: &[Token<'_>]| pair[0].end != pair[1].start || !part(&pair[1]);
    tokens.windows(2).position(gap).map_or(tokens.len(), |before| before + 1)
}

/// A name, or a text of an option, with marks in it.
fn marked(text: &str, piece: &Piece<'_>, at: usize, expected: &[Expected]) -> Option<String> {
    let first = at.checked_sub(1)?;
    // Where a comparison may follow, `-` was meant as an operator.
    let word = matches!(piece.tokens[first].kind, TokenKind::Word(_));
    let count = joined(&piece.tokens[first..]);
    if !word || count == 1 || expected.contains(&Expected::Operator) {
        return None;
    }
    let written = &text[piece.tokens[first].start..piece.tokens[first + count - 1].end];
    if !mends(piece, first, count, Some(TokenKind::Quoted(written.to_owned())), at) {
        return None;
    }
    let value = first.checked_sub(1).is_some_and(|before| piece.tokens[before].is_symbol("="));
    let written = clipped(written);
    Some(if value {
        format!("texts are written in single quotes: '{written}'")
    } else {
        format!("a name with marks in it is written in double quotes: \"{written}\"")
    })
}

/// A name in the quotes of a text.
fn overquoted(piece: &Piece<'_>, at: usize, expected: &[Expected]) -> Option<String> {
    let TokenKind::Text(name) = &piece.tokens.get(at)?.kind else { return None };
    let named = expected.iter().any(|one| one.is_name()) && !name.is_empty();
    let mended = || mends(piece, at, 1, Some(TokenKind::Quoted(name.clone())), at);
    (named && mended())
        .then(|| format!("names have no single quotes: {}", Identifier(&clipped(name))))
}

/// A text without quotes.
fn unquoted(text: &str, piece: &Piece<'_>, at: usize, expected: &[Expected]) -> Option<String> {
    let token = piece.tokens.get(at)?;
    let wants = expected.contains(&Expected::Text)
        || (expected.contains(&Expected::Value) && !expected.contains(&Expected::Column));
    let written = match &token.kind {
        TokenKind::Word(_) | TokenKind::Int(_) | TokenKind::Float(_) => {
            &text[token.start..piece.tokens[at + joined(&piece.tokens[at..]) - 1].end]
        }
        TokenKind::Quoted(name) => name,
        _ => return None,
    };
    wants.then(|| format!("texts are written in single quotes: '{}'", clipped(written)))
}

/// A bracket that is still open.
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

/// A mark or a keyword that is missing, or a comma too many.
fn missing(text: &str, piece: &Piece<'_>, at: usize, expected: &[Expected]) -> Option<String> {
    let token = piece.tokens.get(at)?;
    let found = clipped(&text[token.span()]);
    if piece.tokens[at - 1].is_symbol(",") && mends(piece, at - 1, 1, None, at) {
        return Some(format!("there is a `,` too many before `{found}`"));
    }
    let mut marks = expected.iter().filter_map(|one| match one {
        Expected::Symbol(mark) => Some((*mark, TokenKind::Symbol(mark))),
        _ => None,
    });
    let helps = |kind: &TokenKind<'static>| mends(piece, at, 0, Some(kind.clone()), at + 2);
    let mark = marks.find(|(_, kind)| helps(kind)).map(|(mark, _)| mark);
    // Of several keywords any might be meant.
    let mut words = keywords(expected).filter(|word| helps(&TokenKind::Word(word)));
    let put = match mark {
        Some(mark) => mark,
        None => words.next().filter(|_| words.next().is_none())?,
    };
    Some(format!("put `{put}` before `{found}`"))
}

/// A misspelt keyword that was taken for a name.
fn misspelt_before(piece: &Piece<'_>, at: usize) -> Option<String> {
    let TokenKind::Word(word) = piece.tokens.get(at - 1)?.kind else { return None };
    let known = KEYWORDS.iter().map(|keyword| keyword.text);
    if keyword::find(word).is_some() {
        return None;
    }
    let near = nearest(word, known)?;
    mends(piece, at - 1, 1, Some(TokenKind::Word(near)), at)
        .then(|| format!("did you mean `{near}` instead of `{word}`?"))
}

/// The form of the statement, unless an operand is missing, where it does not help.
fn form(piece: &Piece<'_>, expected: &[Expected]) -> Option<String> {
    let operand = expected.contains(&Expected::Value) && expected.contains(&Expected::Column);
    let shaping = expected.iter().any(|one| {
        one.is_name() || matches!(one, Expected::Keyword(_) | Expected::Symbol(_) | Expected::End)
    });
    let form = form_of(piece.tokens).filter(|_| shaping && !operand)?;
    Some(format!("the form is {form}"))
}
