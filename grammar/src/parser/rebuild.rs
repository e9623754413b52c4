//! `REBUILD` of codebooks and indexes, `PUBLISH` of codebooks.

use nom::Parser;

use crate::ast::{GenerationOf, RebuildCodebook, RebuildIndex, Statement};
use crate::error::Expected;
use crate::parser::primitive::{Parsed, background, clause, name, natural, with_options};
use crate::token::Tokens;

pub(super) fn rebuild(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, name) = name(Expected::Codebook)(input)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    Ok((rest, Statement::RebuildCodebook(RebuildCodebook { name, with, background })))
}

pub(super) fn index(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, name) = name(Expected::Index)(input)?;
    let (rest, background) = background(rest)?;
    Ok((rest, Statement::RebuildIndex(RebuildIndex { name, background })))
}

pub(super) fn publish(input: Tokens<'_>) -> Parsed<'_, Statement> {
    generation_of.map(Statement::PublishCodebook).parse(input)
}

/// `name [GENERATION n]`
pub(super) fn generation_of(input: Tokens<'_>) -> Parsed<'_, GenerationOf> {
    let (rest, codebook) = name(Expected::Codebook)(input)?;
    let (rest, generation) = clause("GENERATION", natural).parse(rest)?;
    Ok((rest, GenerationOf { codebook, generation }))
}
