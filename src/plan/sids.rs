//! Expressions about SIDs: comparisons with prefixes, patterns and bounds, and functions of them.

use sidql_grammar::ast::{self, Level, Literal, SidPattern};
use sidql_grammar::span::Spanned;

use super::expr::{Comparison, Expr, Type, Typed, arity, resolve};
use super::function::{self, Function};
use super::scope::Scope;
use crate::error::{Error, Result};
use crate::value::{Sid, Value};

/// The left side of a comparison that speaks of SIDs.
pub(super) struct Side {
    /// The SID.
    sid: Expr,
    /// Whether it must match as a whole, or may go on below what it is compared with.
    whole: bool,
}

/// The left side of a comparison, where it speaks of SIDs.
///
/// Of items, `prefix` and `prefix('codebook')` match what lies under the pattern; `sid`, `sid(…)`, `prefix(n)` and the
/// columns of `codes` match as a whole.
pub(super) fn side(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<Option<Side>> {
    let at = |error: Error| error.at(expr.span.clone());
    let under = |sid: Expr| Ok(Some(Side { sid, whole: false }));
    match &expr.node {
        ast::Expr::Column(name) if name.eq_ignore_ascii_case("prefix") && scope.has_sids() => {
            under(scope.sid(None, None).map_err(at)?)
        }
        ast::Expr::Call { name, args }
            if name.node.eq_ignore_ascii_case("prefix") && scope.has_sids() =>
        {
            match args.as_slice() {
                [codebook] if text_argument(codebook).is_some() => {
                    under(scope.sid(text_argument(codebook), None).map_err(at)?)
                }
                _ => Ok(Some(Side { sid: resolve(scope, expr)?.0, whole: true })),
            }
        }
        ast::Expr::Column(_) | ast::Expr::Call { .. } => match resolve(scope, expr)? {
            (sid, Type::Sid) => Ok(Some(Side { sid, whole: true })),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The right side of such a comparison.
enum Other {
    /// Written out, or given as a parameter or a text.
    Pattern(SidPattern),
    /// A value that differs from row to row.
    Value(Expr),
}

/// A comparison of SIDs. `=` and `!=` take patterns. The others go by the order of the tree, in which everything under
/// a bound is equal to it: `sid <= a1.b9` holds for all that lies under a1.b9, `sid > a1.b9` for what comes after it.
pub(super) fn compare(
    scope: &mut Scope<'_>,
    side: Side,
    comparison: Comparison,
    right: &Spanned<ast::Expr>,
) -> Result<Expr> {
    let Side { sid, whole } = side;
    let sid = Box::new(sid);
    let pattern = match other(scope, right)? {
        Other::Pattern(pattern) => pattern,
        Other::Value(value) => return Ok(Expr::Compare(comparison, sid, Box::new(value))),
    };
    if matches!(comparison, Comparison::Eq | Comparison::Ne) {
        let under = Expr::Under { sid, patterns: vec![pattern], whole };
        return Ok(if comparison == Comparison::Eq { under } else { Expr::Not(Box::new(under)) });
    }
    if !pattern.is_fixed() {
        let message = format!("a bound is one sid or prefix, not the pattern `{pattern}`");
        return Err(Error::input("pattern-as-value", message)
            .help("a pattern is compared by = and IN: `WHERE prefix = a1.b2..b9`")
            .at(right.span.clone()));
    }
    let bound = Sid::new(&pattern.fixed_prefix())?;
    Ok(Expr::Order { sid, comparison, bound })
}

/// `sid IN (…)` with SIDs, prefixes and patterns.
pub(super) fn one_of(
    scope: &mut Scope<'_>,
    side: Side,
    list: &[Spanned<ast::Expr>],
) -> Result<Expr> {
    let mut patterns = Vec::with_capacity(list.len());
    for one in list {
        patterns.push(pattern_of(scope, one)?);
    }
    Ok(Expr::Under { sid: Box::new(side.sid), patterns, whole: side.whole })
}

fn pattern_of(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<SidPattern> {
    match other(scope, expr)? {
        Other::Pattern(pattern) => Ok(pattern),
        Other::Value(_) => {
            Err(Error::input("bad-sid", "expected a sid such as a1.b33 here").at(expr.span.clone()))
        }
    }
}

fn other(scope: &mut Scope<'_>, expr: &Spanned<ast::Expr>) -> Result<Other> {
    let text_pattern = |text: &str| {
        sidql_grammar::pattern::read_sid(text).map(Other::Pattern).map_err(|error| {
            Error::input("bad-sid", format!("`{text}` is not a sid: {error}"))
                .help("a sid is written a1.b33.c192")
                .at(expr.span.clone())
        })
    };
    match &expr.node {
        ast::Expr::Literal(Literal::Sid(pattern)) => Ok(Other::Pattern(pattern.clone())),
        ast::Expr::Literal(Literal::Text(text)) => text_pattern(text),
        ast::Expr::Column(name) if scope.is_level(name) => text_pattern(name),
        _ => match resolve(scope, expr)? {
            (Expr::Const(Value::Sid(sid)), _) => {
                let levels = sid.codes().iter().map(|code| Level::Code(*code)).collect();
                Ok(Other::Pattern(SidPattern { levels }))
            }
            (Expr::Const(Value::Text(text)), _) => text_pattern(&text),
            (value, kind) if kind.meets(Type::Sid) => Ok(Other::Value(value)),
            (_, kind) => {
                let message = format!("expected a sid such as a1.b33, found a {}", kind.name());
                Err(Error::input("type-mismatch", message).at(expr.span.clone()))
            }
        },
    }
}

/// A call of a function of SIDs. What is known now is computed now, so that it can lead an access path.
pub(super) fn call(
    scope: &mut Scope<'_>,
    function: &'static Function,
    args: &[Spanned<ast::Expr>],
) -> Result<Typed> {
    let mut resolved = vec![argument(scope, function, &args[0])?];
    for arg in &args[1..] {
        // The second argument is a SID too, or a number.
        let typed = match &arg.node {
            ast::Expr::Literal(Literal::Int(_)) => resolve(scope, arg)?.0,
            _ => argument(scope, function, arg)?,
        };
        resolved.push(typed);
    }
    let known: Option<Vec<Value>> = resolved
        .iter()
        .map(|arg| if let Expr::Const(value) = arg { Some(value.clone()) } else { None })
        .collect();
    Ok(match known {
        Some(values) => (Expr::Const((function.eval)(&values)), function.gives),
        None => (Expr::Call(function, resolved), function.gives),
    })
}

/// An argument that is a SID: written out, or the value of an expression.
fn argument(scope: &mut Scope<'_>, function: &Function, arg: &Spanned<ast::Expr>) -> Result<Expr> {
    let takes_number = matches!(&arg.node, ast::Expr::Param(_)) && function.name == "code";
    if takes_number {
        return Ok(resolve(scope, arg)?.0);
    }
    match other(scope, arg)? {
        Other::Pattern(pattern) if pattern.is_fixed() => {
            Ok(Expr::Const(Value::Sid(Sid::new(&pattern.fixed_prefix())?)))
        }
        Other::Pattern(pattern) => {
            let message = format!("`{pattern}` is a pattern, not one sid");
            Err(Error::input("pattern-as-value", message)
                .help(format!("{}() takes {}", function.name, function.takes))
                .at(arg.span.clone()))
        }
        Other::Value(value) => Ok(value),
    }
}

/// `is_under(sid, pattern)`: whether a SID begins so, on any relation.
pub(super) fn is_under(scope: &mut Scope<'_>, args: &[Spanned<ast::Expr>]) -> Result<Expr> {
    let [sid, above] = args else { return Err(arity("is_under", function::UNDER.takes)) };
    if let Other::Pattern(pattern) = other(scope, above)? {
        let sid = argument(scope, &function::UNDER, sid)?;
        return Ok(Expr::Under { sid: Box::new(sid), patterns: vec![pattern], whole: false });
    }
    let function = function::find("is_under")?;
    Ok(call(scope, function, args)?.0)
}

/// An argument that is a text, written out.
pub(super) fn text_argument(expr: &Spanned<ast::Expr>) -> Option<&str> {
    match &expr.node {
        ast::Expr::Literal(Literal::Text(text)) => Some(text),
        _ => None,
    }
}

/// `sid()`, `sid('full')`, `sid('full', 2)`
pub(super) fn sid_call(scope: &mut Scope<'_>, args: &[Spanned<ast::Expr>]) -> Result<Expr> {
    let wrong = || arity("sid", "a codebook in quotes and perhaps a generation: sid('full', 2)");
    match args {
        [] => scope.sid(None, None),
        [codebook] => scope.sid(Some(text_argument(codebook).ok_or_else(wrong)?), None),
        [codebook, generation] => {
            let ordinal = match &generation.node {
                ast::Expr::Literal(Literal::Int(int)) => u32::try_from(*int).ok(),
                _ => None,
            };
            scope.sid(
                Some(text_argument(codebook).ok_or_else(wrong)?),
                Some(ordinal.ok_or_else(wrong)?),
            )
        }
        _ => Err(wrong()),
    }
}

/// `prefix(2)`, `prefix('full', 2)`, or `prefix(sid, 2)` of any SID.
pub(super) fn prefix_call(scope: &mut Scope<'_>, args: &[Spanned<ast::Expr>]) -> Result<Typed> {
    let wrong = || {
        arity(
            "prefix",
            "a number of levels: prefix(2), prefix('full', 2), or prefix(sid, 2) of any sid",
        )
    };
    let (of, levels) = match args {
        [levels] => (None, levels),
        [of, levels] => (Some(of), levels),
        _ => return Err(wrong()),
    };
    let levels = match &levels.node {
        ast::Expr::Literal(Literal::Int(int)) if *int >= 1 => *int as usize,
        _ => return Err(wrong()),
    };
    let sid = match of {
        None if scope.has_sids() => scope.sid(None, None)?,
        None => return Err(wrong()),
        Some(of) => match text_argument(of) {
            Some(codebook) if scope.has_sids() => scope.sid(Some(codebook), None)?,
            _ => match resolve(scope, of)? {
                (sid, kind) if kind.meets(Type::Sid) => sid,
                _ => return Err(wrong()),
            },
        },
    };
    Ok((Expr::Prefix(Box::new(sid), levels), Type::Sid))
}
