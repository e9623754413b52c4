//! `CREATE` and `DROP` of codebooks, policies, models and indexes.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::{cut, opt};
use nom::sequence::preceded;

use crate::ast::{
    CreateCodebook, CreateIndex, CreateModel, CreatePolicy, DropUnused, GenerationOf, Statement,
};
use crate::error::Expected;
use crate::parser::primitive::{Parsed, clause, keyword, keywords, name, natural, with_options};
use crate::parser::rebuild::generation_of;
use crate::token::Tokens;

pub(super) fn create_codebook(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, codebook) = name(Expected::Name)(input)?;
    let (rest, using) = preceded(keyword("USING"), name(Expected::Kind)).parse(rest)?;
    let (rest, on) = preceded(keyword("ON"), name(Expected::Space)).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CreateCodebook(CreateCodebook { name: codebook, using, on, with })))
}

pub(super) fn create_policy(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, policy) = name(Expected::Name)(input)?;
    let (rest, using) = preceded(keyword("USING"), name(Expected::Kind)).parse(rest)?;
    let (rest, codebook) =
        opt(preceded(keywords("ON", "CODEBOOK"), cut(name(Expected::Codebook)))).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CreatePolicy(CreatePolicy { name: policy, using, codebook, with })))
}

pub(super) fn create_model(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, model) = name(Expected::Name)(input)?;
    let (rest, using) = preceded(keyword("USING"), name(Expected::Kind)).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CreateModel(CreateModel { name: model, using, with })))
}

pub(super) fn create_index(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, index) = name(Expected::Name)(input)?;
    let on = || preceded(keyword("ON"), cut(name(Expected::Space)));
    let using = || preceded(keyword("USING"), cut(name(Expected::Kind)));
    // As SQL has it, or as CREATE CODEBOOK has it.
    let other = (using(), on()).map(|(using, on)| (on, using));
    let (rest, (on, using)) = alt(((on(), using()), other)).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    Ok((rest, Statement::CreateIndex(CreateIndex { name: index, on, using, with })))
}

pub(super) fn drop_codebook(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, of) = generation_of(input)?;
    let GenerationOf { codebook, generation: None } = &of else {
        return Ok((rest, Statement::DropCodebook(of)));
    };
    let (rest, unused) = opt(keyword("UNUSED")).parse(rest)?;
    if unused.is_none() {
        return Ok((rest, Statement::DropCodebook(of)));
    }
    let (rest, keep) = clause("KEEP", natural).parse(rest)?;
    Ok((rest, Statement::DropUnused(DropUnused { codebook: codebook.clone(), keep })))
}

pub(super) fn drop_policy(input: Tokens<'_>) -> Parsed<'_, Statement> {
    name(Expected::Policy).map(Statement::DropPolicy).parse(input)
}

pub(super) fn drop_model(input: Tokens<'_>) -> Parsed<'_, Statement> {
    name(Expected::Model).map(Statement::DropModel).parse(input)
}

pub(super) fn drop_index(input: Tokens<'_>) -> Parsed<'_, Statement> {
    name(Expected::Index).map(Statement::DropIndex).parse(input)
}
