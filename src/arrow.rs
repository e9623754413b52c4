//! Results as Arrow record batches and back, behind the feature `arrow`.
//!
//! | value | column |
//! | --- | --- |
//! | text, SID | `Utf8` |
//! | int | `Int64` |
//! | float, or ints and floats | `Float64` |
//! | bool | `Boolean` |
//! | bytes | `Binary` |
//! | vectors of one length `n` | `FixedSizeList<Float32, n>` |
//! | vectors of several lengths | `List<Float32>` |
//! | list | `List` of the column of its members |
//! | nothing but null | `Null` |
//!
//! Values of several of these kinds in one column become their texts. The other way round every integer type is an
//! int, lists of floats without a null are vectors, dictionaries are what they stand for, and
//! timestamps ints of their unit.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, FixedSizeListArray,
    Float32Array, Float64Array, Int64Array, ListArray, NullArray, RecordBatch, RecordBatchOptions,
    StringArray, types,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};

use crate::error::{Error, Kind, Result};
use crate::value::{Row, Rows, Value};

impl Rows {
    /// The rows as one Arrow record batch; the module `arrow` of the source tells which value becomes which type.
    ///
    /// ```
    /// use sidql::{Database, Rows};
    ///
    /// let db = Database::open_in_memory()?;
    /// db.execute("INSERT INTO items {id: 'b1', title: 'Soccer ball', price: 12.5}", ())?;
    /// let batch = db.query("SELECT id, price FROM items", ())?.to_arrow()?;
    /// assert_eq!((batch.num_rows(), batch.num_columns()), (1, 2));
    ///
    /// let other = Database::open_in_memory()?;
    /// other.insert_arrow("items", &batch)?;
    /// assert_eq!(Rows::from_arrow(&batch)?, other.query("SELECT id, price FROM items", ())?);
    /// # Ok::<(), sidql::Error>(())
    /// ```
    ///
    /// # Errors
    /// The texts, bytes or members of a column are 2 GiB or more.
    pub fn to_arrow(&self) -> Result<RecordBatch> {
        let columns = (0..self.columns.len()).map(|at| {
            let values: Vec<&Value> = self.rows.iter().map(|row| &row[at]).collect();
            column(&Column::of(&values), &values)
                .map_err(|error| error.context(format!("column `{}`", self.columns[at])))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let fields = self.columns.iter().zip(&columns);
        let fields = fields.map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// The rows of an Arrow record batch.
    ///
    /// # Errors
    /// A column has a type that no value has.
    pub fn from_arrow(batch: &RecordBatch) -> Result<Rows> {
        let schema = batch.schema();
        let mut rows = Rows::new(schema.fields().iter().map(|field| field.name()));
        rows.rows =
            (0..batch.num_rows()).map(|_| Row::with_capacity(batch.num_columns())).collect();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let values = values(array)
                .map_err(|error| error.context(format!("column `{}`", field.name())))?;
            for (row, value) in rows.rows.iter_mut().zip(values) {
                row.push(value);
            }
        }
        Ok(rows)
    }
}

impl From<ArrowError> for Error {
    /// Lengths and types are ours to get right.
    fn from(error: ArrowError) -> Self {
        Error::internal(format!("arrow: {error}"))
    }
}

/// A batch of columns whose kinds are known; without rows its schema tells their types.
#[cfg(feature = "parquet")]
pub(crate) fn batch(rows: &Rows, kinds: &[Column], schema: &Arc<Schema>) -> Result<RecordBatch> {
    let columns = kinds.iter().enumerate().map(|(at, kind)| {
        let values: Vec<&Value> = rows.rows.iter().map(|row| &row[at]).collect();
        column(kind, &values)
            .map_err(|error| error.context(format!("column `{}`", rows.columns[at])))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let schema = if schema.fields().is_empty() {
        let fields = rows.columns.iter().zip(&columns);
        let field =
            |(name, array): (&String, &ArrayRef)| Field::new(name, array.data_type().clone(), true);
        Arc::new(Schema::new(fields.map(field).collect::<Vec<_>>()))
    } else {
        Arc::clone(schema)
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// What a column is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    Null,
    Bool,
    Int,
    Float,
    Text,
    Bytes,
    /// Vectors of one length; of several when `None`.
    Vector(Option<usize>),
    List(Box<Column>),
}

#[cfg(feature = "parquet")]
impl Column {
    /// The kind with texts in the place of what nothing is known of.
    pub(crate) fn known(self) -> Column {
        match self {
            Column::Null => Column::Text,
            Column::List(kind) => Column::List(Box::new(kind.known())),
            kind => kind,
        }
    }

    /// Whether a column of this kind holds the values of one of another.
    pub(crate) fn holds(&self, other: &Column) -> bool {
        match (self, other) {
            (Column::List(one), Column::List(other)) => one.holds(other),
            (Column::Text, _) => true,
            (one, other) => one.clone().join(other.clone()) == *one,
        }
    }
}

#[cfg(feature = "parquet")]
impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Column::Null => f.write_str("nothing"),
            Column::Bool => f.write_str("bools"),
            Column::Int => f.write_str("ints"),
            Column::Float => f.write_str("floats"),
            Column::Text => f.write_str("texts"),
            Column::Bytes => f.write_str("bytes"),
            Column::Vector(Some(len)) => write!(f, "vectors of {len} components"),
            Column::Vector(None) => f.write_str("vectors"),
            Column::List(kind) => write!(f, "lists of {kind}"),
        }
    }
}

impl Column {
    pub(crate) fn of(values: &[&Value]) -> Column {
        values.iter().map(|value| Column::of_one(value)).fold(Column::Null, Column::join)
    }

    fn of_one(value: &Value) -> Column {
        match value {
            Value::Null => Column::Null,
            Value::Bool(_) => Column::Bool,
            Value::Int(_) => Column::Int,
            Value::Float(_) => Column::Float,
            Value::Text(_) | Value::Sid(_) => Column::Text,
            Value::Bytes(_) => Column::Bytes,
            // A list of fixed size 0 would not know how long it is.
            Value::Vector(vector) => Column::Vector(Some(vector.len()).filter(|len| *len > 0)),
            Value::List(list) => {
                Column::List(Box::new(Column::of(&list.iter().collect::<Vec<_>>())))
            }
        }
    }

    /// The column that holds the values of both.
    fn join(self, other: Column) -> Column {
        match (self, other) {
            (one, other) if one == other => one,
            (Column::Null, one) | (one, Column::Null) => one,
            (Column::Int | Column::Float, Column::Int | Column::Float) => Column::Float,
            (Column::Vector(_), Column::Vector(_)) => Column::Vector(None),
            (Column::List(one), Column::List(other)) => Column::List(Box::new(one.join(*other))),
            _ => Column::Text,
        }
    }
}

fn column(kind: &Column, values: &[&Value]) -> Result<ArrayRef> {
    Ok(match kind {
        Column::Null => Arc::new(NullArray::new(values.len())),
        Column::Bool => {
            let bools = values.iter().map(|value| match value {
                Value::Bool(bool) => Some(*bool),
                _ => None,
            });
            Arc::new(bools.collect::<BooleanArray>())
        }
        Column::Int => Arc::new(values.iter().map(|value| value.as_i64()).collect::<Int64Array>()),
        Column::Float => {
            Arc::new(values.iter().map(|value| value.as_f64()).collect::<Float64Array>())
        }
        Column::Text => {
            let texts: Vec<Option<String>> =
                values.iter().map(|value| (!value.is_null()).then(|| value.to_string())).collect();
            fits(texts.iter().flatten().map(String::len).sum())?;
            Arc::new(StringArray::from(texts))
        }
        Column::Bytes => {
            let bytes: Vec<Option<&[u8]>> = values
                .iter()
                .map(|value| match value {
                    Value::Bytes(bytes) => Some(bytes.as_slice()),
                    _ => None,
                })
                .collect();
            fits(bytes.iter().flatten().map(|bytes| bytes.len()).sum())?;
            Arc::new(BinaryArray::from_opt_vec(bytes))
        }
        Column::Vector(Some(len)) => vectors(*len, values)?,
        Column::Vector(None) => {
            let vectors = values.iter().map(|value| vector_of(value));
            let lengths = vectors.clone().map(|vector| vector.map_or(0, <[f32]>::len));
            let members = Float32Array::from_iter_values(vectors.flatten().flatten().copied());
            lists(lengths, Arc::new(members), values)?
        }
        Column::List(kind) => {
            let members: Vec<&Value> =
                values.iter().flat_map(|value| list_of(value).unwrap_or_default()).collect();
            let lengths = values.iter().map(|value| list_of(value).map_or(0, <[Value]>::len));
            lists(lengths, column(kind, &members)?, values)?
        }
    })
}

/// Vectors of one length, behind each other in one buffer.
fn vectors(len: usize, values: &[&Value]) -> Result<ArrayRef> {
    let mut components = Vec::with_capacity(len * values.len());
    for value in values {
        match vector_of(value) {
            Some(vector) => components.extend_from_slice(vector),
            None => components.resize(components.len() + len, 0.0),
        }
    }
    let member = Arc::new(Field::new_list_field(DataType::Float32, true));
    let components = Arc::new(Float32Array::from(components));
    Ok(Arc::new(FixedSizeListArray::try_new(member, len as i32, components, present(values))?))
}

fn lists(
    lengths: impl Iterator<Item = usize> + Clone,
    members: ArrayRef,
    values: &[&Value],
) -> Result<ArrayRef> {
    fits(lengths.clone().sum())?;
    let member = Arc::new(Field::new_list_field(members.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(member, offsets, members, present(values))?))
}

/// Which values are there.
fn present(values: &[&Value]) -> Option<NullBuffer> {
    let absent = values.iter().any(|value| value.is_null());
    absent.then(|| values.iter().map(|value| !value.is_null()).collect())
}

/// Refuses what 32-bit offsets cannot reach.
fn fits(length: usize) -> Result<()> {
    if i32::try_from(length).is_ok() {
        return Ok(());
    }
    let message = "too much for one Arrow array: 2 GiB or more";
    Err(Error::new(Kind::Resource, "over-limit", message).help("take fewer rows at a time: LIMIT"))
}

fn vector_of(value: &Value) -> Option<&[f32]> {
    if let Value::Vector(vector) = value { Some(vector) } else { None }
}

fn list_of(value: &Value) -> Option<&[Value]> {
    if let Value::List(list) = value { Some(list) } else { None }
}

/// The values of a column.
fn values(array: &dyn Array) -> Result<Vec<Value>> {
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => array.as_boolean().iter().map(Value::from).collect(),
        DataType::Int8 => numbers::<types::Int8Type, i32>(array),
        DataType::Int16 => numbers::<types::Int16Type, i32>(array),
        DataType::Int32 => numbers::<types::Int32Type, i32>(array),
        DataType::Int64 => numbers::<types::Int64Type, i64>(array),
        DataType::UInt8 => numbers::<types::UInt8Type, u32>(array),
        DataType::UInt16 => numbers::<types::UInt16Type, u32>(array),
        DataType::UInt32 => numbers::<types::UInt32Type, u32>(array),
        DataType::UInt64 => numbers::<types::UInt64Type, u64>(array),
        DataType::Float16 => numbers::<types::Float16Type, f32>(array),
        DataType::Float32 => numbers::<types::Float32Type, f32>(array),
        DataType::Float64 => numbers::<types::Float64Type, f64>(array),
        DataType::Utf8 => array.as_string::<i32>().iter().map(Value::from).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(Value::from).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(Value::from).collect(),
        DataType::Binary => bytes(array.as_binary::<i32>().iter()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().iter()),
        DataType::BinaryView => bytes(array.as_binary_view().iter()),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().iter()),
        DataType::List(_) => members(array.as_list::<i32>().iter())?,
        DataType::LargeList(_) => members(array.as_list::<i64>().iter())?,
        DataType::FixedSizeList(..) => members(array.as_fixed_size_list().iter())?,
        DataType::Dictionary(..) => of_dictionary(array)?,
        // In the unit that they have: sidql has no times of its own.
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => numbers::<types::TimestampSecondType, i64>(array),
            TimeUnit::Millisecond => numbers::<types::TimestampMillisecondType, i64>(array),
            TimeUnit::Microsecond => numbers::<types::TimestampMicrosecondType, i64>(array),
            TimeUnit::Nanosecond => numbers::<types::TimestampNanosecondType, i64>(array),
        },
        other => return Err(foreign(other)),
    })
}

