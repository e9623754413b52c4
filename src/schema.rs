//! Typed metadata: what a field of an item may hold, and how a type is found at import.

use serde_json::Value as Json;
use sidql_storage::{FieldType, FieldValue};

use crate::error::{Error, Result};
use crate::value::Value;

/// The type that a value asks for; `None` for null, which fits everywhere.
pub(crate) fn type_of(value: &Value) -> Result<Option<FieldType>> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(_) => FieldType::Bool,
        Value::Int(_) => FieldType::Int,
        Value::Float(_) => FieldType::Float,
        Value::Text(_) => FieldType::Text,
        Value::List(_) => FieldType::List,
        Value::Bytes(_) => FieldType::Bytes,
        Value::Sid(_) | Value::Vector(_) => {
            let message = format!("a field cannot hold a {}", value.type_name());
            return Err(Error::input("bad-field", message)
                .help("fields are text, int, float, bool, list of text or bytes"));
        }
    }))
}

/// The type that holds values of both: int and float make float, everything else text.
pub(crate) fn widen(one: FieldType, other: FieldType) -> FieldType {
    match (one, other) {
        (a, b) if a == b => a,
        (FieldType::Int, FieldType::Float) | (FieldType::Float, FieldType::Int) => FieldType::Float,
        // One bare text among lists is a list of one: catalogues are sloppy about that.
        (FieldType::List, FieldType::Text) | (FieldType::Text, FieldType::List) => FieldType::List,
        _ => FieldType::Text,
    }
}

/// A value as a field of this type holds it; `None` for null.
///
/// # Errors
/// The value has another type, and no value of this type means the same.
pub(crate) fn coerce(value: &Value, kind: FieldType) -> Result<Option<FieldValue>> {
    Ok(Some(match (kind, value) {
        (_, Value::Null) => return Ok(None),
        (FieldType::Text, Value::Text(text)) => FieldValue::Text(text.clone()),
        (FieldType::Text, Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::List(_)) => {
            FieldValue::Text(value.to_string())
        }
        (FieldType::Int, Value::Int(int)) => FieldValue::Int(*int),
        (FieldType::Float, Value::Int(int)) => FieldValue::Float(*int as f64),
        (FieldType::Float, Value::Float(float)) => FieldValue::Float(*float),
        (FieldType::Bool, Value::Bool(bool)) => FieldValue::Bool(*bool),
        (FieldType::List, Value::List(list)) => FieldValue::List(
            list.iter().filter(|one| !one.is_null()).map(ToString::to_string).collect(),
        ),
        (FieldType::List, Value::Text(text)) => FieldValue::List(vec![text.clone()]),
        (FieldType::Bytes, Value::Bytes(bytes)) => FieldValue::Bytes(bytes.clone()),
        _ => {
            let message =
                format!("expected a {}, found the {} `{value}`", kind.name(), value.type_name());
            return Err(Error::input("type-mismatch", message));
        }
    }))
}

/// A stored field as a value of a query.
pub(crate) fn value_of(field: &FieldValue) -> Value {
    match field {
        FieldValue::Text(text) => Value::Text(text.clone()),
        FieldValue::Int(int) => Value::Int(*int),
        FieldValue::Float(float) => Value::Float(*float),
        FieldValue::Bool(bool) => Value::Bool(*bool),
        FieldValue::List(list) => Value::from(list.clone()),
        FieldValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

/// A JSON value of an imported record. Nested lists become one list without duplicates, in order (category paths
/// are lists of lists); an object is kept as its JSON text.
pub(crate) fn value_of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => number.as_f64().map_or(Value::Null, Value::Float),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) => {
            let mut flat = Vec::new();
            flatten(json, &mut flat);
            Value::from(flat)
        }
        Json::Object(_) => Value::Text(json.to_string()),
    }
}

fn flatten(json: &Json, flat: &mut Vec<String>) {
    match json {
        Json::Null => {}
        Json::Array(list) => list.iter().for_each(|one| flatten(one, flat)),
        other => {
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            if !flat.contains(&text) {
                flat.push(text);
            }
        }
    }
}
