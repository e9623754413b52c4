//! The items that a policy knows, as dense positions with their codes.

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
}

impl Catalogue {
    /// A catalogue of items (ascending) and their codes, row by row.
    pub(crate) fn new(items: Vec<ItemNo>, sizes: Vec<usize>, codes: Vec<u16>) -> Self {
        debug_assert_eq!(codes.len(), items.len() * sizes.len());
        debug_assert!(items.is_sorted_by(|a, b| a < b));
        Catalogue { items, sizes, codes }
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
    ///
    /// Numbers ascend, so an item stands no farther than its distance from the first one, and just there while
    /// none before it was deleted.
    pub(crate) fn position(&self, item: ItemNo) -> Option<u32> {
        let farthest = item.checked_sub(*self.items.first()?)?;
        let farthest =
            usize::try_from(farthest).map_or(usize::MAX, |at| at.min(self.items.len() - 1));
        if self.items[farthest] == item {
            return Some(farthest as u32);
        }
        self.items[..farthest].binary_search(&item).ok().map(|at| at as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_item_is_at_its_position(
            numbers in prop::collection::btree_set(0_u64..200, 0..60), far: bool,
        ) {
            let mut items: Vec<ItemNo> = numbers.into_iter().collect();
            if far {
                items.push(u64::MAX);
            }
            let catalogue = Catalogue::new(items.clone(), Vec::new(), Vec::new());
            for item in (0..210).chain([u64::MAX - 1, u64::MAX]) {
                let expected = items.iter().position(|other| *other == item);
                prop_assert_eq!(catalogue.position(item), expected.map(|at| at as u32));
            }
        }
    }
}
