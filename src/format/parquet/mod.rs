//! Parquet: columns in groups of rows, as Arrow types them (`src/arrow.rs` tells which value is which type).
//!
//! Built in where the cargo feature `parquet` is (`enabled.rs`); elsewhere files of it are refused (`absent.rs`).

#[cfg(not(feature = "parquet"))]
mod absent;
#[cfg(feature = "parquet")]
mod enabled;

#[cfg(not(feature = "parquet"))]
use absent as inside;
#[cfg(feature = "parquet")]
use enabled as inside;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::options::fields_of;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "parquet",
    summary: "Parquet: typed columns in groups of rows",
    extensions: &["parquet"],
    meanings: Vec::new,
    defaults: || fields_of(&Config::default()),
    open: inside::open,
    create: Some(inside::create),
};

/// Parquet has no options: its files say what they hold.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {}
