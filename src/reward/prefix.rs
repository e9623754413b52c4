//! `prefix`: the share of the levels that agree from the first on (R_pref of DeepInterestGR eq. 12).
//!
//! A suffix level only numbers items of equal codes and does not count. A SID that does not exist is still compared.

use super::{Kind, Need, each};

/// The record of this reward.
pub(super) const KIND: Kind = Kind {
    name: "prefix",
    summary: "the share of levels from the first on that agree with the target",
    needs: Need::Codes,
    give: |group, known| {
        let target = &known.catalogue.codes_of(group.target)[..known.levels];
        each(group, |found| {
            let common = target.iter().zip(&found.codes).take_while(|(a, b)| a == b).count();
            common as f64 / known.levels as f64
        })
    },
};
