//! `SELECT` and `EXPLAIN`.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{cut, opt};
use nom::sequence::{delimited, preceded};

use crate::ast::{
    Explain, Literal, Name, Near, NearTarget, Operand, OrderKey, RelationOf, Select, SelectColumn,
    Statement,
};
use crate::error::{Expected, ParseError};
use crate::parser::expr::{expr, no_distinct, starred};
use crate::parser::primitive::{
    Parsed, clause, count, keyword, keywords, list, name, natural, number, spanned, symbol, text,
    with_options,
};
use crate::parser::{pattern, statement};
use crate::token::Tokens;

/// What may follow the relation; the same words tell the short form from the long one.
const CLAUSES: [&str; 7] = ["NEAR", "WHERE", "GROUP", "ORDER", "LIMIT", "OFFSET", "WITH"];

pub(super) fn select(input: Tokens<'_>) -> Parsed<'_, Statement> {
    query(input).map(|(rest, select)| (rest, Statement::Select(select)))
}

/// A query behind its `SELECT`.
pub(super) fn query(input: Tokens<'_>) -> Parsed<'_, Select> {
    let (rest, ()) = no_distinct(input)?;
    let (rest, (columns, (from, of))) = alt((short, long)).parse(rest)?;
    let (rest, near) = clause("NEAR", near).parse(rest)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    let (rest, group_by) = opt(preceded(keywords("GROUP", "BY"), cut(list(expr)))).parse(rest)?;
    let (rest, order_by) =
        opt(preceded(keywords("ORDER", "BY"), cut(list(order_key)))).parse(rest)?;
    let (rest, limit) = clause("LIMIT", count).parse(rest)?;
    let (rest, offset) = clause("OFFSET", count).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    let group_by = group_by.unwrap_or_default();
    let order_by = order_by.unwrap_or_default();
    Ok((rest, Select { columns, from, of, near, filter, group_by, order_by, limit, offset, with }))
}

/// A relation, and of what it is read.
type From = (Name, Option<RelationOf>);

/// `items` or `codes('full', 2)`
fn relation(input: Tokens<'_>) -> Parsed<'_, From> {
    let (rest, relation) = name(Expected::Relation)(input)?;
    if !rest.is_symbol(0, "(") {
        return Ok((rest, (relation, None)));
    }
    let (rest, codebook) = text(rest.skip(1))?;
    // Not committed to: a function may have a text and more for arguments too, as in `SELECT coalesce('a', b) FROM …`.
    let (rest, generation) = opt(preceded(symbol(","), natural)).parse(rest)?;
    let (rest, ()) = symbol(")")(rest)?;
    Ok((rest, (relation, Some(RelationOf { codebook, generation }))))
}

/// `items`: a relation alone, with clauses or the end behind it.
fn short(input: Tokens<'_>) -> Parsed<'_, (Vec<SelectColumn>, From)> {
    let (rest, relation) = relation(input)?;
    for word in CLAUSES {
        rest.note(Expected::Keyword(word));
    }
    rest.note(Expected::End);
    let ends = rest.peek().is_none() || rest.is_symbol(0, ")");
    if ends || CLAUSES.iter().any(|word| rest.is_keyword(0, word)) {
        rest.note(Expected::Symbol(","));
        rest.note(Expected::Keyword("FROM"));
        return Ok((rest, (Vec::new(), relation)));
    }
    Err(rest.fail(Expected::Keyword("FROM")))
}

/// `id, title FROM items`
fn long(input: Tokens<'_>) -> Parsed<'_, (Vec<SelectColumn>, From)> {
    let (rest, columns) = list(column).parse(input)?;
    let (rest, from) = preceded(keyword("FROM"), cut(relation)).parse(rest)?;
    Ok((rest, (columns, from)))
}

fn column(input: Tokens<'_>) -> Parsed<'_, SelectColumn> {
    let (rest, expr) = starred(input)?;
    let (rest, alias) = clause("AS", name(Expected::Name)).parse(rest)?;
    Ok((rest, SelectColumn { expr, alias }))
}

fn order_key(input: Tokens<'_>) -> Parsed<'_, OrderKey> {
    let (rest, expr) = expr(input)?;
    let (rest, descending) =
        opt(alt((keyword("ASC").map(|()| false), keyword("DESC").map(|()| true)))).parse(rest)?;
    Ok((rest, OrderKey { expr, descending: descending.unwrap_or(false) }))
}

/// `target [IN space]`
fn near(input: Tokens<'_>) -> Parsed<'_, Near> {
    let (rest, target) = spanned(target)(input)?;
    let (rest, space) = clause("IN", name(Expected::Space)).parse(rest)?;
    Ok((rest, Near { target, space }))
}

fn target(input: Tokens<'_>) -> Parsed<'_, NearTarget> {
    if pattern::starts(&input) {
        let read = |input| pattern::sid(input, true);
        return read
            .map(|sid| NearTarget::Operand(Operand::Literal(Literal::Sid(sid))))
            .parse(input);
    }
    let vector = delimited(symbol("["), cut(list(number)), cut(symbol("]")));
    input.note(Expected::Sid);
    input.note(Expected::Vector);
    alt((
        preceded(keyword("TEXT"), cut(text)).map(|text| NearTarget::Text(text.node)),
        preceded(keyword("IMAGE"), cut(text)).map(|image| NearTarget::Image(image.node)),
        vector.map(NearTarget::Vector),
        text.map(|text| NearTarget::Operand(text.node)),
    ))
    .parse(input)
}

/// A query in parentheses.
pub(super) fn subquery(input: Tokens<'_>) -> Parsed<'_, Select> {
    delimited(symbol("("), cut(preceded(keyword("SELECT"), query)), cut(symbol(")"))).parse(input)
}

pub(super) fn explain(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, analyze) = opt(keyword("ANALYZE")).parse(input)?;
    if rest.is_keyword(0, "EXPLAIN") {
        let message = "EXPLAIN cannot explain itself".to_owned();
        let error = ParseError::syntax(rest.span(), message, "`EXPLAIN`".to_owned());
        return Err(rest.stop(error));
    }
    let (rest, statement) = statement(rest)?;
    let statement = Box::new(statement);
    Ok((rest, Statement::Explain(Explain { analyze: analyze.is_some(), statement })))
}
