//! Expressions of projections and predicates.

use super::{Name, SidPattern};
use crate::span::Spanned;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A literal.
    Literal(Literal),
    /// `?` or `$name`
    Param(Param),
    /// A column, for example `price`.
    Column(String),
    /// `*` in a projection or in `count(*)`.
    Star,
    /// A function or an aggregate, for example `prefix(2)`, `avg(price)`, `sid('full', 2)`.
    Call {
        /// The function's name.
        name: Name,
        /// Its arguments.
        args: Vec<Spanned<Expr>>,
    },
    /// `NOT e`
    Not(Box<Spanned<Expr>>),
    /// `-e`
    Negate(Box<Spanned<Expr>>),
    /// `left op right`
    Binary {
        /// The left side.
        left: Box<Spanned<Expr>>,
        /// The operator.
        op: Spanned<Binary>,
        /// The right side.
        right: Box<Spanned<Expr>>,
    },
    /// `e [NOT] IN (…)`
    In {
        /// What is looked up.
        expr: Box<Spanned<Expr>>,
        /// Among what.
        list: Vec<Spanned<Expr>>,
        /// `NOT IN`
        negated: bool,
    },
    /// `e IS [NOT] NULL`
    IsNull {
        /// What is asked about.
        expr: Box<Spanned<Expr>>,
        /// `IS NOT NULL`
        negated: bool,
    },
}

impl Expr {
    /// Whether this is `prefix`, `prefix(…)`, `sid`, `sid(…)` or `parent`, beside which a SID needs no dot.
    pub fn holds_sid(&self) -> bool {
        let name = match self {
            Expr::Column(name) => name,
            Expr::Call { name, .. } => &name.node,
            _ => return false,
        };
        ["prefix", "sid", "parent"].iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

/// A binary operator, from the loosest to the tightest binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binary {
    /// `OR`
    Or,
    /// `AND`
    And,
    /// `=`
    Eq,
    /// `!=` or `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `LIKE`: `%` any run, `_` any one character, case ignored for ASCII as in SQLite.
    Like,
    /// `NOT LIKE`
    NotLike,
    /// `CONTAINS`: a list has the element, or a text has the substring, case ignored.
    Contains,
}

impl Binary {
    /// Whether this is `=`, `!=`, `<`, `<=`, `>` or `>=`.
    pub fn compares(self) -> bool {
        use Binary::{Eq, Ge, Gt, Le, Lt, Ne};
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }
}

/// A literal value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `NULL`
    Null,
    /// `TRUE` or `FALSE`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `4.2`, `1e-3`
    Float(f64),
    /// `'text'`
    Text(String),
    /// `a1.b33.*`
    Sid(SidPattern),
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    /// `?`, counted from 0.
    Positional(usize),
    /// `$name`
    Named(String),
}
