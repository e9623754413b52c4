//! A build without CUDA.

use candle_core::Device;

use crate::error::{Error, Result};

/// Whether this build can use NVIDIA cards.
pub const BUILT: bool = false;

/// How many cards there are.
pub(in crate::device) fn cards() -> Result<usize> {
    Err(none())
}

/// A card by number.
pub(in crate::device) fn open(_card: usize) -> Result<Device> {
    Err(none())
}

fn none() -> Error {
    Error::input("no-cuda", "this build runs on the processor alone: it has no CUDA").help(
        "build it with `make cuda`, or with `--features cuda` where a CUDA toolkit is; device = 'cpu' runs here",
    )
}
