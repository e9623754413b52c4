//! What was typed, as a tree. Names are not resolved here; the planner of the engine does that.

mod expr;
mod index;
mod options;
mod pattern;
mod show;

pub use expr::{Binary, Expr, Literal, Param};
pub use index::{CreateIndex, RebuildIndex};
pub use options::{OptionValue, WithOption};
pub use pattern::{Level, SidPattern, letters};
pub use show::{Describe, Show};

use crate::span::Spanned;

/// An identifier with its place.
pub type Name = Spanned<String>;

/// One statement.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Statement {
    /// `SELECT …`
    Select(Select),
    /// `INSERT INTO items {…}, {…} [WITH (…)]`
    Insert(Insert),
    /// `UPDATE items SET a = 1 [WHERE …]`
    Update(Update),
    /// `DELETE FROM items [WHERE …]`
    Delete(Delete),
    /// `COPY items FROM 'file' [WITH (…)]`
    CopyFrom(CopyFrom),
    /// `COPY items TO 'file'` or `COPY (SELECT …) TO 'file' [WITH (…)]`
    CopyTo(CopyTo),
    /// `ENRICH items BY text [USING model] [WHERE …] [WITH (…)] [IN BACKGROUND]`
    Enrich(Enrich),
    /// `CREATE CODEBOOK name USING kind ON space [WITH (…)]`
    CreateCodebook(CreateCodebook),
    /// `REBUILD CODEBOOK name [WITH (…)] [IN BACKGROUND]`
    RebuildCodebook(RebuildCodebook),
    /// `PUBLISH CODEBOOK name [GENERATION n]`
    PublishCodebook(GenerationOf),
    /// `DROP CODEBOOK name [GENERATION n]`
    DropCodebook(GenerationOf),
    /// `DROP CODEBOOK name UNUSED [KEEP n]`
    DropUnused(DropUnused),
    /// `CREATE POLICY name USING kind [ON CODEBOOK name] [WITH (…)]`
    CreatePolicy(CreatePolicy),
    /// `TRAIN POLICY name [USING objective] [WITH (…)] [IN BACKGROUND]`
    TrainPolicy(TrainPolicy),
    /// `DROP POLICY name`
    DropPolicy(Name),
    /// `CREATE MODEL name USING kind [WITH (…)]`
    CreateModel(CreateModel),
    /// `DROP MODEL name`
    DropModel(Name),
    /// `CREATE INDEX name ON space USING kind [WITH (…)]`
    CreateIndex(CreateIndex),
    /// `REBUILD INDEX name [IN BACKGROUND]`
    RebuildIndex(RebuildIndex),
    /// `DROP INDEX name`
    DropIndex(Name),
    /// `RECOMMEND 10 FOR USER 'u1' [USING policy] [WHERE …] [INTO 'file'] [WITH (…)]`
    Recommend(Recommend),
    /// `EVALUATE POLICY a, b [ON test] [AT 5, 10] [WITH (…)] [IN BACKGROUND]`
    Evaluate(Evaluate),
    /// `COMPARE LABELS WITH 'file' [WITH (…)]`
    CompareLabels(CompareLabels),
    /// `COMPARE CODEBOOK a [GENERATION n] WITH b [GENERATION m] [WHERE …] [WITH (…)]`
    CompareCodebooks(CompareCodebooks),
    /// `EXPLAIN [ANALYZE] statement`
    Explain(Explain),
    /// `SHOW JOBS` and its like
    Show(Spanned<Show>),
    /// `SHOW FAILURES JOB n`
    ShowFailures(Spanned<u64>),
    /// `DESCRIBE items` and its like
    Describe(Describe),
    /// `WAIT JOB n`
    WaitJob(Spanned<u64>),
    /// `CANCEL JOB n`
    CancelJob(Spanned<u64>),
    /// `RESUME JOB n [IN BACKGROUND]`
    ResumeJob(ResumeJob),
    /// `VERIFY`
    Verify,
    /// `COMPACT`
    Compact,
    /// `BACKUP TO 'file'`
    Backup(Spanned<Operand>),
    /// `SET name = value`
    Set(WithOption),
    /// `BEGIN`
    Begin,
    /// `COMMIT`
    Commit,
    /// `ROLLBACK`
    Rollback,
}

