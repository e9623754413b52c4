//! Syntax errors.

use std::fmt;

use crate::span::{Span, line_column};
use crate::{MAX_STATEMENT_BYTES, span};

/// Why a text is not a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, in the whole text.
    pub span: Span,
    /// One line, for example "expected NEAR or PREFIX, found `prefx`".
    pub message: String,
    /// What could have stood there.
    pub expected: Vec<Expected>,
    /// What stood there, for example "`prefx`" or "the end of the text".
    pub found: String,
    /// How to mend it, for example "did you mean `PREFIX`?".
    pub help: Option<String>,
    kind: Kind,
}

/// What sort of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syntax,
    TooLong,
    TooDeep,
}

/// Something that may stand at a place of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// A keyword, in capitals.
    Keyword(&'static str),
    /// A mark such as `(`.
    Symbol(&'static str),
    /// A comparison such as `=`.
    Operator,
    /// The name of a relation.
    Relation,
    /// The name of a column or a field.
    Column,
    /// A literal or a parameter.
    Value,
    /// A text or a parameter.
    Text,
    /// A whole number or a parameter.
    Number,
    /// A SID or a prefix of one.
    Sid,
    /// The name of a codebook.
    Codebook,
    /// The name of a policy.
    Policy,
    /// The name of a kind: a quantizer, a policy kind, an objective.
    Kind,
    /// The name of a model.
    Model,
    /// The name of a prompt.
    Prompt,
    /// The name of a stage of enrichment.
    Stage,
    /// The name of an embedding space.
    Space,
    /// The name of a vector index.
    Index,
    /// The name of a reward.
    Reward,
    /// The name of a split.
    Split,
    /// The name of an option.
    Option,
    /// The name of a setting.
    Setting,
    /// A new name.
    Name,
    /// A vector such as `[0.1, 0.2]`.
    Vector,
    /// The end of the statement.
    End,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expected::Keyword(word) => word,
            Expected::Symbol(symbol) => return write!(f, "`{symbol}`"),
            Expected::Operator => "a comparison",
            Expected::Relation => "a relation",
            Expected::Column => "a column",
            Expected::Value => "a value",
            Expected::Text => "a text",
            Expected::Number => "a number",
            Expected::Sid => "a SID",
            Expected::Codebook => "a codebook",
            Expected::Policy => "a policy",
            Expected::Kind => "a kind",
            Expected::Model => "a model",
            Expected::Prompt => "a prompt",
            Expected::Stage => "a stage",
            Expected::Space => "an embedding space",
            Expected::Index => "an index",
            Expected::Reward => "a reward",
            Expected::Split => "a split",
            Expected::Option => "an option",
            Expected::Setting => "a setting",
            Expected::Name => "a name",
            Expected::Vector => "a vector",
            Expected::End => "the end of the statement",
        })
    }
}

impl Expected {
    /// Whether it is a name that the user or the catalogue gives.
    pub fn is_name(self) -> bool {
        use Expected::{
            Codebook, Column, Kind, Model, Name, Option, Policy, Prompt, Relation, Reward, Setting,
            Space, Split, Stage,
        };
        matches!(
            self,
            Codebook
                | Column
                | Kind
                | Model
                | Name
                | Option
                | Policy
                | Prompt
                | Relation
                | Reward
                | Setting
                | Space
                | Split
                | Stage
        )
    }
}

impl ParseError {
    /// What kind of error this is: `syntax`, `statement-too-long` or `too-deep`.
    pub fn code(&self) -> &'static str {
        match self.kind {
            Kind::Syntax => "syntax",
            Kind::TooLong => "statement-too-long",
            Kind::TooDeep => "too-deep",
        }
    }

    /// The line and the column (both from 1) of the error in the text that was parsed.
    pub fn line_column(&self, text: &str) -> (usize, usize) {
        line_column(text, self.span.start)
    }

    pub(crate) fn syntax(span: Span, message: String, found: String) -> Self {
        ParseError { span, message, expected: Vec::new(), found, help: None, kind: Kind::Syntax }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn with_expected(mut self, expected: Vec<Expected>) -> Self {
        self.expected = expected;
        self
    }

    pub(crate) fn too_deep(span: Span, message: String) -> Self {
        ParseError { kind: Kind::TooDeep, ..Self::syntax(span, message, String::new()) }
    }

    pub(crate) fn too_long(start: usize, length: usize) -> Self {
        let message =
            format!("the statement has {length} bytes, the limit is {MAX_STATEMENT_BYTES}");
        let error = ParseError {
            kind: Kind::TooLong,
            ..Self::syntax(start..start, message, String::new())
        };
        error.with_help("split it into several statements, or load a file with COPY")
    }

    pub(crate) fn second_statement(text: &str, span: Span) -> Self {
        let end = span::floor(text, span.end.min(span.start + 20));
        let word = text[span.start..end].split_whitespace().next().unwrap_or_default();
        let found = format!("`{word}`");
        let message = format!("expected one statement, found a second one at {found}");
        Self::syntax(span.start..span.start + word.len(), message, found)
            .with_expected(vec![Expected::End])
            .with_help("send the statements one by one")
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}
