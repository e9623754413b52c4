//! SIDs and their prefixes: `a1.b33`, `a1.*.c192`, `a1.b2..b9`, `a1,b33,c192` and `<a_1><b_33>`.

use crate::ast::{Level, SidPattern, letters};
use crate::error::{Expected, ParseError};
use crate::lexer::{lex, pieces};
use crate::parser::failure::{Failure, Trace};
use crate::parser::primitive::{Parsed, end};
use crate::span::Span;
use crate::token::{TokenKind, Tokens};

/// The most levels that a SID may have.
pub const MAX_LEVELS: usize = 64;

/// Reads a SID or a prefix from a plain string, in any of its forms.
///
/// ```
/// use sidql_grammar::pattern::parse_sid;
/// assert_eq!(parse_sid("<a_1><b_33>"), parse_sid("a1.b33"));
/// assert_eq!(parse_sid("a1.c3"), None);
/// ```
pub fn parse_sid(text: &str) -> Option<SidPattern> {
    read_sid(text).ok()
}

/// Reads a SID or a prefix from a plain string, and says what is wrong with it.
pub fn read_sid(text: &str) -> Result<SidPattern, ParseError> {
    if text.len() > crate::MAX_STATEMENT_BYTES {
        return Err(ParseError::too_long(0, text.len()));
    }
    let tokens = lex(text);
    let pieces = pieces(text, &tokens);
    let trace = Trace::default();
    let problem = |found: &str| malformed(0, 0..text.len(), found);
    let [piece] = &pieces[..] else { return Err(problem("no SID")) };
    if piece.terminated {
        return Err(problem("`;`"));
    }
    let input = Tokens::new(piece.tokens, piece.end.start, &trace);
    let failed = |error| match error {
        nom::Err::Error(failure) | nom::Err::Failure(failure) => {
            Failure::explain(failure, text, piece, &trace)
        }
        nom::Err::Incomplete(_) => problem("half a SID"),
    };
    let (rest, sid) = sid(input, true).map_err(failed)?;
    end(rest).map_err(failed)?;
    Ok(sid)
}

/// The letters and the digits of a word such as `b33` or `b_33`.
fn shape(word: &str) -> Option<(&str, &str)> {
    let at = word.find(|letter: char| !letter.is_ascii_alphabetic())?;
    let (letters, digits) = word.split_at(at);
    let digits = digits.strip_prefix('_').unwrap_or(digits);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    ((1..=2).contains(&letters.len()) && numeric).then_some((letters, digits))
}

/// Whether a word looks like a level of a SID, so that as a column it is better quoted.
pub(crate) fn is_level(word: &str) -> bool {
    shape(word).is_some_and(|_| !word.contains('_'))
}

/// Whether the token so far ahead looks like a level and not like a function.
fn level_ahead<'a>(input: &Tokens<'a>, ahead: usize) -> Option<&'a str> {
    match input.ahead(ahead) {
        Some(TokenKind::Word(word)) if is_level(word) && !input.is_symbol(ahead + 1, "(") => {
            Some(word)
        }
        _ => None,
    }
}

/// Whether a SID begins here where no column begins with a mark and a dot can mean nothing else.
pub(crate) fn starts_anywhere(input: &Tokens<'_>) -> bool {
    match input.peek() {
        Some(TokenKind::Symbol("<")) => true,
        Some(TokenKind::Symbol("*") | TokenKind::Word(_)) => input.is_symbol(1, "."),
        _ => false,
    }
}

/// Whether a SID begins here, beside `prefix` or `sid`, where a bare `a1` is one too.
pub(crate) fn starts(input: &Tokens<'_>) -> bool {
    starts_anywhere(input) || input.is_symbol(0, "*") || level_ahead(input, 0).is_some()
}

