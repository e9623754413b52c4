//! Rewards: how good the SIDs are that a policy generated for one history. One file each, one line in `KINDS`.
//!
//! A reward looks at a whole group of completions, since some depend on the order of a group; it knows the
//! target, and of the items what it says it needs. What a policy is trained on is a weighted sum.

mod collaborative;
mod exact;
mod format;
mod prefix;
mod quality;
mod rank;
mod semantic;

use crate::error::{Error, Result};
use crate::index::Catalogue;
use crate::kind;

/// Every reward that this build knows.
pub(crate) const KINDS: &[&Kind] = &[
    &collaborative::KIND,
    &exact::KIND,
    &format::KIND,
    &prefix::KIND,
    &quality::KIND,
    &rank::KIND,
    &semantic::KIND,
];

/// Sums with a name of their own: rewards with their weights.
///
/// `qarm` is eq. 14 of DeepInterestGR. Its α is published; λ_valid and λ_pref are not, and are those of the tests in
/// the authors' code. `minionerec` is the published default of MiniOneRec.
pub(crate) const SUMS: &[(&str, &[(&str, f64)])] = &[
    ("qarm", &[("exact", 1.0), ("format", 0.2), ("prefix", 0.3), ("quality", 0.5)]),
    ("minionerec", &[("exact", 1.0), ("rank", 1.0)]),
];

/// What is rewarded where nothing is named.
pub(crate) const DEFAULT: &[(&str, f64)] = SUMS[1].1;

/// One reward: a constant record.
pub(crate) struct Kind {
    /// The name typed after `REWARD`.
    pub(crate) name: &'static str,
    /// One sentence: what it is and where it comes from.
    pub(crate) summary: &'static str,
    /// What it must know of the items.
    pub(crate) needs: Need,
    /// The reward of every completion of a group.
    give: fn(&Group<'_>, &Known<'_>) -> Vec<f64>,
}

impl kind::Kind for Kind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// What a reward must know beyond the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Codes,
    /// The quality of every item.
    Quality,
    /// The vector of every item.
    Vectors,
    /// What behaviour says of every item after the history.
    Behaviour,
}

/// What was generated for one history, the likeliest first.
#[derive(Clone, Debug)]
pub(crate) struct Group<'a> {
    /// The position of the item that came next.
    pub(crate) target: u32,
    /// The completions.
    pub(crate) found: &'a [Found],
    /// What behaviour says of every position after the history, 0 or more; empty unless a reward needs it.
    pub(crate) behaviour: &'a [f32],
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// Its codes.
    pub(crate) codes: Vec<u16>,
    /// The items that have this SID; none where it is no SID of the catalogue.
    pub(crate) items: Vec<u32>,
}

impl Found {
    /// The share of the target among the items of this SID: 1 where the SID is its alone.
    fn hit(&self, target: u32) -> f64 {
        if self.items.contains(&target) { 1.0 / self.items.len() as f64 } else { 0.0 }
    }
}

/// What is known of the items.
pub(crate) struct Known<'a> {
    /// The items with their codes.
    pub(crate) catalogue: &'a Catalogue,
    /// Levels of a SID that speak of the item; a suffix level does not.
    pub(crate) levels: usize,
    /// The quality of every position, 0 to 1; empty unless a reward needs it.
    pub(crate) quality: Vec<f32>,
    /// The vector of every position, of unit length, row-major; empty unless a reward needs it.
    pub(crate) vectors: Vec<f32>,
}

/// A weighted sum of rewards.
#[derive(Clone)]
pub(crate) struct Sum {
    terms: Vec<(&'static Kind, f64)>,
}

impl Sum {
    /// The sum of rewards by name, each with its weight.
    ///
    /// # Errors
    /// An unknown name, or none at all.
    pub(crate) fn new<'n>(terms: impl IntoIterator<Item = (&'n str, f64)>) -> Result<Self> {
        let found = |(name, weight)| Ok((kind::find(KINDS, "reward", name)?, weight));
        let terms: Vec<_> = terms.into_iter().map(found).collect::<Result<_>>()?;
        if terms.is_empty() {
            return Err(Error::input("no-reward", "there is nothing to reward"));
        }
        Ok(Sum { terms })
    }

    /// Whether one of the rewards needs this.
    pub(crate) fn needs(&self, need: Need) -> bool {
        self.terms.iter().any(|(kind, _)| kind.needs == need)
    }

    /// The rewards of a group: the sums, and for each term its name with the mean over the group.
    pub(crate) fn give(
        &self,
        group: &Group<'_>,
        known: &Known<'_>,
    ) -> (Vec<f64>, Vec<(&'static str, f64)>) {
        let mut sums = vec![0.0; group.found.len()];
        let mut means = Vec::with_capacity(self.terms.len());
        for (kind, weight) in &self.terms {
            let rewards = (kind.give)(group, known);
            debug_assert_eq!(rewards.len(), sums.len());
            means.push((kind.name, rewards.iter().sum::<f64>() / rewards.len().max(1) as f64));
            for (sum, reward) in sums.iter_mut().zip(rewards) {
                *sum += weight * reward;
            }
        }
        (sums, means)
    }
}

