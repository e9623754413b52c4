//! `ENRICH`.

use nom::Parser;
use nom::sequence::preceded;

use crate::ast::{Enrich, Statement};
use crate::error::Expected;
use crate::parser::expr::expr;
use crate::parser::primitive::{Parsed, background, clause, keyword, name, with_options};
use crate::token::Tokens;

pub(super) fn enrich(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, relation) = name(Expected::Relation)(input)?;
    let (rest, stage) = preceded(keyword("BY"), name(Expected::Stage)).parse(rest)?;
    let (rest, using) = clause("USING", name(Expected::Model)).parse(rest)?;
    let (rest, filter) = clause("WHERE", expr).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    let enrich = Enrich { relation, stage, using, filter, with, background };
    Ok((rest, Statement::Enrich(enrich)))
}
