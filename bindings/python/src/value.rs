//! Values of Python and of the engine.

use arrow_array::Float32Array;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};
use sidql::{Error, Params, Value};

use crate::error::raise;

/// The parameters of a statement: a list or tuple by position, a dict by name.
pub(crate) fn params(given: Option<&Bound<'_, PyAny>>) -> PyResult<Params> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(Params::default()) };
    if let Ok(named) = given.cast::<PyDict>() {
        return named.iter().try_fold(Params::default(), |params, (name, value)| {
            Ok(params.set(name.extract::<String>()?, value_of(&value)?))
        });
    }
    if !given.is_instance_of::<PyList>() && !given.is_instance_of::<PyTuple>() {
        let message = format!("parameters are a list, a tuple or a dict, not {}", class(given)?);
        let error = Error::input("bad-parameters", message).help("one parameter is `(value,)`");
        return Err(raise(&error, ""));
    }
    let values = given.try_iter()?.map(|value| value_of(&value?));
    Ok(values.collect::<PyResult<Vec<_>>>()?.into())
}

/// The value of a Python object.
pub(crate) fn value_of(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    if given.is_none() {
        return Ok(Value::Null);
    }
    // Before the ints, of which Python's bools are some.
    if let Ok(bool) = given.cast::<PyBool>() {
        return Ok(Value::Bool(bool.is_true()));
    }
    if given.is_instance_of::<PyInt>() {
        return given.extract::<i64>().map(Value::Int).map_err(|_| {
            raise(&Error::input("bad-value", format!("{given} is no 64-bit integer")), "")
        });
    }
    if let Ok(float) = given.cast::<PyFloat>() {
        return Ok(Value::Float(float.value()));
    }
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(Value::Text(text.to_str()?.to_owned()));
    }
    if let Ok(bytes) = given.cast::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
    }
    if let Ok(bytes) = given.cast::<PyByteArray>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if given.is_instance_of::<PyMemoryView>() {
        return value_of(&given.call_method0(intern!(given.py(), "tobytes"))?);
    }
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        let values = given.try_iter()?.map(|value| value_of(&value?));
        return Ok(list_of(values.collect::<PyResult<_>>()?));
    }
    if given.hasattr(intern!(given.py(), "dtype"))? {
        return of_numpy(given);
    }
    let error = Error::input("bad-value", format!("no value is made of {}", class(given)?))
        .help("None, bool, int, float, str, bytes, lists and NumPy arrays are values");
    Err(raise(&error, ""))
}

/// Floats are a vector, as they are in Arrow and NumPy; anything else is a list.
fn list_of(values: Vec<Value>) -> Value {
    let floats = values.iter().map(|value| match value {
        Value::Float(float) => Some(*float as f32),
        _ => None,
    });
    match floats.collect::<Option<Vec<f32>>>() {
        Some(vector) if !vector.is_empty() => Value::Vector(vector),
        _ => Value::List(values),
    }
}

/// A scalar or an array of NumPy, or what looks like one.
fn of_numpy(given: &Bound<'_, PyAny>) -> PyResult<Value> {
    let py = given.py();
    let dimensions: usize = given.getattr(intern!(py, "ndim"))?.extract()?;
    let kind: String =
        given.getattr(intern!(py, "dtype"))?.getattr(intern!(py, "kind"))?.extract()?;
    if dimensions == 1 && kind == "f" {
        let floats = given.call_method1(intern!(py, "astype"), ("<f4",))?;
        let bytes = floats.call_method0(intern!(py, "tobytes"))?;
        let bytes = bytes.cast::<PyBytes>()?.as_bytes();
        let (floats, _) = bytes.as_chunks();
        return Ok(Value::Vector(floats.iter().map(|float| f32::from_le_bytes(*float)).collect()));
    }
    // Python's own scalars and lists.
    let plain = given.call_method0(intern!(py, "tolist"))?;
    if plain.hasattr(intern!(py, "dtype"))? {
        let error = Error::input("bad-value", format!("no value is made of {}", class(given)?));
        return Err(raise(&error, ""));
    }
    value_of(&plain)
}

/// A value as Python has it: SIDs are texts, vectors are arrays of float32.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(bool) => PyBool::new(py, *bool).to_owned().into_any(),
        Value::Int(int) => int.into_pyobject(py)?.into_any(),
        Value::Float(float) => PyFloat::new(py, *float).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Vector(vector) => floats(py, vector.clone())?,
        Value::List(list) => {
            let members =
                list.iter().map(|one| to_python(py, one)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, members)?.into_any()
        }
        Value::Null => py.None().into_bound(py),
        other => PyString::new(py, &other.to_string()).into_any(),
    })
}

/// An array of float32 that Python may write to.
pub(crate) fn floats(py: Python<'_>, vector: Vec<f32>) -> PyResult<Bound<'_, PyAny>> {
    let array = Float32Array::from(vector);
    array_over(py, array.values().inner().as_slice(), "f4")
}

/// An array of numbers as they lie in memory.
pub(crate) fn array_over<'py>(
    py: Python<'py>,
    bytes: &[u8],
    dtype: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let numpy = py.import(intern!(py, "numpy"))?;
    numpy.call_method1(intern!(py, "frombuffer"), (PyByteArray::new(py, bytes), dtype))
}

/// The name of an object's class, for errors.
pub(crate) fn class(object: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(object.get_type().fully_qualified_name()?.to_string())
}
