//! Values known when a statement runs: literals, parameters, options.

use serde_json::Value as Json;
use sidql_grammar::ast::{Operand, OptionValue, WithOption};
use sidql_grammar::span::{Span, Spanned};

use super::bind::Catalog;
use super::expr::literal_value;
use crate::error::{Error, Result};
use crate::options::Given;
use crate::value::Value;

/// The value of an operand.
pub(crate) fn value(catalog: &Catalog<'_>, operand: &Operand, span: &Span) -> Result<Value> {
    match operand {
        Operand::Literal(literal) => literal_value(literal, span),
        Operand::Param(param) => {
            catalog.params.get(param).cloned().map_err(|error| error.at(span.clone()))
        }
    }
}

/// The text of an operand.
pub(crate) fn text(catalog: &Catalog<'_>, operand: &Operand, span: &Span) -> Result<String> {
    match value(catalog, operand, span)? {
        Value::Text(text) => Ok(text),
        // Numbers are what ids often look like.
        Value::Int(int) => Ok(int.to_string()),
        other => {
            let message = format!("expected a text, found a {}", other.type_name());
            Err(Error::input("type-mismatch", message).at(span.clone()))
        }
    }
}

/// A count: LIMIT, OFFSET, the number of recommendations.
pub(crate) fn count(
    catalog: &Catalog<'_>,
    operand: &Spanned<Operand>,
    what: &str,
) -> Result<usize> {
    let span = operand.span.clone();
    match value(catalog, &operand.node, &span)? {
        Value::Int(int) if int >= 0 => Ok(int as usize),
        other => {
            let message = format!("{what} takes a whole number from 0, found `{other}`");
            Err(Error::input("bad-count", message).at(span))
        }
    }
}

/// The value of a field in INSERT or UPDATE.
pub(crate) fn field(catalog: &Catalog<'_>, given: &Spanned<OptionValue>) -> Result<Value> {
    match &given.node {
        OptionValue::Literal(literal) => literal_value(literal, &given.span),
        OptionValue::Param(param) => {
            catalog.params.get(param).cloned().map_err(|error| error.at(given.span.clone()))
        }
        OptionValue::List(list) => {
            Ok(Value::List(list.iter().map(|one| field(catalog, one)).collect::<Result<_>>()?))
        }
    }
}

/// The options of `WITH (…)`.
pub(crate) fn options(catalog: &Catalog<'_>, with: &[WithOption]) -> Result<Vec<Given>> {
    with.iter()
        .map(|option| {
            let value = field(catalog, &option.value)?;
            Ok(Given {
                name: option.name.node.to_lowercase(),
                value: to_json(&value),
                span: option.name.span.start..option.value.span.end,
            })
        })
        .collect()
}

/// Takes the named option out of a list, for statements that add one to those of a kind.
pub(crate) fn take(given: &mut Vec<Given>, name: &str) -> Option<Given> {
    let at = given.iter().position(|option| option.name == name)?;
    Some(given.remove(at))
}

/// A value as JSON, for options and for `metrics` columns.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Int(int) => Json::from(*int),
        Value::Float(float) => Json::from(*float),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(list) => Json::Array(list.iter().map(to_json).collect()),
        Value::Vector(vector) => Json::Array(vector.iter().map(|x| Json::from(*x)).collect()),
        Value::Sid(_) | Value::Bytes(_) => Json::from(value.to_string()),
    }
}
