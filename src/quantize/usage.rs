//! Codes beside what users do and what the catalogue says of the items.
//!
//! *Behaviour.* Of the pairs of items that follow each other in histories, how many share the first codes? What chance
//! gives is known in closed form: a pair drawn from the items at the front of pairs and from those at the back, each as
//! often as it stands there, so popularity explains nothing of the lift. Pairs of an item with itself count on neither
//! side.
//!
//! *Themes.* The adjusted mutual information between prefixes and the items' categories, and the purity: the share of
//! items whose category is the commonest of their prefix. Purity rises by itself with the number of prefixes; the
//! former does not.
//!
//! *Capacity.* How many prefixes the most used fifth of the items has for itself, and how many the others have.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::agreement::{Contingency, groups};
use crate::error::Result;
use crate::progress::Progress;

/// The share of the items, the most used first, that are the head.
const HEAD: f64 = 0.2;

/// What is known of items beside their vectors; rows are those of the codes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Rows of items that follow each other in a history.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// How often each item stands in histories.
    pub(crate) counts: Vec<u64>,
    /// The name of the field with the categories, and the category of each item.
    pub(crate) themes: Option<(String, Vec<Option<u32>>)>,
}

/// Whether items that follow each other share prefixes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Behaviour {
    /// Pairs of different items that follow each other.
    pub(crate) pairs: u64,
    /// By level, the share of pairs that have the first so many codes in common.
    pub(crate) shared: Vec<f64>,
    /// By level, the share among pairs by chance, of the same popularity.
    pub(crate) chance: Vec<f64>,
}

/// Whether prefixes and categories agree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Themes {
    /// The field with the categories.
    pub(crate) field: String,
    /// Items that have one.
    pub(crate) items: usize,
    /// Different categories.
    pub(crate) categories: usize,
    /// By level, the adjusted mutual information of prefixes and categories; none where chance alone decides.
    pub(crate) information: Vec<Option<f64>>,
    /// By level, the share of items in the commonest category of their prefix.
    pub(crate) purity: Vec<f64>,
}

/// The room that often used items have, and the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Capacity {
    /// The most used fifth of the items.
    pub(crate) head: Part,
    /// The others.
    pub(crate) tail: Part,
}

/// The room of a part of the items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its items.
    pub(crate) items: usize,
    /// Its share of all interactions.
    pub(crate) interactions: f64,
    /// By level, the prefixes that its items have.
    pub(crate) prefixes: Vec<usize>,
    /// By level, the share of all prefixes that are these.
    pub(crate) share: Vec<f64>,
}

impl Usage {
    /// Behaviour, of row-major codes that are `width` wide; none without pairs.
    pub(super) fn behaviour(&self, codes: &[u16], width: usize) -> Option<Behaviour> {
        let (mut front, mut back) = (vec![0u64; self.counts.len()], vec![0u64; self.counts.len()]);
        let mut pairs = 0u64;
        for (left, right) in self.pairs.iter().filter(|(left, right)| left != right) {
            front[*left as usize] += 1;
            back[*right as usize] += 1;
            pairs += 1;
        }
        if pairs == 0 {
            return None;
        }
        // Products of counts, so up to the square of the number of pairs.
        let alike: f64 = front.iter().zip(&back).map(|(f, b)| *f as f64 * *b as f64).sum();
        let all = pairs as f64 * pairs as f64 - alike;
        let mut found = Behaviour { pairs, ..Behaviour::default() };
        for depth in 1..=width {
            let groups = groups(codes, width, depth);
            let together = |(left, right): &&(u32, u32)| {
                left != right && groups[*left as usize] == groups[*right as usize]
            };
            found.shared.push(self.pairs.iter().filter(together).count() as f64 / pairs as f64);
            let most = groups.iter().max().map_or(0, |most| *most as usize + 1);
            let mut sums = vec![(0u64, 0u64); most];
            for (row, group) in groups.iter().enumerate() {
                sums[*group as usize].0 += front[row];
                sums[*group as usize].1 += back[row];
            }
            let meet: f64 = sums.iter().map(|(f, b)| *f as f64 * *b as f64).sum();
            found.chance.push(if all > 0.0 { ((meet - alike) / all).max(0.0) } else { 0.0 });
        }
        Some(found)
    }

