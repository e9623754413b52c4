//! Syntax tree to canonical text, which parses to the same tree.

mod expr;

use std::fmt::{self, Display, Formatter};

use crate::ast::*;
use crate::keyword;
use crate::lexer::is_word;
use crate::parser::SHOWN;
use crate::span::Spanned;

/// A name, in double quotes where it needs them.
pub(crate) struct Identifier<'a>(pub(crate) &'a str);

impl Display for Identifier<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_word(self.0) && !keyword::is_reserved(self.0) {
            f.write_str(self.0)
        } else {
            quoted(f, self.0)
        }
    }
}

fn quoted(f: &mut Formatter<'_>, name: &str) -> fmt::Result {
    write!(f, "\"{}\"", name.replace('"', "\"\""))
}

fn name(name: &Name) -> Identifier<'_> {
    Identifier(&name.node)
}

/// A name where any word will do.
struct Field<'a>(&'a str);

impl Display for Field<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_word(self.0) { f.write_str(self.0) } else { quoted(f, self.0) }
    }
}

/// Things with commas between them.
fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut one: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        one(f, item)?;
    }
    Ok(())
}

/// ` WORD thing`, if there is one.
fn clause(f: &mut Formatter<'_>, word: &str, thing: Option<impl Display>) -> fmt::Result {
    thing.map_or(Ok(()), |thing| write!(f, " {word} {thing}"))
}

fn filter(f: &mut Formatter<'_>, filter: Option<&Spanned<Expr>>) -> fmt::Result {
    clause(f, "WHERE", filter.map(|filter| &filter.node))
}

fn with(f: &mut Formatter<'_>, options: &[WithOption]) -> fmt::Result {
    if options.is_empty() {
        return Ok(());
    }
    f.write_str(" WITH (")?;
    list(f, options, |f, option| write!(f, "{option}"))?;
    f.write_str(")")
}

fn background(f: &mut Formatter<'_>, background: bool) -> fmt::Result {
    if background { f.write_str(" IN BACKGROUND") } else { Ok(()) }
}

impl Display for WithOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", Field(&self.name.node), self.value.node)
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        if !self.columns.is_empty() {
            list(f, &self.columns, |f, column| write!(f, "{column}"))?;
            f.write_str(" FROM ")?;
        }
        write!(f, "{}", name(&self.from))?;
        if let Some(of) = &self.of {
            write!(f, "({}", of.codebook.node)?;
            of.generation.as_ref().map_or(Ok(()), |ordinal| write!(f, ", {}", ordinal.node))?;
            f.write_str(")")?;
        }
        clause(f, "NEAR", self.near.as_ref())?;
        filter(f, self.filter.as_ref())?;
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            list(f, &self.group_by, |f, expr| write!(f, "{}", expr.node))?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            list(f, &self.order_by, |f, key| write!(f, "{key}"))?;
        }
        clause(f, "LIMIT", self.limit.as_ref().map(|limit| &limit.node))?;
        clause(f, "OFFSET", self.offset.as_ref().map(|offset| &offset.node))?;
        with(f, &self.with)
    }
}

impl Display for SelectColumn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr.node)?;
        clause(f, "AS", self.alias.as_ref().map(name))
    }
}

impl Display for OrderKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expr.node)?;
        if self.descending { f.write_str(" DESC") } else { Ok(()) }
    }
}

impl Display for Near {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.target.node {
            NearTarget::Operand(Operand::Literal(Literal::Sid(sid))) => write!(f, "{sid}")?,
            NearTarget::Operand(operand) => write!(f, "{operand}")?,
            NearTarget::Text(operand) => write!(f, "TEXT {operand}")?,
            NearTarget::Image(operand) => write!(f, "IMAGE {operand}")?,
            NearTarget::Vector(values) => write!(f, "{values:?}")?,
        }
        clause(f, "IN", self.space.as_ref().map(name))
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = SHOWN.iter().find(|(_, shown)| shown == self).map(|(word, _)| *word);
        f.write_str(word.unwrap_or_default())
    }
}

