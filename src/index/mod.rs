//! Structures derived from the file and held in memory: the catalogue of a generation and its trie.

mod catalogue;
pub(crate) mod flat;
pub(crate) mod product;

pub(crate) use catalogue::Catalogue;
pub(crate) use trie::Trie;
