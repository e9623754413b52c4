//! Aggregates: `count`, `min`, `max`, `avg`, `sum`.

use super::expr::{Expr, Type, resolve};
use super::scope::Scope;
use crate::error::{Error, Result};
use sidql_grammar::ast;
use sidql_grammar::span::Spanned;

/// The names of the aggregates.
pub(crate) const NAMES: &[&str] = &["count", "min", "max", "avg", "sum"];

/// One aggregate over the rows of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    /// Which one.
    pub(crate) kind: AggregateKind,
    /// Over what; nothing for `count(*)`.
    pub(crate) over: Option<Expr>,
}

/// What an aggregate computes. Nulls are left out, as in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    Count,
    Min,
    Max,
    Avg,
    Sum,
}

/// Whether a lower-case name is that of an aggregate.
pub(crate) fn is_aggregate(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether an aggregate occurs in an expression.
pub(crate) fn occurs(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Call { name, args } => {
            is_aggregate(&name.node.to_lowercase()) || args.iter().any(|arg| occurs(&arg.node))
        }
        ast::Expr::Not(inner) | ast::Expr::Negate(inner) => occurs(&inner.node),
        ast::Expr::Binary { left, right, .. } => occurs(&left.node) || occurs(&right.node),
        ast::Expr::In { expr, list, .. } => {
            occurs(&expr.node) || list.iter().any(|one| occurs(&one.node))
        }
        ast::Expr::IsNull { expr, .. } => occurs(&expr.node),
        _ => false,
    }
}

/// Resolves a call of an aggregate.
pub(crate) fn resolve_aggregate(
    scope: &mut Scope<'_>,
    name: &ast::Name,
    args: &[Spanned<ast::Expr>],
) -> Result<(Aggregate, Type)> {
    let lower = name.node.to_lowercase();
    let kind = match lower.as_str() {
        "count" => AggregateKind::Count,
        "min" => AggregateKind::Min,
        "max" => AggregateKind::Max,
        "avg" => AggregateKind::Avg,
        _ => AggregateKind::Sum,
    };
    let [arg] = args else {
        let message = format!("{lower}() takes one argument");
        return Err(Error::input("wrong-arguments", message).at(name.span.clone()));
    };
    if arg.node == ast::Expr::Star {
        if kind == AggregateKind::Count {
            return Ok((Aggregate { kind, over: None }, Type::Number));
        }
        let message = format!("{lower}(*) has no meaning");
        return Err(Error::input("wrong-arguments", message)
            .help("name a column, or use count(*)")
            .at(arg.span.clone()));
    }
    let (over, found) = resolve(scope, arg)?;
    let gives = match kind {
        AggregateKind::Count => Type::Number,
        AggregateKind::Min | AggregateKind::Max => found,
        AggregateKind::Avg | AggregateKind::Sum if matches!(found, Type::Number | Type::Any) => {
            Type::Number
        }
        AggregateKind::Avg | AggregateKind::Sum => {
            let message = format!("{lower}() needs numbers, found a {}", found.name());
            return Err(Error::input("type-mismatch", message).at(arg.span.clone()));
        }
    };
    Ok((Aggregate { kind, over: Some(over) }, gives))
}
