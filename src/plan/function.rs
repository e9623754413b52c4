//! Scalar functions, one constant record each.

use std::ops::RangeInclusive;

use super::expr::Type;
use crate::error::{Error, Result};
use crate::value::Value;

/// A scalar function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// How many arguments it takes.
    pub(crate) arity: RangeInclusive<usize>,
    /// What it takes, in words.
    pub(crate) takes: &'static str,
    /// What it gives.
    pub(crate) gives: Type,
    /// Whether its first argument is a SID, and another one may be, so that one may be typed bare.
    pub(crate) of_sids: bool,
    /// The function. A null argument or one of another type gives null.
    pub(crate) eval: fn(&[Value]) -> Value,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Every scalar function.
pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "lower",
        arity: 1..=1,
        takes: "a text",
        gives: Type::Text,
        of_sids: false,
        eval: lower,
    },
    Function {
        name: "upper",
        arity: 1..=1,
        takes: "a text",
        gives: Type::Text,
        of_sids: false,
        eval: upper,
    },
    Function {
        name: "length",
        arity: 1..=1,
        takes: "a text, a list, a sid or a vector",
        gives: Type::Number,
        of_sids: false,
        eval: length,
    },
    Function {
        name: "round",
        arity: 1..=2,
        takes: "a number and perhaps a number of decimals",
        gives: Type::Number,
        of_sids: false,
        eval: round,
    },
    Function {
        name: "coalesce",
        arity: 1..=16,
        takes: "1 to 16 values and gives the first that is not null",
        gives: Type::Any,
        of_sids: false,
        eval: coalesce,
    },
    Function {
        name: "levels",
        arity: 1..=1,
        takes: "a sid",
        gives: Type::Number,
        of_sids: true,
        eval: levels,
    },
    Function {
        name: "code",
        arity: 2..=2,
        takes: "a sid and the number of a level, counted from 1",
        gives: Type::Number,
        of_sids: true,
        eval: code,
    },
    Function {
        name: "parent",
        arity: 1..=1,
        takes: "a sid",
        gives: Type::Sid,
        of_sids: true,
        eval: parent,
    },
    Function {
        name: "lcp",
        arity: 2..=2,
        takes: "two sids",
        gives: Type::Number,
        of_sids: true,
        eval: lcp,
    },
    UNDER,
];

/// Whether a SID begins as another says.
pub(crate) const UNDER: Function = Function {
    name: "is_under",
    arity: 2..=2,
    takes: "a sid and the prefix or pattern above it",
    gives: Type::Bool,
    of_sids: true,
    eval: is_under,
};

/// Finds a function by its lower-case name.
pub(crate) fn find(name: &str) -> Result<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name).ok_or_else(|| {
        let special = ["sid", "prefix", "embedding", "field", "provenance", "residual", "stale"];
        let known = FUNCTIONS.iter().map(|function| function.name);
        let known = known.chain(special).chain(super::aggregate::NAMES.iter().copied());
        Error::unknown("function", name, known)
    })
}

fn lower(args: &[Value]) -> Value {
    args[0].as_str().map(str::to_lowercase).into()
}

fn upper(args: &[Value]) -> Value {
    args[0].as_str().map(str::to_uppercase).into()
}

fn length(args: &[Value]) -> Value {
    match &args[0] {
        Value::Text(text) => text.chars().count().into(),
        Value::List(list) => list.len().into(),
        Value::Sid(sid) => sid.levels().into(),
        Value::Vector(vector) => vector.len().into(),
        Value::Bytes(bytes) => bytes.len().into(),
        _ => Value::Null,
    }
}

fn round(args: &[Value]) -> Value {
    let decimals = args.get(1).and_then(Value::as_i64).unwrap_or(0).clamp(0, 15) as i32;
    match &args[0] {
        Value::Int(int) => Value::Int(*int),
        Value::Float(float) => {
            let scale = 10f64.powi(decimals);
            Value::Float((float * scale).round() / scale)
        }
        _ => Value::Null,
    }
}

fn coalesce(args: &[Value]) -> Value {
    args.iter().find(|value| !value.is_null()).cloned().unwrap_or(Value::Null)
}

fn levels(args: &[Value]) -> Value {
    if let Value::Sid(sid) = &args[0] { sid.levels().into() } else { Value::Null }
}

fn code(args: &[Value]) -> Value {
    let level = args[1].as_i64().and_then(|level| usize::try_from(level).ok()?.checked_sub(1));
    match (&args[0], level) {
        (Value::Sid(sid), Some(level)) => {
            sid.codes().get(level).map_or(Value::Null, |code| i64::from(*code).into())
        }
        _ => Value::Null,
    }
}

fn parent(args: &[Value]) -> Value {
    match &args[0] {
        Value::Sid(sid) if sid.levels() > 1 => Value::Sid(sid.prefix(sid.levels() - 1)),
        _ => Value::Null,
    }
}

fn lcp(args: &[Value]) -> Value {
    match (&args[0], &args[1]) {
        (Value::Sid(l), Value::Sid(r)) => {
            l.codes().iter().zip(r.codes()).take_while(|(l, r)| l == r).count().into()
        }
        _ => Value::Null,
    }
}

fn is_under(args: &[Value]) -> Value {
    match (&args[0], &args[1]) {
        (Value::Sid(sid), Value::Sid(prefix)) => Value::Bool(sid.starts_with(prefix.codes())),
        _ => Value::Null,
    }
}
