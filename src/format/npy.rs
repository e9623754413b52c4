//! NumPy's `.npy`: a matrix of floats, each row a record with the one field `vector`.
//!
//! Read are versions 1 to 3, little-endian floats of 16, 32 and 64 bits, rows one after the other (C order). A row is
//! in memory at a time.

use std::io::{BufRead, Read};

use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value as Json};

use super::source::{Meter, Name, Source};
use super::{Kind, MAX_LINE_BYTES, Position, Reader, Record, options_of};
use crate::error::Result;
use crate::options::fields_of;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "npy",
    summary: "a NumPy matrix of floats, one vector a row; for embeddings, read only",
    extensions: &["npy"],
    meanings: Vec::new,
    defaults: || fields_of(&Config::default()),
    open,
    create: None,
};

/// There are no options.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}

/// What a file of this format begins with.
const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is believed.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The floats of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Float {
    F16,
    F32,
    F64,
}

impl Float {
    fn bytes(self) -> usize {
        match self {
            Float::F16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }

    /// The number in as many bytes as [`Float::bytes`] says.
    fn read(self, bytes: &[u8]) -> f64 {
        match (self, bytes) {
            (Float::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
            (Float::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Float::F64, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => f64::NAN,
        }
    }
}

/// What the header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    float: Float,
    rows: u64,
    dim: usize,
}

fn open(source: Source, options: &Json) -> Result<Box<dyn Reader>> {
    let Config {} = options_of(options)?;
    let Source { name, mut stream, meter } = source;
    let text = header_text(&name, &mut stream)?;
    let header = Header::parse(&text).map_err(|message| name.wrong(1, message))?;
    Ok(Box::new(Matrix { name, stream, meter, header, next: 0 }))
}

/// The header, a Python dictionary as text.
fn header_text(name: &Name, stream: &mut impl BufRead) -> Result<String> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).map(|()| bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => name.wrong(1, "no npy file, or one cut short"),
            _ => name.unread(0, &error),
        })
    };
    let start = take(MAGIC.len() + 2)?;
    if !start.starts_with(MAGIC) {
        return Err(name.wrong(1, "no npy file: it does not begin as numpy.save writes"));
    }
    let length = match start[MAGIC.len()] {
        1 => take(2)?.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        2 | 3 => take(4)?.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        other => return Err(name.wrong(1, format!("version {other} of npy is not known here"))),
    };
    if length > MAX_HEADER_BYTES {
        return Err(name.wrong(1, format!("a header of {length} bytes is too long")));
    }
    Ok(String::from_utf8_lossy(&take(length)?).into_owned())
}

impl Header {
    fn parse(text: &str) -> Result<Header, String> {
        let float = match between(text, "'descr'", "'", "'") {
            Some("<f2") => Float::F16,
            Some("<f4") => Float::F32,
            Some("<f8") => Float::F64,
            other => {
                let found = other.unwrap_or("nothing");
                return Err(format!(
                    "components are floats of 16, 32 or 64 bits, found `{found}`; save it with \
                     .astype('<f4')"
                ));
            }
        };
        match text.split_once("'fortran_order':").map(|(_, rest)| rest.trim_start()) {
            Some(rest) if rest.starts_with("False") => {}
            _ => {
                return Err("the columns lie one after the other; save numpy.ascontiguousarray(…)"
                    .to_owned());
            }
        }
        let shape = between(text, "'shape'", "(", ")").ok_or("the header has no shape")?;
        let sizes: Option<Vec<u64>> = shape
            .split(',')
            .map(str::trim)
            .filter(|size| !size.is_empty())
            .map(|size| size.parse().ok())
            .collect();
        let Some(&[rows, dim]) = sizes.as_deref() else {
            return Err(format!("a matrix of items and components is wanted, found ({shape})"));
        };
        let most = (MAX_LINE_BYTES / float.bytes()) as u64;
        if dim == 0 || dim > most {
            return Err(format!("vectors have 1 to {most} components, found {dim}"));
        }
        Ok(Header { float, rows, dim: dim as usize })
    }
}

/// What stands between two marks behind a key.
fn between<'a>(text: &'a str, key: &str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    let (_, rest) = rest.split_once(open)?;
    rest.split_once(close).map(|(inner, _)| inner)
}

/// The rows of the matrix.
struct Matrix {
    name: Name,
    stream: Box<dyn BufRead + Send>,
    meter: Meter,
    header: Header,
    next: u64,
}

impl Iterator for Matrix {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let Header { float, rows, dim } = self.header;
        if self.next == rows {
            return None;
        }
        self.next += 1;
        let line = self.next;
        let mut bytes = vec![0; dim * float.bytes()];
        if let Err(error) = self.stream.read_exact(&mut bytes) {
            self.next = rows;
            return Some(Err(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    self.name.wrong(line, format!("the file ends before row {line} of {rows}"))
                }
                _ => self.name.unread(line, &error),
            }));
        }
        // JSON has no infinity; what is null is refused by whoever wants numbers.
        let number = |x: f64| Number::from_f64(x).map_or(Json::Null, Json::Number);
        let vector = bytes.chunks_exact(float.bytes()).map(|one| number(float.read(one)));
        let fields = vec![("vector".to_owned(), Json::Array(vector.collect()))];
        Some(Ok(Record { line, fields }))
    }
}

impl Reader for Matrix {
    fn bytes_read(&self) -> Position {
        self.meter.position()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn headers() {
        let text = |descr: &str, fortran: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}   \n")
        };
        let parsed = Header::parse(&text("<f2", "False", "(3, 4)")).unwrap();
        assert_eq!(parsed, Header { float: Float::F16, rows: 3, dim: 4 });
        for (descr, fortran, shape, hint) in [
            ("<i8", "False", "(3, 4)", "found `<i8`"),
            (">f4", "False", "(3, 4)", "found `>f4`"),
            ("<f4", "True", "(3, 4)", "ascontiguousarray"),
            ("<f4", "False", "(3,)", "found (3,)"),
            ("<f4", "False", "(3, 4, 5)", "found (3, 4, 5)"),
            ("<f4", "False", "(3, 0)", "found 0"),
            ("<f4", "False", "(3, 99999999999)", "components"),
        ] {
            let error = Header::parse(&text(descr, fortran, shape)).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
        assert!(Header::parse("").is_err());
    }
}
