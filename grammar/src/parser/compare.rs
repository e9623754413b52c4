//! `COMPARE`.

use nom::Parser;
use nom::combinator::cut;
use nom::sequence::preceded;

use crate::ast::{CompareCodebooks, CompareLabels, Statement};
use crate::parser::expr::expr;
use crate::parser::primitive::{Parsed, clause, keyword, text, with_options};
use crate::parser::rebuild::generation_of;
use crate::token::Tokens;

pub(super) fn labels(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, file) = preceded(keyword("WITH"), text).parse(input)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CompareLabels(CompareLabels { file, with })))
}

pub(super) fn codebooks(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, left) = generation_of(input)?;
    let (rest, right) = preceded(keyword("WITH"), cut(generation_of)).parse(rest)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CompareCodebooks(CompareCodebooks { left, right, filter, with })))
}
