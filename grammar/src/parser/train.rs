//! `TRAIN` and `EVALUATE`.

use nom::Parser;

use crate::ast::{Evaluate, Statement, TrainPolicy};
use crate::error::Expected;
use crate::parser::primitive::{Parsed, background, clause, list, name, natural, with_options};
use crate::token::Tokens;

pub(super) fn train(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, policy) = name(Expected::Policy)(input)?;
    let (rest, objective) = clause("USING", name(Expected::Kind)).parse(rest)?;
    let (rest, rewards) = clause("REWARD", list(name(Expected::Reward))).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    let rewards = rewards.unwrap_or_default();
    let train = TrainPolicy { name: policy, objective, rewards, with, background };
    Ok((rest, Statement::TrainPolicy(train)))
}

pub(super) fn evaluate(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, policies) = list(name(Expected::Policy)).parse(input)?;
    let (rest, split) = clause("ON", name(Expected::Split)).parse(rest)?;
    let (rest, at) = clause("AT", list(natural)).parse(rest)?;
    let (rest, with) = with_options(rest)?;
    let (rest, background) = background(rest)?;
    let at = at.unwrap_or_default();
    Ok((rest, Statement::Evaluate(Evaluate { policies, split, at, with, background })))
}
