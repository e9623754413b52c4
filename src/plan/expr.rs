//! Predicates and projections with names resolved and types checked.

use sidql_grammar::ast::{self, Binary, Literal, SidPattern};
use sidql_grammar::span::{Span, Spanned};

use super::function::{self, Function};
use super::scope::Scope;
use super::sids;
use crate::error::{Error, Result};
use crate::value::{Sid, Value};

/// A resolved expression, evaluated over one row of sources (see `scope.rs`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// A value known now.
    Const(Value),
    /// The value of a source of the row.
    Source(usize),
    /// Three-valued NOT.
    Not(Box<Expr>),
    /// Minus.
    Negate(Box<Expr>),
    /// Three-valued AND.
    And(Box<Expr>, Box<Expr>),
    /// Three-valued OR.
    Or(Box<Expr>, Box<Expr>),
    /// A comparison of two values of one type.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `LIKE`, the pattern on the right.
    Like(Box<Expr>, Box<Expr>),
    /// `CONTAINS`, the element or substring on the right.
    Contains(Box<Expr>, Box<Expr>),
    /// `IN (…)`
    In(Box<Expr>, Vec<Expr>),
    /// `IS NULL`
    IsNull(Box<Expr>),
    /// A SID lies under one of the patterns; with `whole`, it has no further levels.
    Under { sid: Box<Expr>, patterns: Vec<SidPattern>, whole: bool },
    /// A SID, cut to the levels of the bound, stands in this order to it.
    Order { sid: Box<Expr>, comparison: Comparison, bound: Sid },
    /// The first levels of a SID.
    Prefix(Box<Expr>, usize),
    /// A scalar function.
    Call(&'static Function, Vec<Expr>),
}

impl Expr {
    /// Whether the value depends on a source of the row.
    pub(crate) fn reads(&self, source: usize) -> bool {
        let any = |exprs: &[Expr]| exprs.iter().any(|expr| expr.reads(source));
        match self {
            Expr::Const(_) => false,
            Expr::Source(at) => *at == source,
            Expr::Not(one) | Expr::Negate(one) | Expr::IsNull(one) | Expr::Prefix(one, _) => {
                one.reads(source)
            }
            Expr::And(left, right)
            | Expr::Or(left, right)
            | Expr::Compare(_, left, right)
            | Expr::Like(left, right)
            | Expr::Contains(left, right) => left.reads(source) || right.reads(source),
            Expr::In(one, list) => one.reads(source) || any(list),
            Expr::Under { sid, .. } | Expr::Order { sid, .. } => sid.reads(source),
            Expr::Call(_, args) => any(args),
        }
    }
}

/// An order relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Comparison {
    /// Whether an ordering satisfies the relation.
    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Ne => ordering.is_ne(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Le => ordering.is_le(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Ge => ordering.is_ge(),
        }
    }

    /// The sign, as `EXPLAIN` prints it.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Comparison::Eq => "=",
            Comparison::Ne => "!=",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
        }
    }
}

/// The type of an expression, as far as it is known before the statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Null, or a column whose values vary.
    Any,
    Bool,
    Number,
    Text,
    List,
    Sid,
    Vector,
    Bytes,
}

impl Type {
    /// The word in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Type::Any => "any",
            Type::Bool => "bool",
            Type::Number => "number",
            Type::Text => "text",
            Type::List => "list",
            Type::Sid => "sid",
            Type::Vector => "vector",
            Type::Bytes => "bytes",
        }
    }

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Type {
        match value {
            Value::Null => Type::Any,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) | Value::Float(_) => Type::Number,
            Value::Text(_) => Type::Text,
            Value::List(_) => Type::List,
            Value::Sid(_) => Type::Sid,
            Value::Vector(_) => Type::Vector,
            Value::Bytes(_) => Type::Bytes,
        }
    }

    pub(super) fn meets(self, other: Type) -> bool {
        self == other || self == Type::Any || other == Type::Any
    }
}

/// A resolved expression and its type.
pub(crate) type Typed = (Expr, Type);

