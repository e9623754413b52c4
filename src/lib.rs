//! sidql: an embedded database for Semantic IDs.

mod device;
mod error;
mod eval;
mod index;
mod kind;
mod metric;
mod nn;
mod options;
mod policy;
mod progress;
mod train;
mod value;

pub use error::{Error, Kind as ErrorKind, Result};
