//! The SID tree in memory: look-ups without a statement, for services that hold it.

use std::sync::{Arc, OnceLock};

use crate::cache::{IndexSet, Names};
use crate::error::Result;
use crate::exec::Engine;
use crate::params::Params;
use crate::plan::bind::Catalog;
use crate::settings::Settings;

/// The SIDs of a published generation with the ids of their items, as they were when it was taken.
///
/// Cheap to clone and to take again: as long as no SID changes, [`Database::tree`](crate::Database::tree) gives the
/// same one. Ids are read when they are first asked for; from then on those under a prefix stand next to each other in
/// memory, so a look-up is a few steps and a walk.
///
/// ```
/// # let db = sidql::Database::open_in_memory()?;
/// # db.execute("INSERT INTO items {id: 'B1', title: 'indoor futsal ball'}, {id: 'B2', title: 'garden hose'}", ())?;
/// # db.execute("ENRICH items BY text USING hash", ())?;
/// # db.execute("CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 2)", ())?;
/// # db.execute("REBUILD CODEBOOK full", ())?;
/// let tree = db.tree("full")?;
/// for (code, count) in tree.children(&[]) {
///     let ids: Vec<&str> = tree.ids(&[code])?.collect();
///     assert_eq!(ids.len(), count);
/// }
/// # Ok::<(), sidql::Error>(())
/// ```
#[derive(Clone)]
pub struct Tree {
    index: Arc<IndexSet>,
    names: Arc<Later>,
}

/// Ids that are read when they are first asked for.
struct Later {
    engine: Arc<Engine>,
    names: OnceLock<Arc<Names>>,
}

impl Later {
    fn get(&self, index: &IndexSet) -> Result<&Names> {
        if let Some(names) = self.names.get() {
            return Ok(names);
        }
        // No snapshot is held until then, which would keep its pages. An id never changes, and a number is never given
        // twice; so a later snapshot has the same ids, or lacks some.
        let names = self.engine.cache.names(&self.engine.store.read()?, index)?;
        Ok(self.names.get_or_init(|| names))
    }
}

impl Tree {
    pub(crate) fn open(engine: &Arc<Engine>, codebook: &str) -> Result<Self> {
        let read = engine.store.read()?;
        let (settings, params) = (Settings::default(), Params::default());
        let words = engine.cache.words(&read, read.moment())?;
        let catalog = Catalog::new(&read, words, &settings, &params);
        let generation = catalog.generation(Some(codebook), None)?.number;
        let index = engine.cache.index(&read, generation)?;
        let engine = Arc::clone(engine);
        let names = Later { engine, names: OnceLock::new() };
        Ok(Tree { index, names: Arc::new(names) })
    }

    /// The number of levels of a SID.
    pub fn levels(&self) -> usize {
        self.index.trie.levels()
    }

    /// The ordinal of the generation.
    pub fn generation(&self) -> u32 {
        self.index.generation.ordinal
    }

    /// The number of items whose SIDs begin with these codes; all items for no codes.
    pub fn count(&self, prefix: &[u16]) -> usize {
        self.index.trie.node_of(prefix).map_or(0, |node| self.index.trie.count(node))
    }

    /// The ids of the items whose SIDs begin with these codes, in the order of the SIDs.
    ///
    /// # Errors
    /// At the first call, where the ids cannot be read, or items were deleted since the tree was taken: take it again.
    pub fn ids(&self, prefix: &[u16]) -> Result<impl ExactSizeIterator<Item = &str>> {
        let names = self.names.get(&self.index)?;
        let ranks = match self.index.trie.node_of(prefix) {
            Some(node) => self.index.trie.items_under(node),
            None => 0..0,
        };
        Ok(ranks.map(|rank| names.get(rank)))
    }

    /// The codes that go on after a prefix, ascending, each with the number of items under it.
    pub fn children(&self, prefix: &[u16]) -> Vec<(u16, usize)> {
        let trie = &self.index.trie;
        let Some(node) = trie.node_of(prefix) else { return Vec::new() };
        let (codes, first) = trie.children(node);
        codes.iter().zip(first..).map(|(code, child)| (*code, trie.count(child))).collect()
    }
}