impl Display for Describe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            // Here these words begin something else than a relation.
            Describe::Relation(relation)
                if ["CODEBOOK", "POLICY", "MODEL", "INDEX", "PROMPT", "KIND", "PREFIX"]
                    .iter()
                    .any(|word| relation.node.eq_ignore_ascii_case(word)) =>
            {
                quoted(f, &relation.node)
            }
            Describe::Relation(relation) => write!(f, "{}", name(relation)),
            Describe::Codebook(of) => write!(f, "CODEBOOK {of}"),
            Describe::Policy(policy) => write!(f, "POLICY {}", name(policy)),
            Describe::Model(model) => write!(f, "MODEL {}", name(model)),
            Describe::Index(index) => write!(f, "INDEX {}", name(index)),
            Describe::Prompt(prompt) => write!(f, "PROMPT {}", name(prompt)),
            Describe::Kind(kind) => write!(f, "KIND {}", name(kind)),
            Describe::Prefix { sid, of } => {
                write!(f, "PREFIX {}", sid.node)?;
                clause(f, "IN", of.as_ref())
            }
        }
    }
}

impl Display for GenerationOf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", name(&self.codebook))?;
        clause(f, "GENERATION", self.generation.as_ref().map(|number| number.node))
    }
}

impl Display for Context {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Context::User(user) => write!(f, "FOR USER {user}"),
            Context::Users => f.write_str("FOR ALL USERS"),
            Context::After(items) => {
                f.write_str("AFTER (")?;
                list(f, items, |f, item| write!(f, "{}", item.node))?;
                f.write_str(")")
            }
        }
    }
}

fn fields(
    f: &mut Formatter<'_>,
    fields: &[(Name, Spanned<OptionValue>)],
    mark: &str,
) -> fmt::Result {
    list(f, fields, |f, (field, value)| write!(f, "{}{mark}{}", Field(&field.node), value.node))
}

impl Display for TrainPolicy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", name(&self.name))?;
        clause(f, "USING", self.objective.as_ref().map(name))?;
        let rewards: Vec<String> =
            self.rewards.iter().map(|reward| name(reward).to_string()).collect();
        clause(f, "REWARD", (!rewards.is_empty()).then(|| rewards.join(", ")))?;
        with(f, &self.with)?;
        background(f, self.background)
    }
}

impl Display for CreateIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ON {} USING {}", name(&self.name), name(&self.on), name(&self.using))?;
        with(f, &self.with)
    }
}

impl Display for RebuildIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", name(&self.name))?;
        background(f, self.background)
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Select(select) => write!(f, "{select}"),
            Statement::Insert(insert) => write!(f, "{insert}"),
            Statement::Update(update) => write!(f, "{update}"),
            Statement::Delete(delete) => {
                write!(f, "DELETE FROM {}", name(&delete.from))?;
                filter(f, delete.filter.as_ref())
            }
            Statement::CopyFrom(copy) => {
                write!(f, "COPY {} FROM {}", name(&copy.into), copy.file.node)?;
                with(f, &copy.with)?;
                background(f, copy.background)
            }
            Statement::CopyTo(copy) => write!(f, "{copy}"),
            Statement::Enrich(enrich) => write!(f, "{enrich}"),
            Statement::CreateCodebook(create) => write!(f, "{create}"),
            Statement::RebuildCodebook(rebuild) => {
                write!(f, "REBUILD CODEBOOK {}", name(&rebuild.name))?;
                with(f, &rebuild.with)?;
                background(f, rebuild.background)
            }
            Statement::PublishCodebook(of) => write!(f, "PUBLISH CODEBOOK {of}"),
            Statement::DropCodebook(of) => write!(f, "DROP CODEBOOK {of}"),
            Statement::DropUnused(unused) => write!(f, "DROP CODEBOOK {unused}"),
            Statement::CreatePolicy(create) => write!(f, "{create}"),
            Statement::TrainPolicy(train) => write!(f, "TRAIN POLICY {train}"),
            Statement::DropPolicy(policy) => write!(f, "DROP POLICY {}", name(policy)),
            Statement::CreateModel(create) => {
                write!(f, "CREATE MODEL {} USING {}", name(&create.name), name(&create.using))?;
                with(f, &create.with)
            }
            Statement::DropModel(model) => write!(f, "DROP MODEL {}", name(model)),
            Statement::CreateIndex(create) => write!(f, "CREATE INDEX {create}"),
            Statement::RebuildIndex(rebuild) => write!(f, "REBUILD INDEX {rebuild}"),
            Statement::DropIndex(index) => write!(f, "DROP INDEX {}", name(index)),
            Statement::Recommend(recommend) => write!(f, "{recommend}"),
            Statement::Evaluate(evaluate) => write!(f, "{evaluate}"),
            Statement::CompareLabels(compare) => {
                write!(f, "COMPARE LABELS WITH {}", compare.file.node)?;
                with(f, &compare.with)
            }
            Statement::CompareCodebooks(compare) => write!(f, "COMPARE CODEBOOK {compare}"),
            Statement::Explain(explain) => {
                f.write_str(if explain.analyze { "EXPLAIN ANALYZE " } else { "EXPLAIN " })?;
                write!(f, "{}", explain.statement)
            }
            Statement::Show(shown) => write!(f, "SHOW {}", shown.node),
            Statement::ShowFailures(job) => write!(f, "SHOW FAILURES JOB {}", job.node),
            Statement::Describe(described) => write!(f, "DESCRIBE {described}"),
            Statement::WaitJob(job) => write!(f, "WAIT JOB {}", job.node),
            Statement::CancelJob(job) => write!(f, "CANCEL JOB {}", job.node),
            Statement::ResumeJob(resume) => {
                write!(f, "RESUME JOB {}", resume.job.node)?;
                background(f, resume.background)
            }
            Statement::Verify => f.write_str("VERIFY"),
            Statement::Compact => f.write_str("COMPACT"),
            Statement::Backup(file) => write!(f, "BACKUP TO {}", file.node),
            Statement::Set(option) => write!(f, "SET {option}"),
            Statement::Begin => f.write_str("BEGIN"),
            Statement::Commit => f.write_str("COMMIT"),
            Statement::Rollback => f.write_str("ROLLBACK"),
        }
    }
}

