//! `COPY` into a relation and out of one.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::cut;
use nom::sequence::preceded;

use crate::ast::{CopyFrom, CopyTo, Name, Select, Statement};
use crate::error::Expected;
use crate::parser::primitive::{Parsed, background, keyword, name, text, with_options};
use crate::parser::select::subquery;
use crate::token::Tokens;

pub(super) fn copy(input: Tokens<'_>) -> Parsed<'_, Statement> {
    if input.is_symbol(0, "(") {
        let (rest, select) = subquery(input)?;
        return to(rest, select);
    }
    input.note(Expected::Symbol("("));
    let (rest, relation) = name(Expected::Relation)(input)?;
    let from = |input| from(input, relation.clone());
    let all = |input| to(input, Select::whole(relation.clone()));
    alt((from, all)).parse(rest)
}

fn from(input: Tokens<'_>, into: Name) -> Parsed<'_, Statement> {
    let (rest, file) = preceded(keyword("FROM"), cut(text)).parse(input)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    Ok((rest, Statement::CopyFrom(CopyFrom { into, file, with, background })))
}

fn to(input: Tokens<'_>, select: Select) -> Parsed<'_, Statement> {
    let (rest, file) = preceded(keyword("TO"), cut(text)).parse(input)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    Ok((rest, Statement::CopyTo(CopyTo { select, file, with, background })))
}
