//! Leave-last-out: what of a history is for training, what is asked, and what is the answer.

use serde::{Deserialize, Serialize};

/// The fewest items of a history that is evaluated: one to learn from, one for validation, one for the test.
const ITEMS_MIN: usize = 3;

/// Which held-out item is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    /// The last item, after all others (the validation item among them).
    #[default]
    Test,
    /// The last but one, after those before it.
    Validation,
}

/// One question to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case<'a> {
    /// What the policy is shown.
    pub(crate) history: &'a [u32],
    /// What it should name.
    pub(crate) target: u32,
}

impl Split {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Split::Test => "test",
            Split::Validation => "validation",
        }
    }

    /// The question that a history gives; none for a history of fewer than three items.
    pub(crate) fn case(self, history: &[u32]) -> Option<Case<'_>> {
        if history.len() < ITEMS_MIN {
            return None;
        }
        let at = match self {
            Split::Test => history.len() - 1,
            Split::Validation => history.len() - 2,
        };
        // No leakage: what a policy learns from ends before every target.
        assert!(training(history).len() <= at);
        Some(Case { history: &history[..at], target: history[at] })
    }
}

/// The training part of a history: all but the last two items; the whole of one that is not evaluated.
pub(crate) fn training(history: &[u32]) -> &[u32] {
    if history.len() < ITEMS_MIN { history } else { &history[..history.len() - 2] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_last_items_are_held_out() {
        let history = [4, 5, 6, 7];
        assert_eq!(training(&history), [4, 5]);
        let test = Split::Test.case(&history).unwrap();
        assert_eq!((test.history, test.target), (&[4, 5, 6][..], 7));
        let validation = Split::Validation.case(&history).unwrap();
        assert_eq!((validation.history, validation.target), (&[4, 5][..], 6));
    }

    #[test]
    fn short_histories_are_for_training_only() {
        assert_eq!(Split::Test.case(&[1, 2]), None);
        assert_eq!(Split::Validation.case(&[]), None);
        assert_eq!(training(&[1, 2]), [1, 2]);
        assert_eq!(training(&[1, 2, 3]), [1]);
    }
}
