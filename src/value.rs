//! What queries take and return: values, rows, results.

use std::fmt;

use crate::error::{Error, Result};

pub use sidql_storage::Sid;

use crate::count::counted;

/// One value of a row or a parameter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Absent.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// Text.
    Text(String),
    /// A list, as a rule of text.
    List(Vec<Value>),
    /// A Semantic ID or a prefix of one.
    Sid(Sid),
    /// An embedding.
    Vector(Vec<f32>),
    /// Bytes, for example an image.
    Bytes(Vec<u8>),
}

/// One row of a result, in the order of its columns.
pub type Row = Vec<Value>;

/// A result: named columns and rows. Iterate over it for the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The names of the columns, in order.
    pub columns: Vec<String>,
    /// The rows; each has as many values as there are columns.
    pub rows: Vec<Row>,
    /// What is to be known of how the rows were found.
    pub notes: Vec<Note>,
}

/// How rows were found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// What NEAR did.
    Near {
        /// Rows that LIMIT and OFFSET ask for.
        requested: usize,
        /// Rows that were found: fewer where fewer qualify.
        returned: usize,
        /// Vectors that were compared.
        scanned: usize,
        /// By what: `flat`, `sid` or `faiss`.
        mode: &'static str,
        /// Why so.
        why: String,
    },
}

impl Note {
    /// Whether fewer rows came than were asked for.
    pub fn is_short(&self) -> bool {
        let Note::Near { requested, returned, .. } = self;
        returned < requested
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Note::Near { requested, returned, scanned, mode, why } = self;
        write!(f, "near: {requested} requested, {returned} returned, ")?;
        write!(f, "{} compared by {mode}: {why}", counted(*scanned, "vector"))
    }
}

impl Rows {
    /// An empty result with these columns.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Rows { columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// Appends a row.
    pub fn push(&mut self, row: Row) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The value of the named column in the given row.
    pub fn get(&self, row: usize, column: &str) -> Option<&Value> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.rows.get(row)?.get(at)
    }
}

impl Rows {
    /// The rows with the names of their columns.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RowRef<'_>> {
        self.rows.iter().map(|row| RowRef::new(&self.columns, row))
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = RowRef<'a>;
    type IntoIter = Box<dyn ExactSizeIterator<Item = RowRef<'a>> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// A row with the names of its columns.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'a> RowRef<'a> {
    pub(crate) fn new(columns: &'a [String], values: &'a [Value]) -> Self {
        RowRef { columns, values }
    }

    /// The names of the columns.
    pub fn columns(&self) -> &'a [String] {
        self.columns
    }

    /// The values in the order of the columns.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// The value of a column as a Rust type; `Option<T>` where it may be null.
    ///
    /// # Errors
    /// There is no such column, or its value is of another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T> {
        let Some(at) = self.columns.iter().position(|name| name == column) else {
            let known = self.columns.iter().map(String::as_str);
            return Err(Error::unknown("column", column, known));
        };
        let value = &self.values[at];
        T::from_value(value).ok_or_else(|| {
            let (found, wanted) = (value.type_name(), T::NAME);
            let error = Error::input("wrong-type", format!("`{column}` is {found}, not {wanted}"));
            if value.is_null() { error.help("ask for an Option") } else { error }
        })
    }
}

/// What a [`Value`] can be read as, by [`RowRef::get`].
pub trait FromValue: Sized {
    /// What it is called in errors.
    const NAME: &'static str;

    /// The value as this type; none where it is another one.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! read_as {
    ($($type:ty, $name:literal => |$value:ident| $read:expr;)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = $name;

            fn from_value($value: &Value) -> Option<Self> {
                $read
            }
        }
    )*};
}

read_as! {
    bool, "bool" => |value| if let Value::Bool(truth) = value { Some(*truth) } else { None };
    i64, "int" => |value| value.as_i64();
    u64, "an int that is not negative" => |value| value.as_i64().and_then(|int| int.try_into().ok());
    f64, "a number" => |value| value.as_f64();
    String, "text" => |value| value.as_str().map(str::to_owned);
    Sid, "sid" => |value| if let Value::Sid(sid) = value { Some(sid.clone()) } else { None };
    Vec<f32>, "vector" => |value| if let Value::Vector(all) = value { Some(all.clone()) } else { None };
    Vec<u8>, "bytes" => |value| if let Value::Bytes(all) = value { Some(all.clone()) } else { None };
    Vec<String>, "a list of texts" => |value| match value {
        Value::List(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    Value, "a value" => |value| Some(value.clone());
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_value(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = std::vec::IntoIter<Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl Value {
    /// The name of the value's type, as errors and `DESCRIBE` show it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "text",
            Value::List(_) => "list",
            Value::Sid(_) => "sid",
            Value::Vector(_) => "vector",
            Value::Bytes(_) => "bytes",
        }
    }

    /// Whether this is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The number, for `Int` and `Float`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(int) => Some(*int as f64),
            Value::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The integer, for `Int`.
    pub fn as_i64(&self) -> Option<i64> {
        if let Value::Int(int) = self { Some(*int) } else { None }
    }

    /// The text, for `Text`.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// How many leading components of a vector are shown to a person.
const VECTOR_SHOWN: usize = 4;

/// The form that a person reads: text bare, lists in brackets, vectors shortened.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Int(int) => write!(f, "{int}"),
            Value::Float(float) => write!(f, "{float}"),
            Value::Text(text) => f.write_str(text),
            Value::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Value::Sid(sid) => write!(f, "{sid}"),
            Value::Vector(vector) => {
                f.write_str("[")?;
                for (at, x) in vector.iter().take(VECTOR_SHOWN).enumerate() {
                    write!(f, "{}{x:.3}", if at == 0 { "" } else { ", " })?;
                }
                if vector.len() > VECTOR_SHOWN {
                    write!(f, ", … {} in all", vector.len())?;
                }
                f.write_str("]")
            }
            Value::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, f32 => Float,
    String => Text, &str => Text, Sid => Sid, Vec<f32> => Vector, &[f32] => Vector, Vec<u8> => Bytes,
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Value::Float(value as f64), Value::Int)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::from(value as u64)
    }
}

impl From<Vec<String>> for Value {
    fn from(list: Vec<String>) -> Self {
        Value::List(list.into_iter().map(Value::Text).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}
