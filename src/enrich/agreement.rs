//! How far two sets of binary labels agree (Cohen 1960): the check of QARM's judge against people.

/// The four ways in which two judges label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Both said 1.
    pub(crate) both: u64,
    /// The first said 1, the second 0.
    pub(crate) first: u64,
    /// The second said 1, the first 0.
    pub(crate) second: u64,
    /// Both said 0.
    pub(crate) neither: u64,
}

impl Agreement {
    /// Counts one pair of labels.
    pub(crate) fn add(&mut self, first: bool, second: bool) {
        match (first, second) {
            (true, true) => self.both += 1,
            (true, false) => self.first += 1,
            (false, true) => self.second += 1,
            (false, false) => self.neither += 1,
        }
    }

    /// The pairs counted.
    pub(crate) fn pairs(&self) -> u64 {
        self.both + self.first + self.second + self.neither
    }

    /// The share of pairs that agree; nothing without pairs.
    pub(crate) fn observed(&self) -> Option<f64> {
        let pairs = self.pairs();
        (pairs > 0).then(|| (self.both + self.neither) as f64 / pairs as f64)
    }

    /// Cohen's kappa: agreement beyond that of two judges who label at their own rates by chance. Nothing where both
    /// always say the same one label, for which chance explains everything.
    pub(crate) fn kappa(&self) -> Option<f64> {
        let observed = self.observed()?;
        let pairs = self.pairs() as f64;
        let first = (self.both + self.first) as f64 / pairs;
        let second = (self.both + self.second) as f64 / pairs;
        let chance = first * second + (1.0 - first) * (1.0 - second);
        (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn kappa_of_a_known_table() {
        // 20 and 15 agreed, 5 and 10 not: .7 observed, .5 by chance.
        let table = Agreement { both: 20, first: 5, second: 10, neither: 15 };
        assert!((table.observed().unwrap() - 0.7).abs() < 1e-12);
        assert!((table.kappa().unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(Agreement::default().observed(), None);
        assert_eq!(Agreement { both: 9, ..Agreement::default() }.kappa(), None);
        let mut counted = Agreement::default();
        counted.add(true, true);
        counted.add(false, true);
        assert_eq!(counted, Agreement { both: 1, second: 1, ..Agreement::default() });
    }
}
