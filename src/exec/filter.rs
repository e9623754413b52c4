//! Evaluates resolved expressions on rows, with SQL's three-valued logic.

use std::cmp::Ordering;

use crate::plan::expr::{Comparison, Expr};
use crate::value::{Row, Value};

/// The value of an expression on a row of sources.
pub(crate) fn eval(expr: &Expr, row: &Row) -> Value {
    match expr {
        Expr::Const(value) => value.clone(),
        Expr::Source(at) => row[*at].clone(),
        Expr::Not(inner) => match eval(inner, row) {
            Value::Bool(bool) => Value::Bool(!bool),
            _ => Value::Null,
        },
        Expr::Negate(inner) => match eval(inner, row) {
            Value::Int(int) => int.checked_neg().map_or(Value::Null, Value::Int),
            Value::Float(float) => Value::Float(-float),
            _ => Value::Null,
        },
        Expr::And(left, right) => and(truth(left, row), || truth(right, row)),
        Expr::Or(left, right) => or(truth(left, row), || truth(right, row)),
        Expr::Compare(comparison, left, right) => {
            compared(*comparison, &eval(left, row), &eval(right, row))
        }
        Expr::Like(text, pattern) => match (eval(text, row), eval(pattern, row)) {
            (Value::Text(text), Value::Text(pattern)) => Value::Bool(like(&text, &pattern)),
            _ => Value::Null,
        },
        Expr::Contains(container, element) => contains(&eval(container, row), &eval(element, row)),
        Expr::In(expr, list) => one_of(&eval(expr, row), list, row),
        Expr::IsNull(inner) => Value::Bool(eval(inner, row).is_null()),
        Expr::Under { sid, patterns, whole } => match eval(sid, row) {
            Value::Sid(sid) => Value::Bool(patterns.iter().any(|pattern| {
                pattern.matches(sid.codes()) && (!whole || pattern.levels.len() == sid.levels())
            })),
            _ => Value::Null,
        },
        Expr::Order { sid, comparison, bound } => match eval(sid, row) {
            Value::Sid(sid) => {
                let levels = sid.levels().min(bound.levels());
                Value::Bool(comparison.holds(sid.codes()[..levels].cmp(bound.codes())))
            }
            _ => Value::Null,
        },
        Expr::Prefix(sid, levels) => match eval(sid, row) {
            Value::Sid(sid) => Value::Sid(sid.prefix(*levels)),
            _ => Value::Null,
        },
        Expr::Call(function, args) => {
            let args: Vec<Value> = args.iter().map(|arg| eval(arg, row)).collect();
            (function.eval)(&args)
        }
    }
}

/// Whether a row satisfies a predicate: it must be true, not merely unknown.
pub(crate) fn holds(filter: Option<&Expr>, row: &Row) -> bool {
    filter.is_none_or(|filter| eval(filter, row) == Value::Bool(true))
}

fn truth(expr: &Expr, row: &Row) -> Option<bool> {
    match eval(expr, row) {
        Value::Bool(bool) => Some(bool),
        _ => None,
    }
}

fn and(left: Option<bool>, right: impl FnOnce() -> Option<bool>) -> Value {
    if left == Some(false) {
        return Value::Bool(false);
    }
    match (left, right()) {
        (_, Some(false)) => Value::Bool(false),
        (Some(true), Some(true)) => Value::Bool(true),
        _ => Value::Null,
    }
}

fn or(left: Option<bool>, right: impl FnOnce() -> Option<bool>) -> Value {
    if left == Some(true) {
        return Value::Bool(true);
    }
    match (left, right()) {
        (_, Some(true)) => Value::Bool(true),
        (Some(false), Some(false)) => Value::Bool(false),
        _ => Value::Null,
    }
}

fn compared(comparison: Comparison, left: &Value, right: &Value) -> Value {
    match ordering(left, right) {
        Some(ordering) => Value::Bool(comparison.holds(ordering)),
        None => Value::Null,
    }
}