/// `SELECT`, in both forms: `SELECT items …` stands for `SELECT * FROM items …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// What is asked for; empty means every column.
    pub columns: Vec<SelectColumn>,
    /// The relation.
    pub from: Name,
    /// `('full', 2)` behind the relation.
    pub of: Option<RelationOf>,
    /// `NEAR …`
    pub near: Option<Near>,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
    /// `GROUP BY …`
    pub group_by: Vec<Spanned<Expr>>,
    /// `ORDER BY …`
    pub order_by: Vec<OrderKey>,
    /// `LIMIT n`
    pub limit: Option<Spanned<Operand>>,
    /// `OFFSET n`
    pub offset: Option<Spanned<Operand>>,
    /// `WITH (…)`: how NEAR searches.
    pub with: Vec<WithOption>,
}

impl Select {
    /// Every column and row of a relation.
    pub fn whole(relation: Name) -> Self {
        Select {
            columns: Vec::new(),
            from: relation,
            of: None,
            near: None,
            filter: None,
            group_by: Vec::new(),
            order_by: Vec::new(),
            limit: None,
            offset: None,
            with: Vec::new(),
        }
    }

    /// Whether every column and row of the relation is asked for, in no order.
    pub fn is_whole(&self) -> bool {
        *self == Select::whole(self.from.clone())
    }
}

/// The codebook and the generation that a relation is read of: `codes('full', 2)`.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationOf {
    /// The codebook.
    pub codebook: Spanned<Operand>,
    /// The generation.
    pub generation: Option<Spanned<u64>>,
}

/// One column of the projection.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectColumn {
    /// The expression; `*` among other columns is `Expr::Star`.
    pub expr: Spanned<Expr>,
    /// `AS name`
    pub alias: Option<Name>,
}

/// One key of `ORDER BY`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// The expression.
    pub expr: Spanned<Expr>,
    /// `DESC`
    pub descending: bool,
}

/// `NEAR target [IN space]`
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// What to be near to.
    pub target: Spanned<NearTarget>,
    /// The embedding space.
    pub space: Option<Name>,
}

/// What `NEAR` measures from.
#[derive(Clone, Debug, PartialEq)]
pub enum NearTarget {
    /// An item by id (text), or a parameter that holds an item id or a vector.
    Operand(Operand),
    /// `TEXT 'indoor futsal ball'`: the embedding of a text.
    Text(Operand),
    /// `IMAGE 'ball.jpg'`: the embedding of the image in a file.
    Image(Operand),
    /// A vector written out.
    Vector(Vec<f64>),
}

/// A value known when the statement runs: a literal or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A literal.
    Literal(Literal),
    /// `?` or `$name`
    Param(Param),
}

/// `INSERT INTO relation {…}, …`
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The relation.
    pub into: Name,
    /// The rows, each a list of fields and values.
    pub rows: Vec<Vec<(Name, Spanned<OptionValue>)>>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `UPDATE relation SET …`
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The relation.
    pub relation: Name,
    /// `SET` fields and values; `NULL` removes the field.
    pub set: Vec<(Name, Spanned<OptionValue>)>,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
}

/// `DELETE FROM relation …`
#[derive(Clone, Debug, PartialEq)]
pub struct Delete {
    /// The relation.
    pub from: Name,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
}

