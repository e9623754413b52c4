//! `format`: 1 where the SID is one of the catalogue (R_valid of DeepInterestGR eq. 12).
//!
//! Along the trie every SID is, so the term is the same for all of a group and says nothing.

use super::{Kind, Need, each};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "format",
    summary: "1 where the SID exists; always so when generation follows the trie",
    needs: Need::Codes,
    give: |group, _| each(group, |found| f64::from(u8::from(!found.items.is_empty()))),
};
