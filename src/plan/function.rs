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
    Function { name: "lower", arity: 1..=1, takes: "a text", gives: Type::Text, eval: lower },
    Function { name: "upper", arity: 1..=1, takes: "a text", gives: Type::Text, eval: upper },
    Function {
        name: "length",
        arity: 1..=1,
        takes: "a text, a list, a sid or a vector",
        gives: Type::Number,
        eval: length,
    },
    Function {
        name: "round",
        arity: 1..=2,
        takes: "a number and perhaps a number of decimals",
        gives: Type::Number,
        eval: round,
    },
    Function {
        name: "coalesce",
        arity: 1..=16,
        takes: "1 to 16 values and gives the first that is not null",
        gives: Type::Any,
        eval: coalesce,
    },
];

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