/// `COPY relation FROM 'file'`
#[derive(Clone, Debug, PartialEq)]
pub struct CopyFrom {
    /// The relation.
    pub into: Name,
    /// The file.
    pub file: Spanned<Operand>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// `COPY … TO 'file'`
#[derive(Clone, Debug, PartialEq)]
pub struct CopyTo {
    /// What is written; `COPY items TO` is `SELECT * FROM items`.
    pub select: Select,
    /// The file.
    pub file: Spanned<Operand>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// `ENRICH relation BY stage …`
#[derive(Clone, Debug, PartialEq)]
pub struct Enrich {
    /// The relation.
    pub relation: Name,
    /// The stage.
    pub stage: Name,
    /// `USING model`
    pub using: Option<Name>,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// `CREATE CODEBOOK …`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateCodebook {
    /// Its name.
    pub name: Name,
    /// The quantizer.
    pub using: Name,
    /// The embedding space that it quantizes.
    pub on: Name,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `REBUILD CODEBOOK …`
#[derive(Clone, Debug, PartialEq)]
pub struct RebuildCodebook {
    /// Its name.
    pub name: Name,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// A codebook, and perhaps one generation of it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationOf {
    /// The codebook.
    pub codebook: Name,
    /// `GENERATION n`
    pub generation: Option<Spanned<u64>>,
}

/// `DROP CODEBOOK … UNUSED`: the generations that nothing needs.
#[derive(Clone, Debug, PartialEq)]
pub struct DropUnused {
    /// The codebook.
    pub codebook: Name,
    /// `KEEP n`: the newest of them stay.
    pub keep: Option<Spanned<u64>>,
}

/// `CREATE POLICY …`
#[derive(Clone, Debug, PartialEq)]
pub struct CreatePolicy {
    /// Its name.
    pub name: Name,
    /// The kind.
    pub using: Name,
    /// `ON CODEBOOK name`
    pub codebook: Option<Name>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `TRAIN POLICY …`
#[derive(Clone, Debug, PartialEq)]
pub struct TrainPolicy {
    /// Its name.
    pub name: Name,
    /// `USING objective`
    pub objective: Option<Name>,
    /// `REWARD name, …`
    pub rewards: Vec<Name>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// `CREATE MODEL …`
#[derive(Clone, Debug, PartialEq)]
pub struct CreateModel {
    /// Its name.
    pub name: Name,
    /// The kind.
    pub using: Name,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `RECOMMEND …`
#[derive(Clone, Debug, PartialEq)]
pub struct Recommend {
    /// How many; 10 when not given.
    pub count: Option<Spanned<Operand>>,
    /// For whom.
    pub context: Spanned<Context>,
    /// `USING policy`
    pub using: Option<Name>,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
    /// `INTO 'file'`
    pub into: Option<Spanned<Operand>>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// What a recommendation continues.
#[derive(Clone, Debug, PartialEq)]
pub enum Context {
    /// `FOR USER 'u1'`: the user's history.
    User(Operand),
    /// `FOR ALL USERS`: the history of each of them.
    Users,
    /// `AFTER ('i1', 'i2')`: a history written out, oldest first.
    After(Vec<Spanned<Operand>>),
}

/// `EVALUATE POLICY …`
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluate {
    /// The policies.
    pub policies: Vec<Name>,
    /// `ON test` or `ON validation`
    pub split: Option<Name>,
    /// `AT 5, 10`
    pub at: Vec<Spanned<u64>>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
    /// `IN BACKGROUND`
    pub background: bool,
}

/// `COMPARE LABELS …`: how far the stored labels of quality agree with those of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareLabels {
    /// The file of labels given by hand.
    pub file: Spanned<Operand>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `COMPARE CODEBOOK …`: the codes that two codebooks, or two generations of one, give the same items.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareCodebooks {
    /// The one.
    pub left: GenerationOf,
    /// The other.
    pub right: GenerationOf,
    /// `WHERE …`
    pub filter: Option<Spanned<Expr>>,
    /// `WITH (…)`
    pub with: Vec<WithOption>,
}

/// `EXPLAIN [ANALYZE] …`
#[derive(Clone, Debug, PartialEq)]
pub struct Explain {
    /// Whether the statement is run and measured.
    pub analyze: bool,
    /// The statement.
    pub statement: Box<Statement>,
}

/// `RESUME JOB n`
#[derive(Clone, Debug, PartialEq)]
pub struct ResumeJob {
    /// The job.
    pub job: Spanned<u64>,
    /// `IN BACKGROUND`
    pub background: bool,
}
