//! Tokens to statements: one file for each family of statements, and the table that finds them.

mod advice;
mod compare;
mod copy;
mod define;
mod enrich;
mod expr;
pub(crate) mod failure;
mod jobs;
pub(crate) mod pattern;
mod primitive;
mod rebuild;
mod recommend;
mod select;
mod show;
mod train;
mod write;

use nom::Parser;
use nom::combinator::cut;

use crate::ast::Statement;
use crate::error::{Expected, ParseError};
use crate::lexer::Piece;
use crate::span::Spanned;
use crate::token::{Token, Tokens};
use failure::Trace;
use primitive::{Parsed, end};
pub(crate) use show::SHOWN;

/// How deep expressions and lists may be nested.
pub const MAX_DEPTH: usize = 64;

/// How many times AND and OR (and BETWEEN, which is an AND) may stand in a statement.
pub const MAX_TERMS: usize = 500;

/// A kind of statement: how it begins, what it looks like and what reads the rest.
struct Form {
    words: &'static [&'static str],
    text: &'static str,
    parse: for<'a> fn(Tokens<'a>) -> Parsed<'a, Statement>,
}

/// Every statement.
const FORMS: &[Form] = &[
    Form {
        words: &["SELECT"],
        text: "SELECT relation | SELECT column [AS name], … FROM relation [NEAR target [IN space]] \
               [WHERE condition] [GROUP BY …] [ORDER BY … [DESC]] [LIMIT n] [OFFSET n] \
               [WITH (option = value, …)]",
        parse: select::select,
    },
    Form {
        words: &["INSERT", "INTO"],
        text: "INSERT INTO relation {field: value, …}, … [WITH (option = value, …)]",
        parse: write::insert,
    },
    Form {
        words: &["UPDATE"],
        text: "UPDATE relation SET field = value, … [WHERE condition]",
        parse: write::update,
    },
    Form {
        words: &["DELETE", "FROM"],
        text: "DELETE FROM relation [WHERE condition]",
        parse: write::delete,
    },
    Form {
        words: &["COPY"],
        text: "COPY relation FROM 'file' | COPY relation TO 'file' | COPY (SELECT …) TO 'file' \
               [WITH (option = value, …)] [IN BACKGROUND]",
        parse: copy::copy,
    },
    Form {
        words: &["ENRICH"],
        text: "ENRICH relation BY stage [USING model] [WHERE condition] \
               [WITH (option = value, …)] [IN BACKGROUND]",
        parse: enrich::enrich,
    },
    Form {
        words: &["CREATE", "CODEBOOK"],
        text: "CREATE CODEBOOK name USING kind ON space [WITH (option = value, …)]",
        parse: define::create_codebook,
    },
    Form {
        words: &["CREATE", "POLICY"],
        text: "CREATE POLICY name USING kind [ON CODEBOOK name] [WITH (option = value, …)]",
        parse: define::create_policy,
    },
    Form {
        words: &["CREATE", "MODEL"],
        text: "CREATE MODEL name USING kind [WITH (option = value, …)]",
        parse: define::create_model,
    },
    Form {
        words: &["CREATE", "INDEX"],
        text: "CREATE INDEX name ON space USING kind [WITH (option = value, …)]",
        parse: define::create_index,
    },
    Form {
        words: &["REBUILD", "CODEBOOK"],
        text: "REBUILD CODEBOOK name [WITH (option = value, …)] [IN BACKGROUND]",
        parse: rebuild::rebuild,
    },
    Form {
        words: &["REBUILD", "INDEX"],
        text: "REBUILD INDEX name [IN BACKGROUND]",
        parse: rebuild::index,
    },
    Form {
        words: &["PUBLISH", "CODEBOOK"],
        text: "PUBLISH CODEBOOK name [GENERATION n]",
        parse: rebuild::publish,
    },
    Form {
        words: &["DROP", "CODEBOOK"],
        text: "DROP CODEBOOK name [GENERATION n | UNUSED [KEEP n]]",
        parse: define::drop_codebook,
    },
    Form { words: &["DROP", "POLICY"], text: "DROP POLICY name", parse: define::drop_policy },
    Form { words: &["DROP", "MODEL"], text: "DROP MODEL name", parse: define::drop_model },
    Form { words: &["DROP", "INDEX"], text: "DROP INDEX name", parse: define::drop_index },
    Form {
        words: &["TRAIN", "POLICY"],
        text: "TRAIN POLICY name [USING objective] [REWARD name, …] [WITH (option = value, …)] [IN BACKGROUND]",
        parse: train::train,
    },
    Form {
        words: &["RECOMMEND"],
        text: "RECOMMEND [n] FOR USER 'user' | FOR ALL USERS | AFTER ('item', …) [USING policy] \
               [WHERE condition] [INTO 'file'] [WITH (option = value, …)]",
        parse: recommend::recommend,
    },
    Form {
        words: &["EVALUATE", "POLICY"],
        text: "EVALUATE POLICY name, … [ON split] [AT n, …] [WITH (option = value, …)] \
               [IN BACKGROUND]",
        parse: train::evaluate,
    },
    Form {
        words: &["COMPARE", "LABELS"],
        text: "COMPARE LABELS WITH 'file' [WITH (option = value, …)]",
        parse: compare::labels,
    },
    Form {
        words: &["COMPARE", "CODEBOOK"],
        text: "COMPARE CODEBOOK name [GENERATION n] WITH name [GENERATION n] [WHERE condition] \
               [WITH (option = value, …)]",
        parse: compare::codebooks,
    },
    Form { words: &["EXPLAIN"], text: "EXPLAIN [ANALYZE] statement", parse: select::explain },
    Form {
        words: &["SHOW"],
        text: "SHOW RELATIONS | CODEBOOKS | GENERATIONS | POLICIES | MODELS | PROMPTS | SPACES \
               | INDEXES | STALE | JOBS | EVALUATIONS | KINDS | SETTINGS | SPACE | FAILURES JOB n",
        parse: show::show,
    },
    Form {
        words: &["DESCRIBE"],
        text: "DESCRIBE relation | CODEBOOK name [GENERATION n] | POLICY name | MODEL name \
               | INDEX name | PROMPT name | KIND name | PREFIX sid [IN codebook]",
        parse: show::describe,
    },
    Form { words: &["WAIT", "JOB"], text: "WAIT JOB n", parse: jobs::wait },
    Form { words: &["CANCEL", "JOB"], text: "CANCEL JOB n", parse: jobs::cancel },
    Form { words: &["RESUME", "JOB"], text: "RESUME JOB n [IN BACKGROUND]", parse: jobs::resume },
    Form { words: &["VERIFY"], text: "VERIFY", parse: |rest| Ok((rest, Statement::Verify)) },
    Form { words: &["COMPACT"], text: "COMPACT", parse: |rest| Ok((rest, Statement::Compact)) },
    Form { words: &["BACKUP", "TO"], text: "BACKUP TO 'file'", parse: write::backup },
    Form { words: &["SET"], text: "SET name = value", parse: write::set },
    Form { words: &["BEGIN"], text: "BEGIN", parse: |rest| Ok((rest, Statement::Begin)) },
    Form { words: &["COMMIT"], text: "COMMIT", parse: |rest| Ok((rest, Statement::Commit)) },
    Form { words: &["ROLLBACK"], text: "ROLLBACK", parse: |rest| Ok((rest, Statement::Rollback)) },
];