/// A SID pattern. With `commas` its levels may also be separated by commas.
pub(crate) fn sid(input: Tokens<'_>, commas: bool) -> Parsed<'_, SidPattern> {
    if input.is_symbol(0, "<") {
        return bracketed(input);
    }
    qualified(&input)?;
    let mut levels = Vec::new();
    let mut rest = input;
    loop {
        let level;
        (rest, level) = level_or_range(rest, levels.len())?;
        levels.push(level);
        if rest.is_symbol(0, ".") || (commas && goes_on_behind_comma(&rest)) {
            rest = rest.skip(1);
        } else {
            return Ok((rest, SidPattern { levels }));
        }
    }
}

/// Whether the comma here is followed by a further level: in `a1, a7` a new SID begins.
fn goes_on_behind_comma(input: &Tokens<'_>) -> bool {
    input.is_symbol(0, ",")
        && level_ahead(input, 1)
            .and_then(shape)
            .is_some_and(|(found, _)| !found.eq_ignore_ascii_case("a"))
}

/// `<a_1><b_33>`
fn bracketed(input: Tokens<'_>) -> Parsed<'_, SidPattern> {
    let mut levels = Vec::new();
    let mut rest = input;
    loop {
        rest = rest.skip(1);
        // `<a_*>` is a word and a mark.
        let any = match rest.peek() {
            Some(TokenKind::Word(word)) => {
                let prefix = word.trim_end_matches('_');
                rest.is_symbol(1, "*") && prefix.eq_ignore_ascii_case(&letters(levels.len()))
            }
            _ => false,
        };
        let level;
        (rest, level) =
            if any { (rest.skip(2), Level::Any) } else { level_or_range(rest, levels.len())? };
        levels.push(level);
        if !rest.is_symbol(0, ">") {
            return Err(rest.fail(Expected::Symbol(">")));
        }
        rest = rest.skip(1);
        // A `<` that no level and `>` follow is a comparison.
        let level_follows = match rest.ahead(1) {
            Some(TokenKind::Word(word)) => {
                shape(word).is_some() && (rest.is_symbol(2, ">") || dots(&rest, 2))
            }
            Some(TokenKind::Symbol("*")) => rest.is_symbol(2, ">"),
            _ => false,
        };
        let any_follows = rest.is_symbol(2, "*") && rest.is_symbol(3, ">");
        if !(rest.is_symbol(0, "<") && (level_follows || any_follows)) {
            return Ok((rest, SidPattern { levels }));
        }
    }
}

/// A word and a dot that begin no SID: a column with the name of its relation before it.
fn qualified(input: &Tokens<'_>) -> Result<(), nom::Err<Failure>> {
    let (Some(TokenKind::Word(word)), true) = (input.peek(), input.is_symbol(1, ".")) else {
        return Ok(());
    };
    if shape(word).is_some() {
        return Ok(());
    }
    let message = format!("`{word}.` begins neither a SID nor a column");
    let error = ParseError::syntax(input.span(), message, format!("`{word}`"));
    let help = match input.ahead(2) {
        Some(TokenKind::Word(column)) => {
            format!("columns have no relation before them: write `{column}`")
        }
        _ => "a SID is written like `a1.b33`".to_owned(),
    };
    Err(input.stop(error.with_expected(vec![Expected::Sid]).with_help(help)))
}

/// Whether the two dots of a range stand so far ahead.
fn dots(input: &Tokens<'_>, ahead: usize) -> bool {
    input.is_symbol(ahead, ".") && input.is_symbol(ahead + 1, ".")
}

/// The level of this depth (from 0): `*`, `b33`, or `b2..b9`.
fn level_or_range(input: Tokens<'_>, depth: usize) -> Parsed<'_, Level> {
    let (rest, level) = one_level(input, depth)?;
    let Level::Code(from) = level else { return Ok((rest, level)) };
    if !dots(&rest, 0) {
        return Ok((rest, level));
    }
    let (behind, to) = one_level(rest.skip(2), depth)?;
    let Level::Code(to) = to else {
        let message = "a range ends with a code, as in `b2..b9`".to_owned();
        return Err(rest.skip(2).stop(ParseError::syntax(
            rest.skip(2).span(),
            message,
            String::new(),
        )));
    };
    if from > to {
        let name = letters(depth);
        let message = format!("the range {name}{from}..{name}{to} runs backwards");
        let error = ParseError::syntax(input.span_to(&behind), message, String::new());
        return Err(input.stop(error.with_help(format!("write {name}{to}..{name}{from}"))));
    }
    Ok((behind, Level::Range(from, to)))
}

/// The level of this depth (from 0): `*`, or its letters and a code.
fn one_level(input: Tokens<'_>, depth: usize) -> Parsed<'_, Level> {
    if depth == MAX_LEVELS {
        let message = format!("a SID has at most {MAX_LEVELS} levels");
        let error = ParseError::syntax(input.span(), message, String::new());
        return Err(input.stop(error));
    }
    match input.peek() {
        Some(TokenKind::Symbol("*")) => Ok((input.skip(1), Level::Any)),
        Some(TokenKind::Word(word)) => {
            let stop = |error| input.stop(error);
            let Some((found, digits)) = shape(word) else {
                return Err(stop(malformed(depth, input.span(), &format!("`{word}`"))));
            };
            if !found.eq_ignore_ascii_case(&letters(depth)) {
                return Err(stop(malformed(depth, input.span(), &format!("`{word}`"))));
            }
            let Ok(code) = digits.parse::<u16>() else {
                let message = format!("code {digits} of level {} is over 65535", depth + 1);
                let found = format!("`{word}`");
                return Err(stop(ParseError::syntax(input.span(), message, found)));
            };
            Ok((input.skip(1), Level::Code(code)))
        }
        // Behind a dot nothing but a level can follow.
        Some(TokenKind::Int(code)) if depth > 0 => {
            Err(input.stop(malformed(depth, input.span(), &format!("`{code}`"))))
        }
        _ => Err(input.fail(Expected::Sid)),
    }
}

/// The error of a level that is not what its depth asks for.
fn malformed(depth: usize, span: Span, found: &str) -> ParseError {
    let wanted = letters(depth);
    let digits: String = found.chars().filter(char::is_ascii_digit).take(5).collect();
    let digits = if digits.is_empty() { "1" } else { &digits };
    let message = format!(
        "level {} of a SID is `{wanted}` and a code, such as `{wanted}{digits}`, or `*`; found {found}",
        depth + 1
    );
    ParseError::syntax(span, message, found.to_owned())
        .with_expected(vec![Expected::Sid])
        .with_help("levels are written a, b, c … from the root: `a1.b33.c192`")
}
