//! `exact`: 1 where the SID is that of the target (DeepInterestGR eq. 11).

use super::{Kind, Need, each};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "exact",
    summary: "1 where the target was generated; items that share its SID share the credit",
    needs: Need::Codes,
    give: |group, _| each(group, |found| found.hit(group.target)),
};