/// The forms of all statements, one line each, for help texts.
pub fn statement_forms() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.text)
}

/// Whether a statement can begin with this word.
pub(crate) fn is_starter(word: &str) -> bool {
    FORMS.iter().any(|form| form.words[0].eq_ignore_ascii_case(word))
}

/// The words that statements begin with.
pub(crate) fn starters() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.words[0])
}

/// The form of the statement that these tokens begin, if it can be told.
pub(crate) fn form_of(tokens: &[Token<'_>]) -> Option<&'static str> {
    let begins = |form: &&Form, count: usize| {
        let words = form.words.iter().take(count);
        tokens.len() >= words.len() && words.zip(tokens).all(|(word, token)| token.is_word(word))
    };
    let mut same = FORMS.iter().filter(|form| begins(form, 1));
    match (same.next(), same.next()) {
        (Some(form), None) => Some(form.text),
        (Some(_), Some(_)) => FORMS.iter().find(|form| begins(form, 2)).map(|form| form.text),
        _ => None,
    }
}

/// A statement without what ends it.
fn statement(input: Tokens<'_>) -> Parsed<'_, Statement> {
    let known = |form: &&Form| input.is_keyword(0, form.words[0]);
    if FORMS.iter().find(known).is_none() {
        for word in starters() {
            input.note(Expected::Keyword(word));
        }
        return Err(nom::Err::Error(failure::Failure::at(input.at())));
    }
    let rest = input.skip(1);
    for form in FORMS.iter().filter(known) {
        match form.words.get(1) {
            None => return cut(form.parse).parse(rest),
            Some(second) if rest.is_keyword(0, second) => {
                return cut(form.parse).parse(rest.skip(1));
            }
            Some(second) => rest.note(Expected::Keyword(second)),
        }
    }
    Err(nom::Err::Failure(failure::Failure::at(rest.at())))
}

/// Reads one statement of a text.
pub(crate) fn parse_piece(text: &str, piece: &Piece<'_>) -> Result<Spanned<Statement>, ParseError> {
    let trace = Trace::default();
    run(piece, &trace).map_err(|failure| failure.explain(text, piece, &trace))
}

/// What could follow the tokens of an unfinished statement.
pub(crate) fn expected_at_end(piece: &Piece<'_>) -> Vec<Expected> {
    let trace = Trace::default();
    // Whether the parse fails or not, the trace has the answer.
    drop(run(piece, &trace));
    trace.expected_at(piece.tokens.len())
}

fn run(piece: &Piece<'_>, trace: &Trace) -> Result<Spanned<Statement>, failure::Failure> {
    let input = Tokens::new(piece.tokens, piece.end.start, trace);
    let parsed = statement(input).and_then(|(rest, node)| end(rest).map(|_| node));
    match parsed {
        Ok(node) => Ok(Spanned::new(node, piece.span())),
        Err(nom::Err::Error(failure) | nom::Err::Failure(failure)) => Err(failure),
        Err(nom::Err::Incomplete(_)) => Err(failure::Failure::at(piece.tokens.len())),
    }
}
