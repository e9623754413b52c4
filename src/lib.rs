//! sidql: an embedded database for Semantic IDs.

mod device;
mod error;
mod index;
mod kind;
mod nn;
mod options;
mod policy;
mod progress;
mod train;
mod value;

pub use error::{Error, Kind as ErrorKind, Result};
