//! Values and expressions.

use std::fmt::{self, Display, Formatter};

use super::{Identifier, list, name, quoted};
use crate::ast::{Binary, Expr, Level, Literal, Operand, OptionValue, Param, letters};
use crate::parser::pattern;
use crate::span::Spanned;

impl Display for OptionValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Literal(literal) => write!(f, "{literal}"),
            OptionValue::Param(param) => write!(f, "{param}"),
            OptionValue::List(items) => {
                f.write_str("[")?;
                list(f, items, |f, item| write!(f, "{}", item.node))?;
                f.write_str("]")
            }
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("NULL"),
            Literal::Bool(true) => f.write_str("TRUE"),
            Literal::Bool(false) => f.write_str("FALSE"),
            Literal::Int(value) => write!(f, "{value}"),
            // The debug form keeps the point or the exponent, and every digit.
            Literal::Float(value) => write!(f, "{value:?}"),
            Literal::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Literal::Sid(sid) if sid.levels.len() > 1 => write!(f, "{sid}"),
            // A single level without a dot would be read as a column.
            Literal::Sid(sid) => {
                for (at, level) in sid.levels.iter().enumerate() {
                    match level {
                        Level::Code(code) => write!(f, "<{}_{code}>", letters(at))?,
                        Level::Range(from, to) => {
                            write!(f, "<{0}_{from}..{0}_{to}>", letters(at))?;
                        }
                        Level::Any => f.write_str("<*>")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Display for Param {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Param::Positional(_) => f.write_str("?"),
            Param::Named(name) => write!(f, "${name}"),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Literal(literal) => write!(f, "{literal}"),
            Operand::Param(param) => write!(f, "{param}"),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Binary::Or => "OR",
            Binary::And => "AND",
            Binary::Eq => "=",
            Binary::Ne => "!=",
            Binary::Lt => "<",
            Binary::Le => "<=",
            Binary::Gt => ">",
            Binary::Ge => ">=",
            Binary::Like => "LIKE",
            Binary::NotLike => "NOT LIKE",
            Binary::Contains => "CONTAINS",
        })
    }
}

/// How tight an expression binds; a looser one within a tighter one needs parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Or,
    And,
    Not,
    Comparison,
    Minus,
    Primary,
}

fn binding(expr: &Expr) -> Binding {
    match expr {
        Expr::Binary { op, .. } => match op.node {
            Binary::Or => Binding::Or,
            Binary::And => Binding::And,
            _ => Binding::Comparison,
        },
        Expr::In { .. } | Expr::IsNull { .. } => Binding::Comparison,
        Expr::Not(_) => Binding::Not,
        Expr::Negate(_) => Binding::Minus,
        Expr::Literal(_) | Expr::Param(_) | Expr::Column(_) | Expr::Star | Expr::Call { .. } => {
            Binding::Primary
        }
    }
}

/// An expression that must bind at least so tight.
fn bound(f: &mut Formatter<'_>, expr: &Spanned<Expr>, least: Binding) -> fmt::Result {
    if binding(&expr.node) < least {
        write!(f, "({})", expr.node)
    } else {
        write!(f, "{}", expr.node)
    }
}

/// An operand beside `prefix` or `sid`, where a SID needs no brackets.
fn operand(f: &mut Formatter<'_>, expr: &Spanned<Expr>, sid: bool) -> fmt::Result {
    match &expr.node {
        Expr::Literal(Literal::Sid(pattern)) if sid => write!(f, "{pattern}"),
        _ => bound(f, expr, Binding::Minus),
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Literal(literal) => write!(f, "{literal}"),
            Expr::Param(param) => write!(f, "{param}"),
            // Beside a SID a column called `b2` would be read as a level.
            Expr::Column(column) if pattern::is_level(column) => quoted(f, column),
            Expr::Column(column) => write!(f, "{}", Identifier(column)),
            Expr::Star => f.write_str("*"),
            Expr::Call { name: function, args } => {
                write!(f, "{}(", name(function))?;
                list(f, args, |f, arg| write!(f, "{}", arg.node))?;
                f.write_str(")")
            }
            Expr::Not(inner) => {
                f.write_str("NOT ")?;
                bound(f, inner, Binding::Not)
            }
            // `-5` is a literal, and `--` a comment.
            Expr::Negate(inner) if matches!(inner.node, Expr::Literal(_)) => {
                write!(f, "-({})", inner.node)
            }
            Expr::Negate(inner) => {
                f.write_str("-")?;
                bound(f, inner, Binding::Primary)
            }
            Expr::Binary { left, op, right } => {
                let (least_left, least_right) = match op.node {
                    Binary::Or => (Binding::Or, Binding::And),
                    Binary::And => (Binding::And, Binding::Not),
                    _ => (Binding::Minus, Binding::Minus),
                };
                bound(f, left, least_left)?;
                write!(f, " {} ", op.node)?;
                if op.node.compares() {
                    operand(f, right, left.node.holds_sid())
                } else {
                    bound(f, right, least_right)
                }
            }
            Expr::In { expr, list: items, negated } => {
                bound(f, expr, Binding::Minus)?;
                f.write_str(if *negated { " NOT IN (" } else { " IN (" })?;
                let sid = expr.node.holds_sid();
                list(f, items, |f, item| operand(f, item, sid))?;
                f.write_str(")")
            }
            Expr::IsNull { expr, negated } => {
                bound(f, expr, Binding::Minus)?;
                f.write_str(if *negated { " IS NOT NULL" } else { " IS NULL" })
            }
        }
    }
}
