//! Structures derived from the file and held in memory: the catalogue of a generation, its trie, exact
//! neighbours.

mod catalogue;
pub(crate) mod flat;
pub(crate) mod principal;
pub(crate) mod product;
pub(crate) mod subspace;
mod trie;

pub(crate) use catalogue::Catalogue;
pub(crate) use trie::Trie;
