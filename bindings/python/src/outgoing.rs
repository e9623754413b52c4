//! Results for Python: Arrow by the PyCapsule interface, arrays of NumPy.

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Float32Array, Float64Array, Int64Array, RecordBatchIterator};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyList};
use sidql::{Rows, Value};

use crate::error::raise;
use crate::value::{array_over, to_python};

/// The rows as a capsule that holds an Arrow stream of one batch.
pub(crate) fn stream<'py>(py: Python<'py>, rows: &Rows) -> PyResult<Bound<'py, PyCapsule>> {
    let batch = py.detach(|| rows.to_arrow()).map_err(|error| raise(&error, ""))?;
    let schema = batch.schema();
    let reader = RecordBatchIterator::new(vec![Ok(batch)], schema);
    let stream = FFI_ArrowArrayStream::new(Box::new(reader));
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}

/// The columns as arrays of NumPy: numbers and bools as such, nulls among numbers as NaN, vectors as the rows of a
/// matrix, anything else as objects.
pub(crate) fn arrays<'py>(py: Python<'py>, rows: &Rows) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (at, name) in rows.columns.iter().enumerate() {
        let values: Vec<&Value> = rows.rows.iter().map(|row| &row[at]).collect();
        dict.set_item(name, array(py, &values)?)?;
    }
    Ok(dict)
}

fn array<'py>(py: Python<'py>, values: &[&Value]) -> PyResult<Bound<'py, PyAny>> {
    let all = |is: fn(&Value) -> bool| values.iter().all(|value| is(value));
    if values.is_empty() || all(Value::is_null) {
        return objects(py, values);
    }
    if all(|value| matches!(value, Value::Int(_))) {
        let ints: Int64Array = values.iter().map(|value| value.as_i64()).collect();
        return array_over(py, ints.values().inner().as_slice(), "i8");
    }
    if all(|value| matches!(value, Value::Int(_) | Value::Float(_) | Value::Null)) {
        let floats = values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN));
        let floats = Float64Array::from_iter_values(floats);
        return array_over(py, floats.values().inner().as_slice(), "f8");
    }
    if all(|value| matches!(value, Value::Bool(_))) {
        let bools = values.iter().map(|value| u8::from(**value == Value::Bool(true)));
        return array_over(py, &bools.collect::<Vec<u8>>(), "?");
    }
    if let Some((length, components)) = matrix(values) {
        let components = Float32Array::from(components);
        let flat = array_over(py, components.values().inner().as_slice(), "f4")?;
        return flat.call_method1(intern!(py, "reshape"), (values.len(), length));
    }
    objects(py, values)
}

/// The components of vectors of one length, behind each other.
fn matrix(values: &[&Value]) -> Option<(usize, Vec<f32>)> {
    let Value::Vector(first) = values.first()? else { return None };
    let mut components = Vec::with_capacity(first.len() * values.len());
    for value in values {
        match value {
            Value::Vector(vector) if vector.len() == first.len() => components.extend(vector),
            _ => return None,
        }
    }
    Some((first.len(), components))
}

fn objects<'py>(py: Python<'py>, values: &[&Value]) -> PyResult<Bound<'py, PyAny>> {
    let members = values.iter().map(|value| to_python(py, value)).collect::<PyResult<Vec<_>>>()?;
    let numpy = py.import(intern!(py, "numpy"))?;
    let object = py.get_type::<PyAny>();
    numpy.call_method1(intern!(py, "fromiter"), (PyList::new(py, members)?, object, values.len()))
}
