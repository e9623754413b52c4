//! Reading packed payloads: little-endian numbers one after another, never beyond the end.

/// What remains to be read of a payload.
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

/// The payload ended early or holds what cannot be.
pub(crate) type Damage = String;

impl<'b> Reader<'b> {
    /// A reader at the start of a payload.
    pub(crate) fn new(payload: &'b [u8]) -> Self {
        Reader { rest: payload }
    }

    /// The next bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'b [u8], Damage> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or_else(|| format!("{bytes} bytes expected, {} left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `count` cells of `width` bytes.
    pub(crate) fn cells(&mut self, count: usize, width: usize) -> Result<&'b [u8], Damage> {
        let bytes = count.checked_mul(width).ok_or("a count overflows")?;
        self.take(bytes)
    }

    /// The next byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Damage> {
        Ok(self.take(1)?[0])
    }

    /// The next 16-bit number.
    pub(crate) fn u16(&mut self) -> Result<u16, Damage> {
        Ok(u16_at(self.take(2)?, 0))
    }

    /// The next 32-bit number.
    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32_at(self.take(4)?, 0))
    }

    /// Fails unless everything was read.
    pub(crate) fn end(self) -> Result<(), Damage> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes too many")),
        }
    }
}

/// The number in cell `at` of a column that `cells` gave.
pub(crate) fn u16_at(column: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(cell(column, at))
}

/// The number in cell `at` of a column that `cells` gave.
pub(crate) fn u32_at(column: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(cell(column, at))
}

/// The number in cell `at` of a column that `cells` gave.
pub(crate) fn u64_at(column: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(cell(column, at))
}

fn cell<const N: usize>(column: &[u8], at: usize) -> [u8; N] {
    let mut cell = [0; N];
    cell.copy_from_slice(&column[at * N..(at + 1) * N]);
    cell
}
