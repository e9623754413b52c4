//! What is large and held between questions: the vectors of spaces, and built indexes. Together they keep to a budget;
//! what was used least lately goes first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sidql_storage::{BlobNo, SpaceNo};

use crate::index::vectors::Last;
use crate::index::{Built, Vectors};

/// Bytes that are held unless told.
pub(crate) const BUDGET: u64 = 2 << 30;

/// A built index in memory, with what changed since it was built.
pub(crate) struct Opened {
    /// The index.
    pub(crate) built: Box<dyn Built>,
    /// What the last view has otherwise.
    pub(crate) last: Last,
}

/// What an entry is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Vectors(SpaceNo),
    Index(BlobNo),
}

/// What is held.
#[derive(Clone)]
enum What {
    Vectors(Arc<Vectors>),
    Index(Arc<Opened>),
}

struct Entry {
    what: What,
    bytes: u64,
    /// When it was used last, by the count of uses.
    used: u64,
}

#[derive(Default)]
struct Entries {
    all: HashMap<Key, Entry>,
    uses: u64,
    /// How often vectors were asked for that are not held.
    missed: HashMap<SpaceNo, u32>,
}

/// All that is held of one open file.
pub(crate) struct Held {
    budget: u64,
    entries: Mutex<Entries>,
}

impl Default for Held {
    fn default() -> Self {
        Held::new(BUDGET)
    }
}

impl Held {
    /// Nothing, of at most so many bytes.
    pub(crate) fn new(budget: u64) -> Self {
        Held { budget, entries: Mutex::default() }
    }

    /// The bytes that may be held.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    pub(crate) fn vectors(&self, space: SpaceNo) -> Option<Arc<Vectors>> {
        match self.get(Key::Vectors(space))? {
            What::Vectors(vectors) => Some(vectors),
            What::Index(_) => None,
        }
    }

    pub(crate) fn index(&self, blob: BlobNo) -> Option<Arc<Opened>> {
        match self.get(Key::Index(blob))? {
            What::Index(index) => Some(index),
            What::Vectors(_) => None,
        }
    }

    /// Counts a question for vectors that are not held; tells how many there were.
    pub(crate) fn miss(&self, space: SpaceNo) -> u32 {
        let mut entries = self.lock();
        let missed = entries.missed.entry(space).or_default();
        *missed = missed.saturating_add(1);
        *missed
    }

    pub(crate) fn put_vectors(&self, space: SpaceNo, vectors: &Arc<Vectors>) {
        let what = What::Vectors(Arc::clone(vectors));
        self.put(Key::Vectors(space), what, vectors.bytes());
    }

    pub(crate) fn put_index(&self, blob: BlobNo, index: &Arc<Opened>) {
        self.put(Key::Index(blob), What::Index(Arc::clone(index)), index.built.bytes());
    }

    fn get(&self, key: Key) -> Option<What> {
        let mut entries = self.lock();
        entries.uses += 1;
        let now = entries.uses;
        let entry = entries.all.get_mut(&key)?;
        entry.used = now;
        Some(entry.what.clone())
    }

    fn put(&self, key: Key, what: What, bytes: u64) {
        let mut entries = self.lock();
        entries.all.remove(&key);
        if bytes > self.budget {
            return;
        }
        let mut held: u64 = entries.all.values().map(|entry| entry.bytes).sum();
        while held + bytes > self.budget {
            let Some((oldest, freed)) = entries
                .all
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(key, entry)| (*key, entry.bytes))
            else {
                break;
            };
            entries.all.remove(&oldest);
            held -= freed;
        }
        entries.uses += 1;
        let used = entries.uses;
        entries.all.insert(key, Entry { what, bytes, used });
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Entries are replaced whole, so what a panic left behind is complete.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::error::Result;
    use crate::index::{Candidates, Look};

    struct Sized(u64);

    impl Built for Sized {
        fn nearest(&self, _: &[f32], _: usize, _: Look, _: usize) -> Result<Candidates> {
            Ok(Candidates { found: Vec::new(), exact: true, scanned: 0 })
        }

        fn bytes(&self) -> u64 {
            self.0
        }
    }

    fn put(held: &Held, blob: BlobNo, bytes: u64) {
        let opened = Opened { built: Box::new(Sized(bytes)), last: Last::default() };
        held.put_index(blob, &Arc::new(opened));
    }

    #[test]
    fn what_was_used_least_lately_goes_first() {
        let held = Held::new(100);
        put(&held, 1, 40);
        put(&held, 2, 40);
        assert!(held.index(1).is_some());
        put(&held, 3, 50);
        let there: Vec<bool> = (1..4).map(|blob| held.index(blob).is_some()).collect();
        assert_eq!(there, [true, false, true]);
        put(&held, 4, 101);
        let there: Vec<bool> = (1..5).map(|blob| held.index(blob).is_some()).collect();
        assert_eq!(there, [true, false, true, false], "what is larger than the budget is not held");
        put(&held, 1, 10);
        put(&held, 2, 40);
        assert_eq!((1..4).filter(|blob| held.index(*blob).is_some()).count(), 3);
    }
}
