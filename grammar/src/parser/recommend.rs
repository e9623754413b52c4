//! `RECOMMEND`.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{cut, opt};
use nom::sequence::{delimited, preceded};

use crate::ast::{Context, Recommend, Statement};
use crate::error::Expected;
use crate::parser::expr::expr;
use crate::parser::primitive::{
    Parsed, clause, count, keyword, keywords, list, name, spanned, symbol, text, with_options,
};
use crate::token::Tokens;

pub(super) fn recommend(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, count) = opt(count).parse(input)?;
    let (rest, context) = spanned(context)(rest)?;
    let (rest, using) = clause("USING", name(Expected::Policy)).parse(rest)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    let (rest, into) = clause("INTO", text).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::Recommend(Recommend { count, context, using, filter, into, with })))
}

fn context(input: Tokens<'_>) -> Parsed<'_, Context> {
    let user = preceded(keyword("USER"), cut(text)).map(|user| Context::User(user.node));
    let users = keywords("ALL", "USERS").map(|()| Context::Users);
    let somebody = preceded(keyword("FOR"), cut(alt((user, users))));
    let items = delimited(symbol("("), list(text), symbol(")"));
    let after = preceded(keyword("AFTER"), cut(items)).map(Context::After);
    alt((somebody, after)).parse(input)
}
