//! `SHOW` and `DESCRIBE`.

use super::{GenerationOf, Name, SidPattern};
use crate::span::Spanned;

/// What `SHOW` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Show {
    /// The relations of the file.
    Relations,
    /// Codebooks with their published generations.
    Codebooks,
    /// Every generation of every codebook.
    Generations,
    /// Policies.
    Policies,
    /// Models with their kinds.
    Models,
    /// Prompts that models were asked with.
    Prompts,
    /// Embedding spaces.
    Spaces,
    /// Vector indexes.
    Indexes,
    /// What was derived from something that has changed since.
    Stale,
    /// Jobs.
    Jobs,
    /// Evaluations.
    Evaluations,
    /// Every member of every registry.
    Kinds,
    /// Settings of the session.
    Settings,
    /// What takes space in the file.
    Space,
}

/// `DESCRIBE …`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Describe {
    /// `DESCRIBE items`
    Relation(Name),
    /// `DESCRIBE CODEBOOK name [GENERATION n]`
    Codebook(GenerationOf),
    /// `DESCRIBE POLICY name`
    Policy(Name),
    /// `DESCRIBE MODEL name`
    Model(Name),
    /// `DESCRIBE INDEX name`
    Index(Name),
    /// `DESCRIBE PROMPT name`
    Prompt(Name),
    /// `DESCRIBE KIND name`
    Kind(Name),
    /// `DESCRIBE PREFIX a1.b33 [IN codebook [GENERATION n]]`
    Prefix {
        /// The prefix.
        sid: Spanned<SidPattern>,
        /// Where it is read.
        of: Option<GenerationOf>,
    },
}
