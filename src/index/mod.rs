//! Structures derived from the file and held in memory: the catalogue of a generation, its trie,
//! neighbours, exact and over the SID tree.

mod catalogue;
pub(crate) mod flat;
pub(crate) mod principal;
pub(crate) mod product;
pub(crate) mod sid;
pub(crate) mod subspace;
mod trie;

pub(crate) use catalogue::Catalogue;
pub(crate) use trie::Trie;
