//! Saved state as little-endian arrays, each behind its length.

use crate::error::{Error, Kind, Result};

/// Appends arrays to a byte string.
#[derive(Default)]
pub(crate) struct Writer {
    written: Vec<u8>,
}

/// Reads the arrays back in the same order.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

macro_rules! arrays {
    ($($name:ident: $number:ty),*) => {
        impl Writer {
            $(
                /// Appends an array.
                pub(crate) fn $name(&mut self, numbers: &[$number]) -> &mut Self {
                    self.written.extend((numbers.len() as u64).to_le_bytes());
                    self.written.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                    self
                }
            )*
        }

        impl Reader<'_> {
            $(
                /// The next array.
                pub(crate) fn $name(&mut self) -> Result<Vec<$number>> {
                    let cells = self.cells::<{ size_of::<$number>() }>()?;
                    Ok(cells.iter().map(|cell| <$number>::from_le_bytes(*cell)).collect())
                }
            )*
        }
    };
}

arrays!(u64s: u64, u32s: u32, f32s: f32, bytes: u8);

impl Writer {
    /// What was written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.written
    }
}

impl<'a> Reader<'a> {
    /// A reader of what a `Writer` wrote.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes }
    }

    /// Fails unless everything was read.
    pub(crate) fn finish(self) -> Result<()> {
        if self.left.is_empty() { Ok(()) } else { Err(damaged()) }
    }

    fn cells<const N: usize>(&mut self) -> Result<&'a [[u8; N]]> {
        let (len, rest) = self.left.split_first_chunk().ok_or_else(damaged)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| damaged())?;
        let size = len.checked_mul(N).ok_or_else(damaged)?;
        let (cells, rest) = rest.split_at_checked(size).ok_or_else(damaged)?;
        self.left = rest;
        Ok(cells.as_chunks().0)
    }
}

/// The error for state that no `Writer` of this kind wrote.
pub(crate) fn damaged() -> Error {
    Error::new(Kind::Restore, "damaged-state", "the saved state has the wrong length")
        .help("train the policy again, or restore a backup")
}
