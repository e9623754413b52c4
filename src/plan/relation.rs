//! The relations that SELECT reads, with their columns.

use super::expr::Type::{self, List, Number, Sid, Text};
use crate::error::{Error, Result};

/// A relation. `items` has the metadata fields beside its own columns; the others are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Items,
    Interactions,
    Users,
    Codes,
    Codebooks,
    Generations,
    Policies,
    Spaces,
    Indexes,
    Models,
    Jobs,
    Curves,
    Evaluations,
}

/// A column of a relation other than `items`.
pub(crate) type Column = (&'static str, Type);

impl Relation {
    /// Every relation, in the order of `SHOW RELATIONS`.
    pub(crate) const ALL: &'static [Relation] = &[
        Relation::Items,
        Relation::Interactions,
        Relation::Users,
        Relation::Codes,
        Relation::Codebooks,
        Relation::Generations,
        Relation::Policies,
        Relation::Spaces,
        Relation::Indexes,
        Relation::Models,
        Relation::Jobs,
        Relation::Curves,
        Relation::Evaluations,
    ];

    /// The name typed in statements.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Relation::Items => "items",
            Relation::Interactions => "interactions",
            Relation::Users => "users",
            Relation::Codes => "codes",
            Relation::Codebooks => "codebooks",
            Relation::Generations => "generations",
            Relation::Policies => "policies",
            Relation::Spaces => "spaces",
            Relation::Indexes => "indexes",
            Relation::Models => "models",
            Relation::Jobs => "jobs",
            Relation::Curves => "curves",
            Relation::Evaluations => "evaluations",
        }
    }

    /// One sentence for `SHOW RELATIONS`.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Relation::Items => "the catalogue: one row an item, with its metadata and its sid",
            Relation::Interactions => "what users did, oldest first for each user",
            Relation::Users => "users and the length of their histories",
            Relation::Codes => {
                "the sid tree of a codebook, the one in use if none is named: one row a node"
            }
            Relation::Codebooks => "codebooks and their published generations",
            Relation::Generations => "every generation of every codebook",
            Relation::Policies => "policies and the generations they were trained on",
            Relation::Spaces => "embedding spaces of the items",
            Relation::Indexes => "vector indexes, by which NEAR searches large spaces",
            Relation::Models => "encoders and language models that ENRICH asks",
            Relation::Jobs => "long work: queued, running, done",
            Relation::Curves => {
                "the figures of long work on its way, such as the loss: one row a point"
            }
            Relation::Evaluations => "what policies scored",
        }
    }

    /// The columns; those of `items` that every catalogue has.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Relation::Items => ITEMS,
            Relation::Interactions => INTERACTIONS,
            Relation::Users => USERS,
            Relation::Codes => CODES,
            Relation::Codebooks => CODEBOOKS,
            Relation::Generations => GENERATIONS,
            Relation::Policies => POLICIES,
            Relation::Spaces => SPACES,
            Relation::Indexes => INDEXES,
            Relation::Models => MODELS,
            Relation::Jobs => JOBS,
            Relation::Curves => CURVES,
            Relation::Evaluations => EVALUATIONS,
        }
    }

    /// Finds a relation by name.
    pub(crate) fn find(name: &str) -> Result<Relation> {
        let known = Relation::ALL.iter().copied();
        known.clone().find(|relation| relation.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            Error::unknown("relation", name, known.map(Relation::name).collect::<Vec<_>>())
        })
    }
}

const ITEMS: &[Column] = &[("id", Text)];
const INTERACTIONS: &[Column] =
    &[("user", Text), ("item", Text), ("time", Number), ("kind", Text), ("weight", Number)];
const USERS: &[Column] = &[("id", Text), ("interactions", Number)];
const CODES: &[Column] = &[
    ("prefix", Sid),
    ("level", Number),
    ("items", Number),
    ("children", Number),
    ("parent", Sid),
    ("siblings", Number),
    ("share", Number),
];
const CODEBOOKS: &[Column] = &[
    ("name", Text),
    ("kind", Text),
    ("space", Text),
    ("published", Number),
    ("generations", Number),
    ("config", Text),
];
const GENERATIONS: &[Column] = &[
    ("codebook", Text),
    ("generation", Number),
    ("state", Text),
    ("kind", Text),
    ("levels", Number),
    ("sizes", List),
    ("items", Number),
    ("used", List),
    ("perplexity", List),
    ("gini", List),
    ("error", Number),
    ("collisions", Number),
    ("moved", Number),
    ("largest", Number),
    ("followers", List),
    ("created", Text),
];
const POLICIES: &[Column] = &[
    ("name", Text),
    ("kind", Text),
    ("codebook", Text),
    ("generation", Number),
    ("state", Text),
    ("trained", Text),
    ("config", Text),
];
const SPACES: &[Column] = &[
    ("name", Text),
    ("dim", Number),
    ("vectors", Number),
    ("encoder", Text),
    ("created", Text),
    ("config", Text),
];
const INDEXES: &[Column] = &[
    ("name", Text),
    ("kind", Text),
    ("space", Text),
    ("state", Text),
    ("vectors", Number),
    ("changed", Number),
    ("bytes", Number),
    ("built", Text),
    ("config", Text),
];
const MODELS: &[Column] = &[
    ("name", Text),
    ("kind", Text),
    ("makes", List),
    ("fingerprint", Text),
    ("created", Text),
    ("config", Text),
];
const JOBS: &[Column] = &[
    ("job", Number),
    ("kind", Text),
    ("state", Text),
    ("stage", Text),
    ("done", Number),
    ("total", Number),
    ("seconds", Number),
    ("message", Text),
    ("statement", Text),
];
const CURVES: &[Column] = &[("job", Number), ("figure", Text), ("step", Number), ("value", Number)];
const EVALUATIONS: &[Column] = &[
    ("evaluation", Number),
    ("policy", Text),
    ("split", Text),
    ("users", Number),
    ("hr@5", Number),
    ("hr@10", Number),
    ("ndcg@5", Number),
    ("ndcg@10", Number),
    ("hr@5_sid", Number),
    ("hr@10_sid", Number),
    ("ndcg@5_sid", Number),
    ("ndcg@10_sid", Number),
    ("generation", Number),
    ("created", Text),
    ("metrics", Text),
    ("config", Text),
];
