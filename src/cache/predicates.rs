//! What predicates accept, kept for as long as the file stays as it is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use super::{Cache, Ground, GroundStamp, lock};
use crate::error::Result;
use crate::index::{Accepted, Allowed};

/// The most predicates that are remembered: a bit for each item and predicate, and four bytes for each where the SID tree
/// is asked.
const MOST: usize = 32;

/// Values that were derived at one moment of the file; what was used least lately goes first.
struct Remembered<K, V> {
    moment: u64,
    uses: u64,
    known: HashMap<K, (u64, V)>,
}

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Remembered { moment: 0, uses: 0, known: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Remembered<K, V> {
    fn get(&mut self, moment: u64, key: &K) -> Option<V> {
        let (used, value) = self.known.get_mut(key).filter(|_| self.moment == moment)?;
        self.uses += 1;
        *used = self.uses;
        Some(value.clone())
    }

    fn put(&mut self, moment: u64, key: K, value: V) {
        if self.moment != moment {
            *self = Remembered { moment, ..Remembered::default() };
        }
        self.uses += 1;
        self.known.insert(key, (self.uses, value));
        if self.known.len() > MOST
            && let Some(oldest) = self.known.iter().min_by_key(|(_, (used, _))| *used)
        {
            let oldest = oldest.0.clone();
            self.known.remove(&oldest);
        }
    }
}

/// The predicates of one open file.
#[derive(Default)]
pub(super) struct Predicates {
    accepted: Mutex<Remembered<String, Asked>>,
    allowed: Mutex<Remembered<(GroundStamp, String), Arc<Allowed>>>,
}

/// What is known of a predicate.
#[derive(Clone)]
enum Asked {
    /// What was done so far for want of an evaluation.
    Spent(usize),
    Known(Arc<Accepted>),
}

impl Cache {
    /// What a predicate accepts, if that was evaluated at this moment of the file.
    pub(crate) fn known(&self, moment: Option<u64>, predicate: &str) -> Option<Arc<Accepted>> {
        let asked = lock(&self.predicates.accepted).get(moment?, &predicate.to_owned())?;
        match asked {
            Asked::Known(accepted) => Some(accepted),
            Asked::Spent(_) => None,
        }
    }

    /// Notes what a question cost because its predicate was not evaluated; tells what all such questions cost at this
    /// moment of the file. Where there is no moment, nothing is noted.
    pub(crate) fn spent(&self, moment: Option<u64>, predicate: &str, cost: usize) -> usize {
        let Some(moment) = moment else { return 0 };
        let mut accepted = lock(&self.predicates.accepted);
        let predicate = predicate.to_owned();
        let before = match accepted.get(moment, &predicate) {
            Some(Asked::Spent(before)) => before,
            Some(Asked::Known(_)) => return 0,
            None => 0,
        };
        let spent = before.saturating_add(cost);
        accepted.put(moment, predicate, Asked::Spent(spent));
        spent
    }

    /// What a predicate accepts, evaluated once for a moment of the file; always where there is none.
    pub(crate) fn accepted(
        &self,
        moment: Option<u64>,
        predicate: &str,
        evaluate: impl FnOnce() -> Result<Accepted>,
    ) -> Result<Arc<Accepted>> {
        if let Some(known) = self.known(moment, predicate) {
            return Ok(known);
        }
        let accepted = Arc::new(evaluate()?);
        if let Some(moment) = moment {
            let known = Asked::Known(Arc::clone(&accepted));
            lock(&self.predicates.accepted).put(moment, predicate.to_owned(), known);
        }
        Ok(accepted)
    }

    /// What a predicate allows on a ground, by what it accepts.
    pub(crate) fn allowed(
        &self,
        moment: Option<u64>,
        ground: &Ground,
        predicate: &str,
        evaluate: impl FnOnce() -> Result<Accepted>,
    ) -> Result<Arc<Allowed>> {
        let key = (ground.stamp(), predicate.to_owned());
        if let Some(moment) = moment
            && let Some(known) = lock(&self.predicates.allowed).get(moment, &key)
        {
            return Ok(known);
        }
        let accepted = self.accepted(moment, predicate, evaluate)?;
        let catalogue = ground.catalogue();
        let positions = accepted.iter().filter_map(|item| catalogue.position(item));
        let allowed = Arc::new(Allowed::only(catalogue.len(), ground.trie(), positions));
        if let Some(moment) = moment {
            lock(&self.predicates.allowed).put(moment, key, Arc::clone(&allowed));
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn accepted(cache: &Cache, moment: Option<u64>, predicate: &str, items: &[u64]) -> Vec<u64> {
        let evaluate = || Ok(Accepted::of(items.iter().copied()));
        cache.accepted(moment, predicate, evaluate).unwrap().iter().collect()
    }

    #[test]
    fn an_answer_holds_for_its_moment() {
        let cache = Cache::default();
        assert_eq!(accepted(&cache, Some(1), "a", &[3, 5]), [3, 5]);
        assert_eq!(accepted(&cache, Some(1), "a", &[9]), [3, 5], "the same moment");
        assert!(cache.known(Some(1), "b").is_none());
        assert!(cache.known(Some(2), "a").is_none());
        assert_eq!(accepted(&cache, Some(2), "a", &[9]), [9], "a later one");
        assert_eq!(accepted(&cache, None, "a", &[4]), [4], "none: a transaction is open");
        assert_eq!(accepted(&cache, None, "a", &[6]), [6]);
    }

    #[test]
    fn costs_add_up_until_it_is_evaluated() {
        let cache = Cache::default();
        assert_eq!(cache.spent(Some(1), "a", 10), 10);
        assert_eq!(cache.spent(Some(1), "a", 5), 15);
        assert_eq!(cache.spent(Some(1), "b", 5), 5);
        assert_eq!(cache.spent(None, "a", 5), 0);
        assert_eq!(cache.spent(Some(2), "a", 7), 7, "another moment");
        accepted(&cache, Some(2), "a", &[1]);
        assert_eq!(cache.spent(Some(2), "a", 7), 0);
    }

    #[test]
    fn what_was_used_least_lately_goes_first() {
        let cache = Cache::default();
        for at in 0..MOST {
            accepted(&cache, Some(1), &at.to_string(), &[at as u64]);
        }
        assert!(cache.known(Some(1), "0").is_some());
        accepted(&cache, Some(1), "new", &[1]);
        assert!(cache.known(Some(1), "0").is_some());
        assert!(cache.known(Some(1), "1").is_none());
    }
}