    /// Themes, of row-major codes that are `width` wide; none without categories.
    pub(super) fn themes(
        &self,
        codes: &[u16],
        width: usize,
        progress: &Progress,
    ) -> Result<Option<Themes>> {
        let Some((field, categories)) = &self.themes else { return Ok(None) };
        let rows = || codes.chunks_exact(width).zip(categories);
        let known: Vec<u16> = rows()
            .filter(|(_, category)| category.is_some())
            .flat_map(|(codes, _)| codes)
            .copied()
            .collect();
        let categories: Vec<u32> = categories.iter().flatten().copied().collect();
        let different: HashSet<u32> = categories.iter().copied().collect();
        let mut found = Themes {
            field: field.clone(),
            items: categories.len(),
            categories: different.len(),
            ..Themes::default()
        };
        if different.len() < 2 {
            return Ok(None);
        }
        for depth in 1..=width {
            let table = Contingency::new(&groups(&known, width, depth), &categories);
            found.information.push(table.mutual_information(progress)?);
            found.purity.push(table.purity());
        }
        Ok(Some(found))
    }

    /// Capacity, of row-major codes that are `width` wide; none without interactions.
    pub(super) fn capacity(&self, codes: &[u16], width: usize) -> Option<Capacity> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return None;
        }
        let mut order: Vec<usize> = (0..self.counts.len()).collect();
        order.sort_by_key(|row| (std::cmp::Reverse(self.counts[*row]), *row));
        let cut = (order.len() as f64 * HEAD).ceil() as usize;
        let (head, tail) = order.split_at(cut);
        let mut found = Capacity::default();
        for (part, rows) in [(&mut found.head, head), (&mut found.tail, tail)] {
            part.items = rows.len();
            let used: u64 = rows.iter().map(|row| self.counts[*row]).sum();
            part.interactions = used as f64 / total as f64;
        }
        for depth in 1..=width {
            let groups = groups(codes, width, depth);
            let all = groups.iter().collect::<HashSet<_>>().len();
            for (part, rows) in [(&mut found.head, head), (&mut found.tail, tail)] {
                let prefixes = rows.iter().map(|row| groups[*row]).collect::<HashSet<_>>().len();
                part.prefixes.push(prefixes);
                part.share.push(prefixes as f64 / all.max(1) as f64);
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Four items: two under 0, two under 1.
    const CODES: [u16; 8] = [0, 0, 0, 1, 1, 0, 1, 1];

    #[test]
    fn followers_and_chance() {
        let usage = Usage {
            pairs: vec![(0, 1), (1, 0), (2, 3), (0, 2), (1, 1)],
            counts: vec![1; 4],
            themes: None,
        };
        let found = usage.behaviour(&CODES, 2).unwrap();
        assert_eq!(found.pairs, 4, "an item does not follow itself");
        assert_eq!(found.shared, [0.75, 0.0]);
        // Fronts 2, 1, 1, 0 and backs 1, 1, 1, 1: 16 pairs, 4 of an item with itself, 3 x 2 + 1 x 2 - 4 within.
        assert_eq!(found.chance, [4.0 / 12.0, 0.0]);
        assert_eq!(Usage { counts: vec![0; 4], ..Usage::default() }.behaviour(&CODES, 2), None);
    }

    #[test]
    fn categories_that_follow_the_codes() {
        let usage = Usage {
            themes: Some(("kind".to_owned(), vec![Some(7), Some(7), Some(9), None])),
            counts: vec![0; 4],
            ..Usage::default()
        };
        let found = usage.themes(&CODES, 2, &Progress::silent()).unwrap().unwrap();
        assert_eq!((found.items, found.categories), (3, 2));
        assert_eq!(found.purity, [1.0, 1.0]);
        assert!((found.information[0].unwrap() - 1.0).abs() < 1e-9);
        assert!(found.information[1].unwrap().abs() < 1e-9, "single items tell nothing");
        let one = Usage { themes: Some(("kind".to_owned(), vec![Some(1); 4])), ..usage };
        assert_eq!(one.themes(&CODES, 2, &Progress::silent()).unwrap(), None);
    }

    #[test]
    fn the_head_is_a_fifth() {
        let usage = Usage { counts: vec![5, 0, 3, 2], ..Usage::default() };
        let found = usage.capacity(&CODES, 2).unwrap();
        assert_eq!((found.head.items, found.tail.items), (1, 3));
        assert_eq!((found.head.interactions, found.tail.interactions), (0.5, 0.5));
        assert_eq!(found.head.prefixes, [1, 1]);
        assert_eq!(found.tail.share, [1.0, 0.75]);
    }
}
