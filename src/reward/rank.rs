//! `rank`: what is generated before the target loses by its place (the ranking reward of MiniOneRec).
//!
//! In a group that holds the target, a wrong SID at place i (from 0) gets −(1/log2(i + 2)) / Σ_j (1/log2(j + 2)); the
//! target gets 0. In a group without it all get 0.

use super::{Kind, Need};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "rank",
    summary: "wrong SIDs lose by their place in a group that holds the target (MiniOneRec)",
    needs: Need::Codes,
    give: |group, _| {
        let is_hit: Vec<bool> =
            group.found.iter().map(|found| found.hit(group.target) > 0.0).collect();
        if !is_hit.contains(&true) {
            return vec![0.0; is_hit.len()];
        }
        let gain = |place: usize| 1.0 / ((place + 2) as f64).log2();
        let all: f64 = (0..is_hit.len()).map(gain).sum();
        let lost = |(place, hit): (usize, &bool)| if *hit { 0.0 } else { -gain(place) / all };
        is_hit.iter().enumerate().map(lost).collect()
    },
};
