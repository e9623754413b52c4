//! The small parsers that the statements are made of.

use nom::combinator::{cut, opt};
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use crate::ast::{Literal, Name, Operand, OptionValue, Param, WithOption};
use crate::error::{Expected, ParseError};
use crate::keyword;
use crate::parser::failure::Failure;
use crate::parser::pattern;
use crate::span::Spanned;
use crate::token::{TokenKind, Tokens};

/// What a parser returns.
pub(crate) type Parsed<'a, T> = IResult<Tokens<'a>, T, Failure>;

/// One keyword, in any case.
pub(crate) fn keyword<'a>(word: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, ()> {
    debug_assert!(keyword::find(word).is_some(), "{word} is missing in the table of keywords");
    move |input| {
        if input.is_keyword(0, word) {
            Ok((input.skip(1), ()))
        } else {
            Err(input.fail(Expected::Keyword(word)))
        }
    }
}

/// Two keywords; the first one commits to the second.
pub(crate) fn keywords<'a>(
    first: &'static str,
    second: &'static str,
) -> impl Parser<Tokens<'a>, Output = (), Error = Failure> {
    preceded(keyword(first), cut(keyword(second)))
}

/// One mark.
pub(crate) fn symbol<'a>(mark: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, ()> {
    move |input| {
        if input.is_symbol(0, mark) {
            Ok((input.skip(1), ()))
        } else {
            Err(input.fail(Expected::Symbol(mark)))
        }
    }
}

/// The end of the statement.
pub(crate) fn end(input: Tokens<'_>) -> Parsed<'_, ()> {
    match input.peek() {
        None => {
            // Noted all the same: a complete statement may end here.
            input.note(Expected::End);
            Ok((input, ()))
        }
        Some(_) => Err(input.fail(Expected::End)),
    }
}

/// A clause that a keyword begins and commits to.
pub(crate) fn clause<'a, P>(
    word: &'static str,
    body: P,
) -> impl Parser<Tokens<'a>, Output = Option<P::Output>, Error = Failure>
where
    P: Parser<Tokens<'a>, Error = Failure>,
{
    opt(preceded(keyword(word), cut(body)))
}

/// One or more, with commas between them.
pub(crate) fn list<'a, P>(
    item: P,
) -> impl Parser<Tokens<'a>, Output = Vec<P::Output>, Error = Failure>
where
    P: Parser<Tokens<'a>, Error = Failure>,
{
    separated_list1(symbol(","), item)
}

/// What a parser reads, with its place.
pub(crate) fn spanned<'a, P>(
    mut parser: P,
) -> impl FnMut(Tokens<'a>) -> Parsed<'a, Spanned<P::Output>>
where
    P: Parser<Tokens<'a>, Error = Failure>,
{
    move |input| {
        let (rest, node) = parser.parse(input)?;
        Ok((rest, Spanned::new(node, input.span_to(&rest))))
    }
}

/// A name where keywords may follow: reserved words must be quoted.
pub(crate) fn name<'a>(what: Expected) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| match input.peek() {
        Some(TokenKind::Word(word)) if !keyword::is_reserved(word) => {
            Ok((input.skip(1), input.name(word)))
        }
        Some(TokenKind::Quoted(text)) => Ok((input.skip(1), input.name(text))),
        _ => Err(input.fail(what)),
    }
}

/// A name where nothing but a name can stand, so that any word will do.
pub(crate) fn field<'a>(what: Expected) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| match input.peek() {
        Some(TokenKind::Word(word)) => Ok((input.skip(1), input.name(word))),
        Some(TokenKind::Quoted(text)) => Ok((input.skip(1), input.name(text))),
        _ => Err(input.fail(what)),
    }
}

