//! A build without Parquet.

use serde_json::Value as Json;

use crate::error::{Error, Kind as ErrorKind, Result};
use crate::format::sink::Sink;
use crate::format::source::Source;
use crate::format::{Reader, Writer};

pub(super) fn open(_source: Source, _options: &Json) -> Result<Box<dyn Reader>> {
    Err(none())
}

pub(super) fn create(_sink: Sink, _columns: &[String], _options: &Json) -> Result<Box<dyn Writer>> {
    Err(none())
}

fn none() -> Error {
    Error::new(ErrorKind::Install, "no-parquet", "this build has no Parquet")
        .help("build it with `--features parquet`, or take jsonl or csv")
}
