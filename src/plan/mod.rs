//! Names to meaning: a statement becomes a plan of ids, enums and typed options. Past here no code looks at a
//! string that a user typed.
//!
//! One file for each family of statements, with the stems of `grammar/src/parser`. `bind.rs` finds names in the
//! catalogue, `scope.rs` and `expr.rs` resolve expressions, `explain.rs` prints a plan.

pub(crate) mod aggregate;
pub(crate) mod bind;
mod codes;
pub(crate) mod compare;
pub(crate) mod copy;
pub(crate) mod define;
pub(crate) mod enrich;
pub(crate) mod explain;
pub(crate) mod expr;
pub(crate) mod function;
pub(crate) mod index;
pub(crate) mod model;
pub(crate) mod near;
pub(crate) mod operand;
pub(crate) mod reach;
pub(crate) mod recommend;
pub(crate) mod relation;
pub(crate) mod scope;
pub(crate) mod search;
pub(crate) mod select;
pub(crate) mod show;
mod sids;
pub(crate) mod train;
pub(crate) mod write;

pub(crate) use sidql_grammar::ast::Show;
use sidql_grammar::ast::{self, Statement};
use sidql_storage::JobNo;

use crate::error::{Error, Result};
use crate::job::{Spec, import};
use bind::Catalog;

/// What a statement means.
pub(crate) enum Plan {
    /// Rows of a relation.
    Select(select::Select),
    /// New rows.
    Insert(write::Insert),
    /// Changed items.
    Update(write::Update),
    /// Fewer rows.
    Delete(write::Delete),
    /// A file into the catalogue.
    Import { spec: import::Spec, background: bool },
    /// Rows into a file.
    Export(copy::Export),
    /// SIDs out to a file.
    ExportCodes(copy::ExportCodes),
    /// Some items enriched; which ones is known when the filter has run.
    Enrich(Box<enrich::Enrich>),
    /// Long work.
    Launch { spec: Spec, background: bool },
    /// A new codebook.
    CreateCodebook(sidql_storage::Codebook),
    /// The generation that queries use.
    Publish { generation: u32, said: String },
    /// A codebook, or one generation of it, away.
    DropCodebook(define::DropCodebook),
    /// The generations of a codebook that nothing needs away, but for the newest so many.
    DropUnused { codebook: String, keep: usize },
    /// A new policy.
    CreatePolicy(sidql_storage::PolicyCard),
    /// A policy away.
    DropPolicy(String),
    /// A new model.
    CreateModel(sidql_storage::Model),
    /// A model away.
    DropModel(String),
    /// A new vector index.
    CreateIndex(sidql_storage::Index),
    /// A vector index away.
    DropIndex(String),
    /// Labels of a judge beside those of people.
    CompareLabels(model::CompareLabels),
    /// Codes of one codebook beside those of another.
    CompareCodebooks(Box<compare::CompareCodebooks>),
    /// The items that a job failed at.
    Failures(JobNo),
    /// The next items.
    Recommend(Box<recommend::Recommend>),
    /// A plan told, and perhaps run.
    Explain { plan: Box<Plan>, analyze: bool },
    /// A list.
    Show(Show),
    /// One thing in detail.
    Describe(show::Describe),
    /// The end of a job.
    Wait(JobNo),
    /// A job stopped.
    Cancel(JobNo),
    /// A job continued.
    Resume { job: JobNo, background: bool },
    /// The file checked.
    Verify,
    /// The file made small.
    Compact,
    /// The file copied.
    Backup(String),
    /// A setting.
    Set(crate::options::Given),
    /// A transaction begun.
    Begin,
    /// A transaction made durable.
    Commit,
    /// A transaction taken back.
    Rollback,
}