/// How two values of one type compare; nothing for nulls and for values that have no order between them.
fn ordering(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(l), Value::Int(r)) => Some(l.cmp(r)),
        (Value::Text(l), Value::Text(r)) => Some(l.cmp(r)),
        (Value::Bool(l), Value::Bool(r)) => Some(l.cmp(r)),
        (Value::Sid(l), Value::Sid(r)) => Some(l.cmp(r)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// A total order for ORDER BY, MIN and MAX: nulls last, then by type, then by value.
pub(crate) fn total_order(left: &Value, right: &Value) -> Ordering {
    if let Some(ordering) = ordering(left, right) {
        return ordering;
    }
    match (left, right) {
        (Value::List(l), Value::List(r)) => {
            let pairs = l.iter().zip(r).map(|(l, r)| total_order(l, r));
            pairs.fold(Ordering::Equal, Ordering::then).then(l.len().cmp(&r.len()))
        }
        (Value::Float(l), Value::Float(r)) => l.total_cmp(r),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) | Value::Float(_) => 1,
        Value::Text(_) => 2,
        Value::Sid(_) => 3,
        Value::List(_) => 4,
        Value::Vector(_) => 5,
        Value::Bytes(_) => 6,
        Value::Null => 7,
    }
}

fn one_of(value: &Value, list: &[Expr], row: &Row) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    let mut unknown = false;
    for candidate in list {
        match compared(Comparison::Eq, value, &eval(candidate, row)) {
            Value::Bool(true) => return Value::Bool(true),
            Value::Null => unknown = true,
            _ => {}
        }
    }
    if unknown { Value::Null } else { Value::Bool(false) }
}

fn contains(container: &Value, element: &Value) -> Value {
    let Some(element) = element.as_str() else { return Value::Null };
    let wanted = element.to_lowercase();
    match container {
        Value::Text(text) => Value::Bool(text.to_lowercase().contains(&wanted)),
        Value::List(list) => Value::Bool(
            list.iter().any(|one| one.as_str().is_some_and(|text| text.to_lowercase() == wanted)),
        ),
        _ => Value::Null,
    }
}

/// `LIKE`: `%` any run, `_` any one character, ASCII case ignored as in SQLite.
fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
    let pattern: Vec<char> = pattern.chars().map(|c| c.to_ascii_lowercase()).collect();
    let (mut at, mut want) = (0, 0);
    // Where to go on after a `%` that took too little: linear in practice, quadratic at worst.
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(want) {
            Some('%') => {
                retry = Some((at, want + 1));
                want += 1;
            }
            Some(c) if *c == '_' || *c == text[at] => {
                at += 1;
                want += 1;
            }
            _ => match retry {
                Some((from, after)) => {
                    retry = Some((from + 1, after));
                    at = from + 1;
                    want = after;
                }
                None => return false,
            },
        }
    }
    pattern[want..].iter().all(|c| *c == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns() {
        for (text, pattern, yes) in [
            ("Nike Ball", "nike%", true),
            ("Nike Ball", "%ball", true),
            ("Nike Ball", "%k_ b%", true),
            ("Nike Ball", "nike", false),
            ("", "%", true),
            ("", "_", false),
            ("aab", "%ab", true),
            ("aaa", "a%a%a%a", false),
        ] {
            assert_eq!(like(text, pattern), yes, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn unknown_is_not_true() {
        let null = Box::new(Expr::Const(Value::Null));
        let one = Box::new(Expr::Const(Value::Int(1)));
        let unknown = Expr::Compare(Comparison::Eq, null, one);
        assert!(!holds(Some(&unknown), &vec![]));
        assert!(!holds(Some(&Expr::Not(Box::new(unknown.clone()))), &vec![]));
        let yes = Expr::Const(Value::Bool(true));
        assert!(holds(Some(&Expr::Or(Box::new(unknown), Box::new(yes))), &vec![]));
    }

    #[test]
    fn numbers_compare_across_types() {
        let less = compared(Comparison::Lt, &Value::Int(2), &Value::Float(2.5));
        assert_eq!(less, Value::Bool(true));
        let nan = compared(Comparison::Eq, &Value::Float(f64::NAN), &Value::Float(f64::NAN));
        assert_eq!(nan, Value::Null);
    }
}
