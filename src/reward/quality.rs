//! `quality`: the quality of the target, where it was generated (R_q of DeepInterestGR eq. 13).
//!
//! `ENRICH items BY quality` makes the labels; an item without any counts as 0.

use super::{Kind, Need, each};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "quality",
    summary: "the QARM score of the target where it was generated, else 0 (DeepInterestGR)",
    needs: Need::Quality,
    give: |group, known| {
        let quality = known.quality.get(group.target as usize).copied().unwrap_or(0.0);
        each(group, |found| found.hit(group.target) * f64::from(quality))
    },
};
