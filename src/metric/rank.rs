//! Hit rate, NDCG and MRR at k, as expectations under random order among equals.
//!
//! A target shares its place with whatever cannot be told from it: items of equal score, or the items of its
//! SID bucket. Breaking such ties at random and taking the expectation gives no free hits, and for buckets it
//! is the item-level credit known as CCE: with P items strictly before and G sharing the place, e = min(G,
//! max(0, k − P)) of them are shown, so the hit rate is e / G and NDCG is the sum over i = 1..e of
//! 1 / log2(P + i + 1), divided by G.

use super::Kind;

/// Where a target stands in a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many stand strictly before it.
    pub(crate) before: u32,
    /// How many share its place, itself included.
    pub(crate) tied: u32,
}

impl Place {
    /// Not in the ranking at all: no credit at any k.
    pub(crate) const NOWHERE: Place = Place { before: u32::MAX, tied: 1 };
}

/// Hit rate: the share of users whose target is among the first k.
pub(super) const HR: Kind = Kind {
    name: "hr",
    summary: "hit rate: the share of users whose target is among the first k",
    credit: |place, k| mean(place, k, |_| 1.0),
};

/// NDCG with one target.
pub(super) const NDCG: Kind = Kind {
    name: "ndcg",
    summary: "normalised discounted cumulative gain: 1 / log2(rank + 1) of the target, 0 beyond k",
    credit: |place, k| mean(place, k, |rank| 1.0 / (rank + 1.0).log2()),
};

/// Mean reciprocal rank.
pub(super) const MRR: Kind = Kind {
    name: "mrr",
    summary: "mean reciprocal rank: 1 / rank of the target, 0 beyond k",
    credit: |place, k| mean(place, k, |rank| 1.0 / rank),
};

/// The mean gain over the ranks (from 1) that the target may take; ranks beyond k gain nothing.
fn mean(place: Place, k: usize, gain: impl Fn(f64) -> f64) -> f64 {
    let before = place.before as usize;
    let shown = k.saturating_sub(before).min(place.tied as usize);
    (1..=shown).map(|nth| gain((before + nth) as f64)).sum::<f64>() / f64::from(place.tied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn a_single_target_gets_the_usual_figures() {
        let third = Place { before: 2, tied: 1 };
        close((HR.credit)(third, 5), 1.0);
        close((HR.credit)(third, 2), 0.0);
        close((NDCG.credit)(third, 5), 0.5);
        close((MRR.credit)(third, 5), 1.0 / 3.0);
        close((HR.credit)(Place::NOWHERE, 1000), 0.0);
    }

    #[test]
    fn ties_are_the_mean_over_every_order() {
        // Four share the places 3 to 6, of which k = 5 shows three.
        let place = Place { before: 2, tied: 4 };
        for kind in super::super::METRICS {
            let each = (2..6).map(|before| (kind.credit)(Place { before, tied: 1 }, 5));
            close((kind.credit)(place, 5), each.sum::<f64>() / 4.0);
        }
        close((HR.credit)(place, 5), 0.75);
    }
}
