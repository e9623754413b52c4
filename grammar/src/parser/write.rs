//! `INSERT`, `UPDATE`, `DELETE`, `SET` and `BACKUP`.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::cut;
use nom::sequence::{delimited, preceded};

use crate::ast::{Delete, Insert, Name, OptionValue, Statement, Update, WithOption};
use crate::error::Expected;
use crate::parser::expr::expr;
use crate::parser::primitive::{
    Parsed, clause, field, keyword, list, name, option_value, symbol, text, value, with_options,
};
use crate::span::Spanned;
use crate::token::Tokens;

/// A field and its value.
type Field = (Name, Spanned<OptionValue>);

pub(super) fn insert(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, into) = name(Expected::Relation)(input)?;
    let (rest, rows) = list(row).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::Insert(Insert { into, rows, with })))
}

/// `{id: 'B77', price: 19.5}`
fn row(input: Tokens<'_>) -> Parsed<'_, Vec<Field>> {
    delimited(symbol("{"), cut(list(assigned(":"))), cut(symbol("}"))).parse(input)
}

/// A field, a mark and a value.
fn assigned<'a>(mark: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Field> {
    move |input| {
        let (rest, name) = field(Expected::Column)(input)?;
        let (rest, value) = cut(preceded(symbol(mark), value)).parse(rest)?;
        Ok((rest, (name, value)))
    }
}

pub(super) fn update(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, relation) = name(Expected::Relation)(input)?;
    let (rest, set) = preceded(keyword("SET"), list(assigned("="))).parse(rest)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    Ok((rest, Statement::Update(Update { relation, set, filter })))
}

pub(super) fn delete(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, from) = name(Expected::Relation)(input)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    Ok((rest, Statement::Delete(Delete { from, filter })))
}

pub(super) fn backup(input: Tokens<'_>) -> Parsed<'_, Statement> {
    text.map(Statement::Backup).parse(input)
}

/// `SET name = value` or `SET name TO value`
pub(super) fn set(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, name) = field(Expected::Setting)(input)?;
    let (rest, ()) = alt((symbol("="), keyword("TO"))).parse(rest)?;
    let (rest, value) = option_value(rest)?;
    Ok((rest, Statement::Set(WithOption { name, value })))
}
