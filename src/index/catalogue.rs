//! The items that a policy knows, as dense positions with their codes.

use std::collections::HashMap;

use sidql_storage::ItemNo;

/// The items of a catalogue, numbered densely, with the codes of one generation.
///
/// A *position* is an index into `items`; histories, scores and tries speak of positions. `codes` is empty
/// where a policy needs no codebook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// The item numbers, ascending.
    pub(crate) items: Vec<ItemNo>,
    /// Codes per level; the last may be the suffix level. Empty without a codebook.
    pub(crate) sizes: Vec<usize>,
    /// Row-major, `items × levels`.
    pub(crate) codes: Vec<u16>,
    positions: HashMap<ItemNo, u32>,
}

impl Catalogue {
    /// A catalogue of items (ascending) and their codes, row by row.
    pub(crate) fn new(items: Vec<ItemNo>, sizes: Vec<usize>, codes: Vec<u16>) -> Self {
        debug_assert_eq!(codes.len(), items.len() * sizes.len());
        let positions = items.iter().enumerate().map(|(at, item)| (*item, at as u32)).collect();
        Catalogue { items, sizes, codes, positions }
    }

    /// The number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The number of levels; 0 without a codebook.
    pub(crate) fn levels(&self) -> usize {
        self.sizes.len()
    }

    /// The codes of the item at a position.
    pub(crate) fn codes_of(&self, position: u32) -> &[u16] {
        let at = position as usize * self.levels();
        &self.codes[at..at + self.levels()]
    }

    /// The position of an item.
    pub(crate) fn position(&self, item: ItemNo) -> Option<u32> {
        self.positions.get(&item).copied()
    }
}
