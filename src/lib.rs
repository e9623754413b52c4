//! sidql: an embedded database for Semantic IDs.

mod decode;
mod device;
mod enrich;
mod error;
mod eval;
mod format;
mod index;
mod kind;
mod metric;
mod nn;
mod options;
mod policy;
mod progress;
mod quantize;
mod train;
mod value;

pub use error::{Error, Kind as ErrorKind, Result};
