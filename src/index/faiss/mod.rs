//! `faiss`: any index that a factory string of faiss describes (Douze and others 2024), as a blob in the file.
//!
//! Built in where the cargo feature `faiss` is (`enabled.rs`); elsewhere its indexes are left aside (`absent.rs`).

#[cfg(not(feature = "faiss"))]
mod absent;
#[cfg(feature = "faiss")]
mod enabled;

#[cfg(not(feature = "faiss"))]
use absent as inside;
use documented::DocumentedFieldsOpt;
#[cfg(feature = "faiss")]
use enabled as inside;
use serde::{Deserialize, Serialize};

use super::{Kind, Made};
use crate::error::{Error, Result};
use crate::options::{self, Given};

/// Whether this build has faiss.
pub const WITH_FAISS: bool = inside::BUILT;

/// The record of the registry.
pub(super) const KIND: Kind = Kind {
    name: "faiss",
    summary: "approximate: an index of the faiss library, described by its factory string",
    meanings: options::meanings::<Config>,
    config: |given: &[Given]| options::checked(given, check),
    made: Some(Made { available: WITH_FAISS, build: inside::build, open: inside::open }),
};

/// The options of CREATE INDEX.
#[derive(Clone, Debug, DocumentedFieldsOpt, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// What faiss shall build, for example 'HNSW32' or 'IVF1024,Flat'.
    factory: String,
    /// Cells of IVF that are visited; by itself 8.
    nprobe: Option<usize>,
    /// Candidates that HNSW keeps open; by itself 64.
    ef_search: Option<usize>,
    /// Candidates that are compared exactly where codes are compressed; by itself ten for each row wanted, at least
    /// 200.
    rerank: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Config { factory: "HNSW32".to_owned(), nprobe: None, ef_search: None, rerank: None }
    }
}

fn check(config: &Config) -> Result<()> {
    if config.factory.trim().is_empty() || config.factory.contains('\0') {
        return Err(Error::input("bad-option", "option `factory` is a factory string of faiss")
            .help("'HNSW32', 'IVF1024,Flat' or 'OPQ48,IVF1024,PQ48', for example"));
    }
    for (name, given) in
        [("nprobe", config.nprobe), ("ef_search", config.ef_search), ("rerank", config.rerank)]
    {
        if given == Some(0) {
            return Err(Error::input("bad-option", format!("option `{name}` is at least 1")));
        }
    }
    Ok(())
}