/// The meaning of a statement.
pub(crate) fn plan(catalog: &Catalog<'_>, statement: &Statement) -> Result<Plan> {
    Ok(match statement {
        Statement::Select(select) => Plan::Select(select::plan(catalog, select)?),
        Statement::Insert(insert) => Plan::Insert(write::plan_insert(catalog, insert)?),
        Statement::Update(update) => Plan::Update(write::plan_update(catalog, update)?),
        Statement::Delete(delete) => Plan::Delete(write::plan_delete(catalog, delete)?),
        Statement::CopyFrom(copy) => {
            Plan::Import { spec: copy::plan_from(catalog, copy)?, background: copy.background }
        }
        Statement::CopyTo(copy) => match copy::codes_to(catalog, copy)? {
            Some(export) => Plan::ExportCodes(export),
            None => Plan::Export(copy::plan_to(catalog, copy)?),
        },
        Statement::Enrich(enrich) => Plan::Enrich(Box::new(enrich::plan(catalog, enrich)?)),
        Statement::CreateCodebook(create) => {
            Plan::CreateCodebook(define::create_codebook(catalog, create)?)
        }
        Statement::RebuildCodebook(rebuild) => {
            launch(define::rebuild_codebook(catalog, rebuild)?, rebuild.background)
        }
        Statement::PublishCodebook(publish) => define::publish_codebook(catalog, publish)?,
        Statement::DropCodebook(drop) => Plan::DropCodebook(define::drop_codebook(catalog, drop)?),
        Statement::DropUnused(unused) => define::drop_unused(catalog, unused)?,
        Statement::CreatePolicy(create) => {
            Plan::CreatePolicy(define::create_policy(catalog, create)?)
        }
        Statement::TrainPolicy(policy) => {
            launch(train::plan_train(catalog, policy)?, policy.background)
        }
        Statement::DropPolicy(name) => Plan::DropPolicy(define::policy_name(catalog, name)?),
        Statement::CreateModel(create) => Plan::CreateModel(model::create(catalog, create)?),
        Statement::DropModel(name) => Plan::DropModel(model::named(catalog, name)?.name),
        Statement::CreateIndex(create) => Plan::CreateIndex(index::create(catalog, create)?),
        Statement::RebuildIndex(rebuild) => {
            Plan::Launch { spec: index::rebuild(catalog, rebuild)?, background: rebuild.background }
        }
        Statement::DropIndex(name) => Plan::DropIndex(index::named(catalog, name)?.name),
        Statement::CompareLabels(compare) => {
            Plan::CompareLabels(model::compare_labels(catalog, compare)?)
        }
        Statement::CompareCodebooks(compare) => {
            Plan::CompareCodebooks(Box::new(compare::codebooks(catalog, compare)?))
        }
        Statement::ShowFailures(job) => Plan::Failures(job.node),
        Statement::Recommend(recommend) => {
            Plan::Recommend(Box::new(recommend::plan(catalog, recommend)?))
        }
        Statement::Evaluate(evaluate) => {
            launch(train::plan_evaluate(catalog, evaluate)?, evaluate.background)
        }
        Statement::Explain(explain) => Plan::Explain {
            plan: Box::new(plan(catalog, &explain.statement)?),
            analyze: explain.analyze,
        },
        Statement::Show(show) => Plan::Show(show.node),
        Statement::Describe(describe) => Plan::Describe(show::plan_describe(catalog, describe)?),
        Statement::WaitJob(job) => Plan::Wait(job.node),
        Statement::CancelJob(job) => Plan::Cancel(job.node),
        Statement::ResumeJob(resume) => resume_job(resume),
        Statement::Verify => Plan::Verify,
        Statement::Compact => Plan::Compact,
        Statement::Backup(file) => Plan::Backup(operand::text(catalog, &file.node, &file.span)?),
        Statement::Set(option) => set(catalog, option)?,
        Statement::Begin => Plan::Begin,
        Statement::Commit => Plan::Commit,
        Statement::Rollback => Plan::Rollback,
        other => return Err(Error::internal(format!("no meaning for `{other}`"))),
    })
}

fn resume_job(resume: &ast::ResumeJob) -> Plan {
    Plan::Resume { job: resume.job.node, background: resume.background }
}

fn launch(spec: Spec, background: bool) -> Plan {
    Plan::Launch { spec, background }
}

fn set(catalog: &Catalog<'_>, option: &ast::WithOption) -> Result<Plan> {
    let mut given = operand::options(catalog, std::slice::from_ref(option))?;
    Ok(Plan::Set(given.remove(0)))
}

impl Plan {
    /// Whether running the plan changes the file, as a read-only session must not.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Plan::Select(_)
            | Plan::Export(_)
            | Plan::ExportCodes(_)
            | Plan::Recommend(_)
            | Plan::Show(_)
            | Plan::Describe(_)
            | Plan::CompareLabels(_)
            | Plan::CompareCodebooks(_)
            | Plan::Failures(_)
            | Plan::Wait(_)
            | Plan::Verify
            | Plan::Backup(_)
            | Plan::Set(_)
            | Plan::Begin
            | Plan::Commit
            | Plan::Rollback => false,
            Plan::Explain { plan, analyze } => *analyze && plan.writes(),
            _ => true,
        }
    }

    /// The files that the plan touches by name, as `--safe` must not.
    pub(crate) fn touches_files(&self) -> bool {
        match self {
            Plan::Import { .. }
            | Plan::Export(_)
            | Plan::ExportCodes(_)
            | Plan::Backup(_)
            | Plan::CompareLabels(_) => true,
            Plan::Recommend(recommend) => recommend.into.is_some(),
            Plan::Enrich(enrich) => enrich.reads_files,
            Plan::CreateModel(model) => model::names_files(model),
            Plan::Select(select) => select.near.as_ref().is_some_and(|near| near.target.is_file()),
            Plan::Explain { plan, analyze } => *analyze && plan.touches_files(),
            _ => false,
        }
    }
}