fn foreign(kind: &dyn Display) -> Error {
    Error::input("bad-column", format!("no value has the Arrow type {kind}"))
        .help("cast it to text, int64, float64, boolean, binary or a list of these")
}

/// Numbers by the wider Rust type that a value is made from.
fn numbers<T: ArrowPrimitiveType, N: From<T::Native> + Into<Value>>(
    array: &dyn Array,
) -> Vec<Value> {
    array.as_primitive::<T>().iter().map(|number| Value::from(number.map(N::from))).collect()
}

fn bytes<'a>(all: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<Value> {
    all.map(|bytes| Value::from(bytes.map(<[u8]>::to_vec))).collect()
}

fn members(all: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>> {
    all.map(|list| list.map_or(Ok(Value::Null), |list| member_list(&list))).collect()
}

/// A vector where the members are floats, a list elsewhere.
fn member_list(list: &dyn Array) -> Result<Value> {
    let vector = match list.data_type() {
        _ if list.null_count() > 0 => None,
        DataType::Float32 => Some(list.as_primitive::<types::Float32Type>().values().to_vec()),
        DataType::Float64 => {
            let wide = list.as_primitive::<types::Float64Type>().values();
            Some(wide.iter().map(|x| *x as f32).collect())
        }
        _ => None,
    };
    match vector {
        Some(vector) => Ok(Value::Vector(vector)),
        None => Ok(Value::List(values(list)?)),
    }
}

fn of_dictionary(array: &dyn Array) -> Result<Vec<Value>> {
    let dictionary = array.as_any_dictionary();
    let words = values(dictionary.values())?;
    if words.is_empty() {
        return Ok(vec![Value::Null; array.len()]);
    }
    let keys = dictionary.normalized_keys();
    let word = |(at, key): (usize, usize)| {
        if dictionary.keys().is_null(at) { Value::Null } else { words[key].clone() }
    };
    Ok(keys.into_iter().enumerate().map(word).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use arrow_array::{Date32Array, DictionaryArray, Int8Array, LargeStringArray};
    use proptest::prelude::*;

    fn one_column(values: Vec<Value>) -> Rows {
        let mut rows = Rows::new(["x"]);
        rows.rows = values.into_iter().map(|value| vec![value]).collect();
        rows
    }

    fn type_of(values: Vec<Value>) -> DataType {
        one_column(values).to_arrow().unwrap().column(0).data_type().clone()
    }

    fn list(member: DataType) -> DataType {
        DataType::new_list(member, true)
    }

    #[test]
    fn a_column_has_the_type_of_its_values() {
        let vector = |len: usize| Value::Vector(vec![0.5; len]);
        assert_eq!(type_of(vec![Value::Null, Value::Null]), DataType::Null);
        assert_eq!(type_of(vec![1.into(), Value::Null, 2.5.into()]), DataType::Float64);
        assert_eq!(type_of(vec![1.into(), true.into()]), DataType::Utf8);
        assert_eq!(type_of(vec![Sid::new(&[1, 2]).unwrap().into()]), DataType::Utf8);
        assert_eq!(
            type_of(vec![vector(3), Value::Null]),
            DataType::new_fixed_size_list(DataType::Float32, 3, true)
        );
        assert_eq!(type_of(vec![vector(3), vector(2)]), list(DataType::Float32));
        assert_eq!(type_of(vec![vector(0)]), list(DataType::Float32));
        let nested = Value::List(vec![Value::List(vec![1.into()]), Value::List(vec![])]);
        assert_eq!(type_of(vec![nested]), list(list(DataType::Int64)));
    }

    use crate::value::Sid;

    #[test]
    fn values_of_several_kinds_become_texts() {
        let batch = one_column(vec![1.into(), true.into(), Value::Null]).to_arrow().unwrap();
        let texts: Vec<Option<&str>> = batch.column(0).as_string::<i32>().iter().collect();
        assert_eq!(texts, [Some("1"), Some("true"), None]);
    }

    #[test]
    fn foreign_types_are_read_or_refused() {
        let read = |array: ArrayRef| {
            let batch = RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap();
            Rows::from_arrow(&batch).map(|rows| rows.rows.into_iter().flatten().collect::<Vec<_>>())
        };
        let narrow = read(Arc::new(Int8Array::from(vec![Some(-3), None]))).unwrap();
        assert_eq!(narrow, [Value::Int(-3), Value::Null]);
        assert_eq!(read(Arc::new(LargeStringArray::from(vec!["a"]))).unwrap(), ["a".into()]);
        let words: DictionaryArray<types::Int32Type> =
            vec![Some("red"), None, Some("red")].into_iter().collect();
        assert_eq!(read(Arc::new(words)).unwrap(), ["red".into(), Value::Null, "red".into()]);
        let none: DictionaryArray<types::Int32Type> = vec![None::<&str>; 2].into_iter().collect();
        assert_eq!(read(Arc::new(none)).unwrap(), [Value::Null, Value::Null]);
        let error = read(Arc::new(Date32Array::from(vec![1]))).unwrap_err();
        assert_eq!(error.code(), "bad-column");
        assert!(error.message().starts_with("column `x`: "), "{error}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::from),
            prop::collection::vec(-1f32..1.0, 0..4).prop_map(Value::from),
            prop::collection::vec(".{0,4}", 1..4).prop_map(Value::from),
        ]
    }

    proptest! {
        #[test]
        fn a_column_of_one_kind_comes_back_as_it_went(
            value in any_value(),
            present in prop::collection::vec(any::<bool>(), 0..6),
        ) {
            let one = |there: bool| if there { value.clone() } else { Value::Null };
            let rows = one_column(present.into_iter().map(one).collect());
            prop_assert_eq!(Rows::from_arrow(&rows.to_arrow().unwrap()).unwrap(), rows);
        }

        #[test]
        fn whatever_is_in_a_column_has_an_array(values in prop::collection::vec(any_value(), 0..6)) {
            let batch = one_column(values.clone()).to_arrow().unwrap();
            prop_assert_eq!(batch.num_rows(), values.len());
            let nulls: Vec<bool> = Rows::from_arrow(&batch).unwrap().rows.iter().map(|row| row[0].is_null()).collect();
            prop_assert_eq!(nulls, values.iter().map(Value::is_null).collect::<Vec<_>>());
        }
    }
}
