//! `semantic`: the cosine between what was generated and the target, by the vectors that the codebook was made of
//! (a reward of MiniOneRec).

use super::{Kind, Need, each};
use crate::index::product::dot;

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "semantic",
    summary: "the cosine between the vectors of what was generated and of the target",
    needs: Need::Vectors,
    give: |group, known| {
        let dim = known.vectors.len() / known.catalogue.len().max(1);
        let vector = |item: u32| &known.vectors[item as usize * dim..(item as usize + 1) * dim];
        let target = vector(group.target);
        // Items that share a SID are met alike, so their mean is what may be expected.
        each(group, |found| {
            let all: f64 =
                found.items.iter().map(|item| f64::from(dot(vector(*item), target))).sum();
            all / found.items.len().max(1) as f64
        })
    },
};