impl Display for Insert {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "INSERT INTO {} ", name(&self.into))?;
        list(f, &self.rows, |f, row| {
            f.write_str("{")?;
            fields(f, row, ": ")?;
            f.write_str("}")
        })?;
        with(f, &self.with)
    }
}

impl Display for Update {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "UPDATE {} SET ", name(&self.relation))?;
        fields(f, &self.set, " = ")?;
        filter(f, self.filter.as_ref())
    }
}

impl Display for CopyTo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.select.is_whole() {
            write!(f, "COPY {} TO {}", name(&self.select.from), self.file.node)?;
        } else {
            write!(f, "COPY ({}) TO {}", self.select, self.file.node)?;
        }
        with(f, &self.with)?;
        background(f, self.background)
    }
}

impl Display for Enrich {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ENRICH {} BY {}", name(&self.relation), name(&self.stage))?;
        clause(f, "USING", self.using.as_ref().map(name))?;
        filter(f, self.filter.as_ref())?;
        with(f, &self.with)?;
        background(f, self.background)
    }
}

impl Display for CreateCodebook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (codebook, kind, space) = (name(&self.name), name(&self.using), name(&self.on));
        write!(f, "CREATE CODEBOOK {codebook} USING {kind} ON {space}")?;
        with(f, &self.with)
    }
}

impl Display for DropUnused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} UNUSED", name(&self.codebook))?;
        clause(f, "KEEP", self.keep.as_ref().map(|keep| keep.node))
    }
}

impl Display for CompareCodebooks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} WITH {}", self.left, self.right)?;
        filter(f, self.filter.as_ref())?;
        with(f, &self.with)
    }
}

impl Display for CreatePolicy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "CREATE POLICY {} USING {}", name(&self.name), name(&self.using))?;
        clause(f, "ON CODEBOOK", self.codebook.as_ref().map(name))?;
        with(f, &self.with)
    }
}

impl Display for Recommend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("RECOMMEND ")?;
        if let Some(count) = &self.count {
            write!(f, "{} ", count.node)?;
        }
        write!(f, "{}", self.context.node)?;
        clause(f, "USING", self.using.as_ref().map(name))?;
        filter(f, self.filter.as_ref())?;
        clause(f, "INTO", self.into.as_ref().map(|into| &into.node))?;
        with(f, &self.with)
    }
}

impl Display for Evaluate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("EVALUATE POLICY ")?;
        list(f, &self.policies, |f, policy| write!(f, "{}", name(policy)))?;
        clause(f, "ON", self.split.as_ref().map(name))?;
        if !self.at.is_empty() {
            f.write_str(" AT ")?;
            list(f, &self.at, |f, at| write!(f, "{}", at.node))?;
        }
        with(f, &self.with)?;
        background(f, self.background)
    }
}