/// A whole number from 0.
pub(crate) fn natural(input: Tokens<'_>) -> Parsed<'_, Spanned<u64>> {
    match input.peek() {
        Some(TokenKind::Int(value)) => Ok((input.skip(1), Spanned::new(*value, input.span()))),
        _ => Err(input.fail(Expected::Number)),
    }
}

/// `?` or `$name`
pub(crate) fn param(input: Tokens<'_>) -> Parsed<'_, Param> {
    match input.peek() {
        Some(TokenKind::Positional(index)) => Ok((input.skip(1), Param::Positional(*index))),
        Some(TokenKind::Named(name)) => Ok((input.skip(1), Param::Named((*name).to_owned()))),
        _ => Err(input.fail(Expected::Value)),
    }
}

/// A whole number from 0, or a parameter.
pub(crate) fn count(input: Tokens<'_>) -> Parsed<'_, Spanned<Operand>> {
    match input.peek() {
        Some(TokenKind::Int(value)) => {
            let value = integer(&input, *value, false)?;
            let operand = Operand::Literal(Literal::Int(value));
            Ok((input.skip(1), Spanned::new(operand, input.span())))
        }
        Some(TokenKind::Positional(_) | TokenKind::Named(_)) => {
            spanned(param.map(Operand::Param)).parse(input)
        }
        _ => Err(input.fail(Expected::Number)),
    }
}

/// A text, or a parameter.
pub(crate) fn text(input: Tokens<'_>) -> Parsed<'_, Spanned<Operand>> {
    match input.peek() {
        Some(TokenKind::Text(text)) => {
            let operand = Operand::Literal(Literal::Text(text.clone()));
            Ok((input.skip(1), Spanned::new(operand, input.span())))
        }
        Some(TokenKind::Positional(_) | TokenKind::Named(_)) => {
            spanned(param.map(Operand::Param)).parse(input)
        }
        _ => Err(input.fail(Expected::Text)),
    }
}

/// A literal other than a SID.
pub(crate) fn literal(input: Tokens<'_>) -> Parsed<'_, Literal> {
    let negative = input.is_symbol(0, "-");
    let value = match input.ahead(usize::from(negative)) {
        Some(TokenKind::Int(value)) => Literal::Int(integer(&input, *value, negative)?),
        Some(TokenKind::Float(value)) => Literal::Float(if negative { -value } else { *value }),
        Some(TokenKind::Text(text)) if !negative => Literal::Text(text.clone()),
        Some(TokenKind::Word(word)) if !negative && word.eq_ignore_ascii_case("true") => {
            Literal::Bool(true)
        }
        Some(TokenKind::Word(word)) if !negative && word.eq_ignore_ascii_case("false") => {
            Literal::Bool(false)
        }
        Some(TokenKind::Word(word)) if !negative && word.eq_ignore_ascii_case("null") => {
            Literal::Null
        }
        _ => return Err(input.fail(Expected::Value)),
    };
    Ok((input.skip(1 + usize::from(negative)), value))
}

/// A number, for a vector.
pub(crate) fn number(input: Tokens<'_>) -> Parsed<'_, f64> {
    let negative = usize::from(input.is_symbol(0, "-"));
    let value = match input.ahead(negative) {
        Some(TokenKind::Int(value)) => *value as f64,
        Some(TokenKind::Float(value)) => *value,
        _ => return Err(input.fail(Expected::Number)),
    };
    Ok((input.skip(1 + negative), if negative == 1 { -value } else { value }))
}

/// A signed integer from its digits.
fn integer(input: &Tokens<'_>, digits: u64, negative: bool) -> Result<i64, nom::Err<Failure>> {
    let value = i128::from(digits) * if negative { -1 } else { 1 };
    i64::try_from(value).map_err(|_| {
        let found = format!("`{value}`");
        let error = ParseError::syntax(input.span(), "the number is too large".to_owned(), found);
        input.stop(error.with_help("whole numbers go up to 9223372036854775807"))
    })
}

/// `[…]` of whatever the item is.
fn values<'a>(
    item: impl Fn(Tokens<'a>) -> Parsed<'a, Spanned<OptionValue>>,
) -> impl Fn(Tokens<'a>) -> Parsed<'a, OptionValue> {
    move |input| {
        let inner = input.enter()?;
        let (rest, items) =
            delimited(symbol("["), cut(opt(list(&item))), cut(symbol("]"))).parse(inner)?;
        Ok((rest.leave(&input), OptionValue::List(items.unwrap_or_default())))
    }
}

/// A value of a field: a literal, a parameter or a list.
pub(crate) fn value(input: Tokens<'_>) -> Parsed<'_, Spanned<OptionValue>> {
    let read = |input| match input {
        input if pattern::starts_anywhere(&input) => pattern::sid(input, false)
            .map(|(rest, sid)| (rest, OptionValue::Literal(Literal::Sid(sid)))),
        input if input.is_symbol(0, "[") => values(value)(input),
        input => param
            .map(OptionValue::Param)
            .or(literal.map(OptionValue::Literal))
            .or(symbol("[").map(|()| OptionValue::List(Vec::new())))
            .parse(input),
    };
    spanned(read)(input)
}

/// A value of an option, where a bare word stands for a text.
pub(crate) fn option_value(input: Tokens<'_>) -> Parsed<'_, Spanned<OptionValue>> {
    let bare = match input.peek() {
        _ if pattern::starts_anywhere(&input) => None,
        Some(TokenKind::Word(word)) if !is_constant(word) => Some((*word).to_owned()),
        Some(TokenKind::Quoted(text)) => Some(text.clone()),
        _ => None,
    };
    if let Some(text) = bare {
        let value = OptionValue::Literal(Literal::Text(text));
        return Ok((input.skip(1), Spanned::new(value, input.span())));
    }
    if input.is_symbol(0, "[") {
        return spanned(values(option_value))(input);
    }
    value(input)
}

fn is_constant(word: &str) -> bool {
    ["true", "false", "null"].iter().any(|constant| word.eq_ignore_ascii_case(constant))
}

/// `name = value`
pub(crate) fn option(input: Tokens<'_>) -> Parsed<'_, WithOption> {
    let (rest, name) = field(Expected::Option)(input)?;
    let (rest, value) = cut(preceded(symbol("="), option_value)).parse(rest)?;
    Ok((rest, WithOption { name, value }))
}

/// `[WITH (name = value, …)]`
pub(crate) fn with_options(input: Tokens<'_>) -> Parsed<'_, Vec<WithOption>> {
    let options = delimited(symbol("("), list(option), symbol(")"));
    clause("WITH", options).map(Option::unwrap_or_default).parse(input)
}

/// `[IN BACKGROUND]`
pub(crate) fn background(input: Tokens<'_>) -> Parsed<'_, bool> {
    opt(keywords("IN", "BACKGROUND")).map(|found| found.is_some()).parse(input)
}
