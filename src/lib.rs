//! sidql: an embedded database for Semantic IDs.

mod enrich;
mod error;
mod format;
mod index;
mod kind;
mod nn;
mod options;
mod policy;
mod progress;
mod quantize;
mod value;

pub use error::{Error, Kind as ErrorKind, Result};
