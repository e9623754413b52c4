//! `collaborative`: how well what was generated goes with the history by what others did (a reward of MiniOneRec, which
//! takes the logit of a trained SASRec; its authors report that it can be exploited: use it beside `exact`).
//!
//! Behaviour is the item graph with its defaults, counted over the histories that are learned: it needs no training, and is
//! the strongest of what only counts. The reward is ours in its scale: the score of the item as a share of the highest score
//! that any item has after this history, so that it lies from 0 to 1; 0 for all where the graph knows nothing after it.

use super::{Kind, Need, each};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "collaborative",
    summary: "how often what was generated goes with the history, as a share of what goes best (MiniOneRec)",
    needs: Need::Behaviour,
    give: |group, _| {
        let most = group.behaviour.iter().copied().fold(0.0, f32::max);
        if most <= 0.0 {
            return vec![0.0; group.found.len()];
        }
        let share = |item: &u32| f64::from(group.behaviour[*item as usize] / most);
        // Items that share a SID are met alike, so their mean is what may be expected.
        each(group, |found| {
            found.items.iter().map(share).sum::<f64>() / found.items.len().max(1) as f64
        })
    },
};
