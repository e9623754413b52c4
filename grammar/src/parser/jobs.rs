//! `WAIT`, `CANCEL` and `RESUME` of jobs.

use nom::Parser;

use crate::ast::{ResumeJob, Statement};
use crate::parser::primitive::{Parsed, background, natural};
use crate::token::Tokens;

pub(super) fn wait(input: Tokens<'_>) -> Parsed<'_, Statement> {
    natural.map(Statement::WaitJob).parse(input)
}

pub(super) fn cancel(input: Tokens<'_>) -> Parsed<'_, Statement> {
    natural.map(Statement::CancelJob).parse(input)
}

pub(super) fn resume(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let (rest, job) = natural(input)?;
    let (rest, background) = background(rest)?;
    Ok((rest, Statement::ResumeJob(ResumeJob { job, background })))
}
