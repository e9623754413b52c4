//! Ids and vectors that Python brings for an embedding space.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, make_array};
use arrow_data::ArrayData;
use arrow_pyarrow::FromPyArrow;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sidql::Error;

use crate::error::raise;
use crate::value::class;

/// How many vectors go in at a time: Ctrl-C is looked for in between.
const CHUNK: usize = 1 << 16;

/// Ids of items: texts, or ints that are written as texts.
pub(crate) fn ids(given: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let py = given.py();
    // Series and arrays give Python's own values this way, which is faster than one by one.
    let list = if given.hasattr(intern!(py, "tolist"))? {
        given.call_method0(intern!(py, "tolist"))?
    } else if given.hasattr(intern!(py, "to_pylist"))? {
        given.call_method0(intern!(py, "to_pylist"))?
    } else {
        given.clone()
    };
    let mut ids = Vec::new();
    for (at, id) in list.try_iter()?.enumerate() {
        if at % CHUNK == 0 {
            py.check_signals()?;
        }
        let id = id?;
        ids.push(match id.extract::<String>() {
            Ok(text) => text,
            Err(_) => id.extract::<i64>().map(|int| int.to_string()).map_err(|_| {
                let found = class(&id).unwrap_or_default();
                bad(&format!("an id is a text or an int, not {found}"))
            })?,
        });
    }
    Ok(ids)
}

/// Vectors of one length.
pub(crate) enum Vectors {
    /// As Arrow has them in memory.
    Arrow { values: ArrayRef, dim: usize },
    /// One behind the other.
    Floats { values: Vec<f32>, dim: usize },
}

/// The vectors of whatever Python gives, which must be so many.
pub(crate) fn vectors(given: &Bound<'_, PyAny>, count: usize) -> PyResult<Vectors> {
    let py = given.py();
    let vectors = if given.hasattr(intern!(py, "__arrow_c_array__"))? {
        let data = ArrayData::from_pyarrow_bound(given)?;
        of_arrow(&make_array(data))
            .ok_or_else(|| bad("an array of vectors is a FixedSizeList of float32 without nulls"))?
    } else {
        of_matrix(given)?
    };
    let (Vectors::Arrow { dim, .. } | Vectors::Floats { dim, .. }) = &vectors;
    let found = vectors.floats().len().checked_div(*dim).unwrap_or(0);
    if found != count {
        return Err(bad(&format!("{count} ids and {found} vectors: each id has one")));
    }
    Ok(vectors)
}

fn of_arrow(array: &ArrayRef) -> Option<Vectors> {
    let list: &FixedSizeListArray = array.as_fixed_size_list_opt()?;
    let dim = usize::try_from(list.value_length()).ok()?;
    // A part of an array has its own values only.
    let values = Arc::clone(list.values());
    let whole = values.as_primitive_opt::<Float32Type>()?;
    if list.null_count() > 0 || whole.null_count() > 0 {
        return None;
    }
    Some(Vectors::Arrow { values, dim })
}

/// A matrix of NumPy, or what can be made one. Its bytes are taken a part at a time.
fn of_matrix(given: &Bound<'_, PyAny>) -> PyResult<Vectors> {
    let py = given.py();
    let numpy = py.import(intern!(py, "numpy"))?;
    let matrix = numpy.call_method1(intern!(py, "asarray"), (given, "<f4"))?;
    let Ok((rows, dim)) = matrix.getattr(intern!(py, "shape"))?.extract::<(usize, usize)>() else {
        return Err(bad("vectors are the rows of a matrix: an array of two dimensions"));
    };
    let mut values = Vec::with_capacity(rows * dim);
    for at in (0..rows).step_by(CHUNK) {
        py.check_signals()?;
        let part = pyo3::types::PySlice::new(py, at as isize, (at + CHUNK) as isize, 1);
        let bytes = matrix.get_item(part)?.call_method0(intern!(py, "tobytes"))?;
        let (floats, _) = bytes.cast::<PyBytes>()?.as_bytes().as_chunks();
        values.extend(floats.iter().map(|float| f32::from_le_bytes(*float)));
    }
    Ok(Vectors::Floats { values, dim })
}

impl Vectors {
    fn floats(&self) -> &[f32] {
        match self {
            Vectors::Arrow { values, .. } => values.as_primitive::<Float32Type>().values(),
            Vectors::Floats { values, .. } => values,
        }
    }

    /// Some ids with their vectors at a time.
    pub(crate) fn chunks<'a>(
        &'a self,
        ids: &'a [String],
    ) -> impl Iterator<Item = (&'a [String], &'a [f32])> {
        let (Vectors::Arrow { dim, .. } | Vectors::Floats { dim, .. }) = self;
        ids.chunks(CHUNK).zip(self.floats().chunks(CHUNK * (*dim).max(1)))
    }
}

fn bad(message: &str) -> PyErr {
    let error = Error::input("bad-vector", message)
        .help("give a matrix of NumPy or a FixedSizeList array of Arrow, with as many ids as rows");
    raise(&error, "")
}
