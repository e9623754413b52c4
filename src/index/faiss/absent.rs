//! A build without faiss.

use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::index::{Built, Source};
use crate::progress::{Checkpoint, Progress};

/// Whether this build has faiss.
pub(super) const BUILT: bool = false;

pub(super) fn build(
    _config: &Json,
    _source: &Source<'_>,
    _progress: &Progress,
    _checkpoint: &dyn Checkpoint,
) -> Result<Vec<u8>> {
    Err(none())
}

pub(super) fn open(_config: &Json, _bytes: &[u8]) -> Result<Box<dyn Built>> {
    Err(none())
}

fn none() -> Error {
    Error::input("no-faiss", "this build has no faiss")
        .help("build it with `make faiss`, or with `--features faiss` where cmake and a BLAS are")
}
