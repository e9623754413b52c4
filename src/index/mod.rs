//! Structures derived from the file and held in memory: the catalogue of a generation, its trie, the vectors of a
//! space, and the kinds of index by which neighbours are found.
//!
//! A kind is a constant record in [`KINDS`]. `flat` and `sid` need nothing but vectors and SIDs; what `CREATE INDEX` and
//! `REBUILD INDEX` make is of the others. A stored index says of which vectors it was built ([`crate::index::vectors`]
//! reads what changed since), and is left aside where it cannot be read: it never keeps a question from its answer.

mod accepted;
mod allowed;
mod catalogue;
mod faiss;
pub(crate) mod flat;
pub(crate) mod principal;
pub(crate) mod product;
pub(crate) mod sid;
pub(crate) mod subspace;
mod trie;
pub(crate) mod vectors;

use serde_json::{Map, Value as Json};
use sidql_storage::ItemNo;

use crate::error::Result;
use crate::options::{Given, Meanings};
use crate::progress::{Checkpoint, Progress};
pub(crate) use accepted::Accepted;
pub(crate) use allowed::Allowed;
pub(crate) use catalogue::Catalogue;
pub use faiss::WITH_FAISS;
pub(crate) use trie::Trie;
pub(crate) use vectors::Vectors;

/// Every kind of vector index.
pub(crate) const KINDS: &[&Kind] = &[&flat::KIND, &sid::KIND, &faiss::KIND];

/// One kind of vector index: a constant record.
pub(crate) struct Kind {
    /// The name typed after USING, and in `WITH (index = …)`.
    pub(crate) name: &'static str,
    /// One sentence: what it is.
    pub(crate) summary: &'static str,
    /// What each option means.
    pub(crate) meanings: fn() -> Meanings,
    /// Checks options and fills in the defaults.
    pub(crate) config: fn(&[Given]) -> Result<Map<String, Json>>,
    /// How an index of the kind is made and read; nothing where the kind needs none.
    pub(crate) made: Option<Made>,
}

/// How the indexes of a kind are made and read.
pub(crate) struct Made {
    /// Whether this build of sidql can.
    pub(crate) available: bool,
    /// Builds an index by a configuration. The checkpoint keeps what took longest.
    pub(crate) build: fn(&Json, &Source<'_>, &Progress, &dyn Checkpoint) -> Result<Vec<u8>>,
    /// Reads a built index.
    pub(crate) open: Open,
}

/// Reads the bytes of an index that was built by a configuration.
type Open = fn(&Json, &[u8]) -> Result<Box<dyn Built>>;

/// What an index is built from.
#[cfg_attr(not(feature = "faiss"), expect(dead_code, reason = "no kind of this build reads it"))]
pub(crate) struct Source<'a> {
    /// The items that have a vector, ascending.
    pub(crate) items: &'a [ItemNo],
    /// Their vectors, of length 1 or 0: row-major, `items × dim`.
    pub(crate) values: &'a [f32],
    /// Components of a vector.
    pub(crate) dim: usize,
    /// Tells these vectors from others.
    pub(crate) stamp: u64,
}

/// How far a built index looks; what is not said is as the index was configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Cells visited.
    pub(crate) nprobe: Option<usize>,
    /// Candidates kept open in a walk through a graph.
    pub(crate) ef_search: Option<usize>,
    /// Candidates that are compared exactly.
    pub(crate) rerank: Option<usize>,
}

/// What a built index finds.
pub(crate) struct Candidates {
    /// Items with their cosines, exact or about so, the nearest first.
    pub(crate) found: Vec<(ItemNo, f32)>,
    /// Whether the cosines are those of the vectors themselves.
    pub(crate) exact: bool,
    /// Vectors that the query was compared with, about.
    pub(crate) scanned: usize,
}

/// A built index in memory.
pub(crate) trait Built: Send + Sync {
    /// The nearest items to a query of length 1: so many, unless the index finds no more. `times` as far as usual is
    /// looked.
    fn nearest(&self, query: &[f32], wanted: usize, look: Look, times: usize)
    -> Result<Candidates>;

    /// The bytes that it takes in memory, about.
    fn bytes(&self) -> u64;
}

impl crate::kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn defaults(&self) -> Result<Map<String, Json>> {
        (self.config)(&[])
    }

    fn meanings(&self) -> Meanings {
        (self.meanings)()
    }
}
