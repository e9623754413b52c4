//! `SHOW` and `DESCRIBE`.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::cut;
use nom::sequence::preceded;

use crate::ast::{Describe, Show, Statement};
use crate::error::Expected;
use crate::parser::failure::Failure;
use crate::parser::pattern;
use crate::parser::primitive::{Parsed, clause, keyword, keywords, name, natural, spanned};
use crate::parser::rebuild::generation_of;
use crate::span::Spanned;
use crate::token::Tokens;

/// What can be shown, by its word; `TABLES` is another word for the first one.
pub(crate) const SHOWN: [(&str, Show); 15] = [
    ("RELATIONS", Show::Relations),
    ("TABLES", Show::Relations),
    ("CODEBOOKS", Show::Codebooks),
    ("GENERATIONS", Show::Generations),
    ("POLICIES", Show::Policies),
    ("MODELS", Show::Models),
    ("PROMPTS", Show::Prompts),
    ("SPACES", Show::Spaces),
    ("INDEXES", Show::Indexes),
    ("STALE", Show::Stale),
    ("JOBS", Show::Jobs),
    ("EVALUATIONS", Show::Evaluations),
    ("KINDS", Show::Kinds),
    ("SETTINGS", Show::Settings),
    ("SPACE", Show::Space),
];

pub(super) fn show(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let failures = preceded(keywords("FAILURES", "JOB"), cut(natural));
    alt((listed, failures.map(Statement::ShowFailures))).parse(input)
}

/// What one word says.
fn listed(input: Tokens<'_>) -> Parsed<'_, Statement> {
    if let Some((_, shown)) = SHOWN.iter().find(|(word, _)| input.is_keyword(0, word)) {
        let shown = Spanned::new(*shown, input.span());
        return Ok((input.skip(1), Statement::Show(shown)));
    }
    for (word, _) in SHOWN {
        input.note(Expected::Keyword(word));
    }
    Err(nom::Err::Error(Failure::at(input.at())))
}

pub(super) fn describe(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let codebook = preceded(keyword("CODEBOOK"), cut(generation_of)).map(Describe::Codebook);
    let policy = preceded(keyword("POLICY"), cut(name(Expected::Policy))).map(Describe::Policy);
    let model = preceded(keyword("MODEL"), cut(name(Expected::Model))).map(Describe::Model);
    let index = preceded(keyword("INDEX"), cut(name(Expected::Index))).map(Describe::Index);
    let prompt = preceded(keyword("PROMPT"), cut(name(Expected::Prompt))).map(Describe::Prompt);
    let kind = preceded(keyword("KIND"), cut(name(Expected::Kind))).map(Describe::Kind);
    let sid = spanned(|input| pattern::sid(input, true));
    let prefix = (sid, clause("IN", generation_of)).map(|(sid, of)| Describe::Prefix { sid, of });
    let prefix = preceded(keyword("PREFIX"), cut(prefix));
    let relation = name(Expected::Relation).map(Describe::Relation);
    let named = alt((codebook, policy, model, index, prompt, kind));
    alt((named, prefix, relation)).map(Statement::Describe).parse(input)
}