/// Resolves an expression within a scope.
pub(crate) fn resolve(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<Typed> {
    let span = expr.span.clone();
    let typed = match &expr.node {
        ast::Expr::Literal(literal) => constant(literal_value(literal, &span)?),
        ast::Expr::Param(param) => constant(scope.params().get(param)?.clone()),
        ast::Expr::Column(name) => scope.column(name).map_err(|error| error.at(span))?,
        ast::Expr::Star => {
            return Err(
                Error::input("misplaced-star", "`*` stands for columns, not for a value").at(span)
            );
        }
        ast::Expr::Call { name, args } => return call(scope, name, args).map_err(|e| e.at(span)),
        ast::Expr::Not(inner) => (Expr::Not(Box::new(condition(scope, inner)?)), Type::Bool),
        ast::Expr::Negate(inner) => {
            let value = wanted(scope, inner, Type::Number)?;
            (Expr::Negate(Box::new(value)), Type::Number)
        }
        ast::Expr::Binary { left, op, right } => binary(scope, left, op, right)?,
        ast::Expr::In { expr, list, negated } => negate(*negated, one_of(scope, expr, list)?),
        ast::Expr::IsNull { expr, negated } => {
            let (value, _) = resolve(scope, expr)?;
            negate(*negated, Expr::IsNull(Box::new(value)))
        }
    };
    Ok(typed)
}

/// Resolves an expression that must be true or false.
pub(crate) fn condition(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<Expr> {
    wanted(scope, expr, Type::Bool)
}

fn wanted(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>, want: Type) -> Result<Expr> {
    let (resolved, found) = resolve(scope, expr)?;
    if found.meets(want) {
        return Ok(resolved);
    }
    let message = format!("expected a {}, found a {}", want.name(), found.name());
    Err(Error::input("type-mismatch", message).at(expr.span.clone()))
}

fn constant(value: Value) -> Typed {
    let kind = Type::of(&value);
    (Expr::Const(value), kind)
}

fn negate(negated: bool, expr: Expr) -> Typed {
    (if negated { Expr::Not(Box::new(expr)) } else { expr }, Type::Bool)
}

/// The value of a literal; a pattern with `*` has none.
pub(crate) fn literal_value(literal: &Literal, span: &Span) -> Result<Value> {
    Ok(match literal {
        Literal::Null => Value::Null,
        Literal::Bool(bool) => Value::Bool(*bool),
        Literal::Int(int) => Value::Int(*int),
        Literal::Float(float) => Value::Float(*float),
        Literal::Text(text) => Value::Text(text.clone()),
        Literal::Sid(pattern) if pattern.is_fixed() => Value::Sid(
            Sid::new(&pattern.fixed_prefix()).map_err(|e| Error::from(e).at(span.clone()))?,
        ),
        Literal::Sid(pattern) => {
            let message = format!("`{pattern}` is a pattern, not one sid");
            return Err(Error::input("pattern-as-value", message)
                .help("compare a pattern with prefix: `WHERE prefix = a1.*.c3`")
                .at(span.clone()));
        }
    })
}

fn binary(
    scope: &mut Scope<'_>,
    left: &Spanned<ast::Expr>,
    op: &Spanned<Binary>,
    right: &Spanned<ast::Expr>,
) -> Result<Typed> {
    let boxed = |l: Expr, r: Expr| (Box::new(l), Box::new(r));
    let expr = match op.node {
        Binary::And => {
            let (l, r) = boxed(condition(scope, left)?, condition(scope, right)?);
            Expr::And(l, r)
        }
        Binary::Or => {
            let (l, r) = boxed(condition(scope, left)?, condition(scope, right)?);
            Expr::Or(l, r)
        }
        Binary::Like | Binary::NotLike => {
            let (l, r) = boxed(wanted(scope, left, Type::Text)?, wanted(scope, right, Type::Text)?);
            return Ok(negate(op.node == Binary::NotLike, Expr::Like(l, r)));
        }
        Binary::Contains => contains(scope, left, right)?,
        Binary::Eq => compare(scope, left, Comparison::Eq, right)?,
        Binary::Ne => compare(scope, left, Comparison::Ne, right)?,
        Binary::Lt => compare(scope, left, Comparison::Lt, right)?,
        Binary::Le => compare(scope, left, Comparison::Le, right)?,
        Binary::Gt => compare(scope, left, Comparison::Gt, right)?,
        Binary::Ge => compare(scope, left, Comparison::Ge, right)?,
        other => return Err(Error::internal(format!("operator {other:?} has no meaning"))),
    };
    Ok((expr, Type::Bool))
}

fn contains(
    scope: &mut Scope<'_>,
    left: &Spanned<ast::Expr>,
    right: &Spanned<ast::Expr>,
) -> Result<Expr> {
    let (container, kind) = resolve(scope, left)?;
    if !matches!(kind, Type::List | Type::Text | Type::Any) {
        let message = format!("CONTAINS looks into a list or a text, not a {}", kind.name());
        return Err(Error::input("type-mismatch", message).at(left.span.clone()));
    }
    let element = wanted(scope, right, Type::Text)?;
    Ok(Expr::Contains(Box::new(container), Box::new(element)))
}

fn compare(
    scope: &mut Scope<'_>,
    left: &Spanned<ast::Expr>,
    comparison: Comparison,
    right: &Spanned<ast::Expr>,
) -> Result<Expr> {
    if let Some(side) = sids::side(scope, left)? {
        return sids::compare(scope, side, comparison, right);
    }
    let (l, left_type) = resolve(scope, left)?;
    let (r, right_type) = resolve(scope, right)?;
    check_comparable(left_type, right_type, &right.span)?;
    Ok(Expr::Compare(comparison, Box::new(l), Box::new(r)))
}

fn check_comparable(left: Type, right: Type, at: &Span) -> Result<()> {
    let message = match (left, right) {
        (Type::Vector | Type::Bytes, _) | (_, Type::Vector | Type::Bytes) => {
            "vectors and bytes cannot be compared".to_owned()
        }
        (Type::List, other) if other != Type::Any => {
            return Err(Error::input("type-mismatch", "a list is not compared as a whole")
                .help("ask for an element: `WHERE categories CONTAINS 'Soccer'`")
                .at(at.clone()));
        }
        _ if left.meets(right) => return Ok(()),
        _ => format!("a {} cannot be compared with a {}", left.name(), right.name()),
    };
    Err(Error::input("type-mismatch", message).at(at.clone()))
}

fn one_of(
    scope: &mut Scope<'_>,
    expr: &Spanned<ast::Expr>,
    list: &[Spanned<ast::Expr>],
) -> Result<Expr> {
    if let Some(side) = sids::side(scope, expr)? {
        return sids::one_of(scope, side, list);
    }
    let (value, kind) = resolve(scope, expr)?;
    let mut among = Vec::with_capacity(list.len());
    for one in list {
        let (candidate, found) = resolve(scope, one)?;
        check_comparable(kind, found, &one.span)?;
        among.push(candidate);
    }
    Ok(Expr::In(Box::new(value), among))
}

fn call(scope: &mut Scope<'_>, name: &ast::Name, args: &[Spanned<ast::Expr>]) -> Result<Typed> {
    let lower = name.node.to_lowercase();
    match lower.as_str() {
        "sid" if scope.has_sids() => Ok((sids::sid_call(scope, args)?, Type::Sid)),
        "prefix" => sids::prefix_call(scope, args),
        "is_under" => Ok((sids::is_under(scope, args)?, Type::Bool)),
        "embedding" if scope.has_sids() => {
            let [space] = args else { return Err(arity("embedding", "the name of a space")) };
            let space = sids::text_argument(space)
                .ok_or_else(|| arity("embedding", "the name of a space, in quotes"))?;
            Ok((scope.embedding(space)?, Type::Vector))
        }
        "field" if scope.has_sids() => {
            scope.field(argument(args, "field", "the name of a metadata field, in quotes")?)
        }
        "residual" if scope.has_sids() => {
            let wrong = || arity("residual", "the sid of a codebook: residual(sid('full', 2))");
            let [sid] = args else { return Err(wrong()) };
            let sid = resolve(scope, sid)?.0;
            Ok((scope.residual(&sid).ok_or_else(wrong)?, Type::Number))
        }
        "provenance" if scope.has_sids() => {
            let name = argument(args, "provenance", DERIVED)?;
            Ok((scope.provenance(name)?, Type::Text))
        }
        "stale" if scope.has_sids() => {
            let name = argument(args, "stale", DERIVED)?;
            Ok((scope.stale_value(name)?, Type::Bool))
        }
        _ => {
            if super::aggregate::is_aggregate(&lower) {
                let message = format!("the aggregate `{lower}` is not allowed here");
                return Err(Error::input("misplaced-aggregate", message)
                    .help("aggregates stand in the projection or in ORDER BY"));
            }
            let function = function::find(&lower).map_err(|e| e.at(name.span.clone()))?;
            if !function.arity.contains(&args.len()) {
                return Err(arity(function.name, function.takes));
            }
            if function.of_sids {
                return sids::call(scope, function, args);
            }
            let args: Vec<Expr> =
                args.iter().map(|arg| Ok(resolve(scope, arg)?.0)).collect::<Result<_>>()?;
            Ok((Expr::Call(function, args), function.gives))
        }
    }
}

/// What `provenance()` and `stale()` take.
const DERIVED: &str = "caption, descriptors, quality, or the name of an embedding space";

/// The only argument of a function that takes a name, bare or in quotes.
fn argument<'a>(args: &'a [Spanned<ast::Expr>], name: &str, takes: &str) -> Result<&'a str> {
    let [only] = args else { return Err(arity(name, takes)) };
    match &only.node {
        ast::Expr::Column(bare) => Ok(bare),
        _ => sids::text_argument(only).ok_or_else(|| arity(name, takes)),
    }
}

pub(super) fn arity(name: &str, takes: &str) -> Error {
    Error::input("wrong-arguments", format!("{name}() takes {takes}"))
}
