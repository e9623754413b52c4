//! `COMPARE`.

use nom::Parser;
use nom::sequence::preceded;

use crate::ast::{CompareLabels, Statement};
use crate::parser::primitive::{Parsed, keyword, text, with_options};
use crate::token::Tokens;

pub(super) fn labels(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, file) = preceded(keyword("WITH"), text).parse(input)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CompareLabels(CompareLabels { file, with })))
}
