//! The items that a predicate accepts.

use sidql_storage::ItemNo;

/// The items that a predicate accepts: a bit for each number up to the greatest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    words: Vec<u64>,
    count: usize,
}

impl Accepted {
    /// These items, in any order.
    pub(crate) fn of(items: impl IntoIterator<Item = ItemNo>) -> Self {
        let mut words: Vec<u64> = Vec::new();
        for item in items {
            let at = (item / 64) as usize;
            if at >= words.len() {
                words.resize(at + 1, 0);
            }
            words[at] |= 1 << (item % 64);
        }
        let count = words.iter().map(|word| word.count_ones() as usize).sum();
        Accepted { words, count }
    }

    /// Whether an item is accepted.
    pub(crate) fn contains(&self, item: ItemNo) -> bool {
        self.words.get((item / 64) as usize).is_some_and(|word| word >> (item % 64) & 1 == 1)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// All of them, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ItemNo> + '_ {
        self.words.iter().zip((0..).step_by(64)).flat_map(|(word, first)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let at = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(first + ItemNo::from(at))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(items in prop::collection::btree_set(0_u64..300, 0..40)) {
            let accepted = Accepted::of(items.iter().rev().copied());
            prop_assert_eq!(accepted.count(), items.len());
            prop_assert!(accepted.iter().eq(items.iter().copied()));
            prop_assert!((0..400).all(|item| accepted.contains(item) == items.contains(&item)));
        }
    }
}