/// A reward that looks at one completion at a time.
fn each(group: &Group<'_>, give: impl Fn(&Found) -> f64) -> Vec<f64> {
    group.found.iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Four items: 0 and 1 share two codes, 2 shares one with them, 3 none. The last level is a suffix.
    fn catalogue() -> Catalogue {
        let codes = vec![0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0];
        Catalogue::new(vec![10, 11, 12, 13], vec![2, 2, 2], codes)
    }

    fn known(catalogue: &Catalogue) -> Known<'_> {
        let vectors = vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0, -1.0, 0.0];
        Known { catalogue, levels: 2, quality: vec![0.4, 0.9, 1.0, 0.0], vectors }
    }

    fn found(catalogue: &Catalogue, item: u32) -> Found {
        Found { codes: catalogue.codes_of(item).to_vec(), items: vec![item] }
    }

    /// A group of every item in order and a SID that does not exist, with item 0 for a target.
    fn group(catalogue: &Catalogue) -> Vec<Found> {
        let mut all: Vec<Found> = (0..4).map(|item| found(catalogue, item)).collect();
        all.push(Found { codes: vec![0, 1, 1], items: Vec::new() });
        all
    }

    #[test]
    fn each_reward_by_hand() {
        let catalogue = catalogue();
        let (found, known) = (group(&catalogue), known(&catalogue));
        let behaviour = [2.0, 1.0, 0.0, 4.0];
        let group = Group { target: 0, found: &found, behaviour: &behaviour };
        // The target's own place gets nothing, the others lose by their place: 1/log2(2 + rank), shared out.
        let places: Vec<f64> = (0..5).map(|at| 1.0 / f64::from(at + 2).log2()).collect();
        let all: f64 = places.iter().sum();
        let rank = (0..5).map(|at| if at == 0 { 0.0 } else { -places[at] / all }).collect();
        let expected: [(&str, Vec<f64>); 7] = [
            ("collaborative", vec![0.5, 0.25, 0.0, 1.0, 0.0]),
            ("exact", vec![1.0, 0.0, 0.0, 0.0, 0.0]),
            ("format", vec![1.0, 1.0, 1.0, 1.0, 0.0]),
            ("prefix", vec![1.0, 1.0, 0.5, 0.0, 0.5]),
            ("quality", vec![0.4, 0.0, 0.0, 0.0, 0.0]),
            ("rank", rank),
            ("semantic", vec![1.0, 0.6, 0.0, -1.0, 0.0]),
        ];
        assert_eq!(expected.len(), KINDS.len(), "every reward has its line here");
        for (name, expected) in expected {
            let given = (kind::find(KINDS, "reward", name).unwrap().give)(&group, &known);
            for (given, expected) in given.iter().zip(&expected) {
                assert!((given - expected).abs() < 1e-6, "{name}: {given} for {expected}");
            }
        }
    }

    #[test]
    fn the_sum_of_the_paper() {
        let catalogue = catalogue();
        let (found, known) = (group(&catalogue), known(&catalogue));
        let (_, terms) = SUMS[0];
        let sum = Sum::new(terms.iter().copied()).unwrap();
        assert!(sum.needs(Need::Quality) && !sum.needs(Need::Vectors));
        let (sums, means) = sum.give(&Group { target: 0, found: &found, behaviour: &[] }, &known);
        // R = exact + 0.2 valid + 0.3 LCP / 2 + 0.5 · q where exact.
        for (sum, expected) in sums.iter().zip([1.7, 0.5, 0.35, 0.2, 0.15]) {
            assert!((sum - expected).abs() < 1e-6, "{sums:?}");
        }
        assert_eq!(
            means.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["exact", "format", "prefix", "quality"]
        );
        assert!(SUMS.iter().all(|(_, terms)| Sum::new(terms.iter().copied()).is_ok()));
        assert_eq!(Sum::new([("exakt", 1.0)]).err().unwrap().code(), "unknown-name");
        assert!(Sum::new([]).is_err());
    }

    #[test]
    fn items_that_share_a_sid_share_the_credit() {
        let catalogue = catalogue();
        let found = [Found { codes: vec![0, 0, 0], items: vec![0, 1] }];
        let behaviour = [2.0, 1.0, 0.0, 4.0];
        let group = Group { target: 1, found: &found, behaviour: &behaviour };
        let exact = (exact::KIND.give)(&group, &known(&catalogue));
        assert_eq!(exact, [0.5]);
        let known = known(&catalogue);
        assert_eq!((collaborative::KIND.give)(&group, &known), [0.375]);
        // After a history of which nothing is known, nobody is rewarded.
        let group = Group { behaviour: &[0.0; 4], ..group };
        assert_eq!((collaborative::KIND.give)(&group, &known), [0.0]);
    }
}
