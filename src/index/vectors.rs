//! The vectors of a space in memory, and what a view of the file has otherwise.
//!
//! Equal revisions of a block mean equal vectors (`sidql_storage::changes`), so vectors that were loaded from one
//! view serve every other: an earlier snapshot, a later one, a transaction that is still open. The blocks whose
//! revisions differ are read from the view itself: a [`Delta`]. A stored index is served by one as well.
//!
//! Vectors are held with length 1 (zeros stay), so that inner products are cosines.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use sidql_storage::{ItemNo, Space, View, changes, embeddings};

use super::flat;
use super::product::normalise;
use crate::error::Result;
use crate::progress::Progress;

/// Rows that are compared before the next blocks are read.
const CHUNK_ROWS: usize = 8192;

/// The vectors of a space as one revision of it has them.
pub(crate) struct Vectors {
    revision: u64,
    slots: u64,
    /// The revision of each block that ever changed.
    blocks: HashMap<u64, u64>,
    rows: Rows,
    last: Last,
}

/// Items with their vectors.
#[derive(Default)]
struct Rows {
    dim: usize,
    /// Ascending.
    items: Vec<ItemNo>,
    /// Row-major, `items × dim`, of length 1 or 0.
    values: Vec<f32>,
}

/// The blocks that a view has otherwise than what was built from an earlier state.
pub(crate) struct Delta {
    slots: u64,
    /// Their numbers, ascending.
    stale: Vec<u64>,
    rows: Rows,
}

/// The delta that was asked for last, by the revision that its view has: most questions come from one state of a file.
#[derive(Default)]
pub(crate) struct Last(Mutex<Option<(u64, Arc<Delta>)>>);

/// The nearest items, the nearest first, and how many vectors were compared for them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Nearest {
    /// The items with their cosines.
    pub(crate) found: Vec<(ItemNo, f32)>,
    /// Vectors compared.
    pub(crate) scanned: usize,
}

impl Vectors {
    /// Loads the vectors of a space.
    pub(crate) fn load(view: &dyn View, space: &Space, progress: &Progress) -> Result<Self> {
        let mut rows = Rows::with_capacity(space);
        for block in embeddings::scan(view, space, 0)? {
            progress.check()?;
            block?.iter().for_each(|(item, vector)| rows.push(item, vector));
        }
        rows.normalise();
        Ok(Vectors {
            revision: changes::revision(view, space)?,
            slots: u64::from(space.slots),
            blocks: changes::blocks(view, space)?.collect::<Result<_, _>>()?,
            rows,
            last: Last::default(),
        })
    }

    /// Whether the shape is that of a space. The number of a space whose making was taken back is given again.
    pub(crate) fn fits(&self, space: &Space) -> bool {
        (self.rows.dim, self.slots) == (space.dim as usize, u64::from(space.slots))
    }

    /// The bytes of the vectors.
    pub(crate) fn bytes(&self) -> u64 {
        bytes_of(self.len() as u64, self.rows.dim as u64)
    }

    /// The number of vectors.
    pub(crate) fn len(&self) -> usize {
        self.rows.items.len()
    }

    /// The items that have a vector, ascending, and the vectors, of length 1 or 0.
    pub(crate) fn all(&self) -> (&[ItemNo], &[f32]) {
        (&self.rows.items, &self.rows.values)
    }

    /// What a view of the space has otherwise; nothing to read where the revision is the same.
    pub(crate) fn delta(&self, view: &dyn View, space: &Space) -> Result<Arc<Delta>> {
        let revision = changes::revision(view, space)?;
        self.last.get(revision, || {
            if revision == self.revision {
                return Delta::read(view, space, Vec::new());
            }
            let theirs: HashMap<u64, u64> =
                changes::blocks(view, space)?.collect::<Result<_, _>>()?;
            let differs = |block: &&u64| theirs.get(block) != self.blocks.get(block);
            let mut stale: Vec<u64> =
                theirs.keys().chain(self.blocks.keys()).filter(differs).copied().collect();
            stale.sort_unstable();
            stale.dedup();
            Delta::read(view, space, stale)
        })
    }

    /// The `k` items whose vectors are nearest to a query of length 1, as the view of the delta has them. `among`: of
    /// these items alone, ascending.
    pub(crate) fn nearest(
        &self,
        delta: &Delta,
        query: &[f32],
        k: usize,
        among: Option<&[ItemNo]>,
    ) -> Nearest {
        let mut bits = self.rows.bits(among);
        for block in &delta.stale {
            let bound = |item: u64| self.rows.items.partition_point(|known| *known < item);
            let (from, to) = (bound(block * self.slots), bound((block + 1) * self.slots));
            let bits = bits.get_or_insert_with(|| self.rows.all_bits());
            (from..to).for_each(|row| bits[row / 64] &= !(1 << (row % 64)));
        }
        let mut best = self.rows.nearest(query, k, bits.as_deref());
        best.join(delta.nearest(query, k, among), k);
        best
    }
}

/// The bytes of so many vectors in memory.
pub(crate) fn bytes_of(count: u64, dim: u64) -> u64 {
    count.saturating_mul(dim).saturating_mul(size_of::<f32>() as u64)
}

impl Last {
    /// The delta at a revision, made unless it was the last one.
    pub(crate) fn get(
        &self,
        revision: u64,
        make: impl FnOnce() -> Result<Delta>,
    ) -> Result<Arc<Delta>> {
        // Entries are replaced whole, so what a panic left behind is complete.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, delta)) = &*lock()
            && *known == revision
        {
            return Ok(Arc::clone(delta));
        }
        let delta = Arc::new(make()?);
        *lock() = Some((revision, Arc::clone(&delta)));
        Ok(delta)
    }
}

impl Delta {
    /// The blocks that changed after a revision.
    pub(crate) fn since(view: &dyn View, space: &Space, revision: u64) -> Result<Delta> {
        let mut stale = Vec::new();
        if changes::revision(view, space)? > revision {
            for row in changes::blocks(view, space)? {
                let (block, changed) = row?;
                stale.extend((changed > revision).then_some(block));
            }
        }
        Delta::read(view, space, stale)
    }

    fn read(view: &dyn View, space: &Space, stale: Vec<u64>) -> Result<Delta> {
        let slots = u64::from(space.slots);
        let mut rows = Rows { dim: space.dim as usize, ..Rows::default() };
        for block in &stale {
            let first = block * slots;
            // The scan begins at the block, or at the next one where it is gone.
            let read = embeddings::scan(view, space, first)?.next().transpose()?;
            if let Some(read) = read.filter(|read| read.first == first) {
                read.iter().for_each(|(item, vector)| rows.push(item, vector));
            }
        }
        rows.normalise();
        Ok(Delta { slots, stale, rows })
    }

    /// The number of vectors that were read.
    pub(crate) fn len(&self) -> usize {
        self.rows.items.len()
    }

    /// Whether an item is in one of the blocks: whatever was built before says nothing of it.
    pub(crate) fn covers(&self, item: ItemNo) -> bool {
        self.stale.binary_search(&(item / self.slots)).is_ok()
    }

    /// How many items have their places in the blocks.
    pub(crate) fn places(&self) -> usize {
        self.stale.len() * self.slots as usize
    }

    /// The `k` items in the blocks that are nearest to a query of length 1; of those in `among` alone where it is given.
    pub(crate) fn nearest(&self, query: &[f32], k: usize, among: Option<&[ItemNo]>) -> Nearest {
        self.rows.nearest(query, k, self.rows.bits(among).as_deref())
    }
}

impl Rows {
    fn with_capacity(space: &Space) -> Self {
        let (count, dim) = (space.count as usize, space.dim as usize);
        Rows { dim, items: Vec::with_capacity(count), values: Vec::with_capacity(count * dim) }
    }

    fn push(&mut self, item: ItemNo, vector: &[f32]) {
        self.items.push(item);
        self.values.extend_from_slice(vector);
    }

    fn normalise(&mut self) {
        if self.dim > 0 {
            self.values.par_chunks_exact_mut(self.dim).for_each(normalise);
        }
    }

    /// A bit for every row.
    fn all_bits(&self) -> Vec<u64> {
        let mut bits = vec![u64::MAX; self.items.len().div_ceil(64)];
        if let Some(last) = bits.last_mut() {
            *last >>= (64 - self.items.len() % 64) % 64;
        }
        bits
    }

    /// A bit for each row whose item is among some, which ascend; nothing for all.
    fn bits(&self, among: Option<&[ItemNo]>) -> Option<Vec<u64>> {
        let among = among?;
        let mut bits = vec![0u64; self.items.len().div_ceil(64)];
        let mut row = 0;
        for item in among {
            // Near in most cases: items that are allowed come in runs.
            let step = self.items[row..].iter().take(8).take_while(|known| *known < item).count();
            row += step;
            if step == 8 {
                row += self.items[row..].partition_point(|known| known < item);
            }
            if self.items.get(row) == Some(item) {
                bits[row / 64] |= 1 << (row % 64);
            }
        }
        Some(bits)
    }

    fn nearest(&self, query: &[f32], k: usize, bits: Option<&[u64]>) -> Nearest {
        let found = flat::nearest(&self.values, query, k, bits);
        Nearest {
            found: found
                .into_iter()
                .map(|(row, score)| (self.items[row as usize], score))
                .collect(),
            scanned: bits.map_or(self.items.len(), |bits| {
                bits.iter().map(|word| word.count_ones() as usize).sum()
            }),
        }
    }
}

impl Nearest {
    /// Takes in what was found elsewhere. Equal cosines are ordered by item.
    pub(crate) fn join(&mut self, other: Nearest, k: usize) {
        self.scanned += other.scanned;
        if !other.found.is_empty() {
            self.found.extend(other.found);
            self.found.sort_by(order);
            self.found.truncate(k);
        }
    }
}

/// The greater cosine first, and of equal ones the item that came first.
pub(crate) fn order(a: &(ItemNo, f32), b: &(ItemNo, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The same for a space that is not held: its blocks are read and let go. Of `among`, the blocks of these items alone.
pub(crate) fn nearest_in_file(
    view: &dyn View,
    space: &Space,
    query: &[f32],
    k: usize,
    among: Option<&[ItemNo]>,
    progress: &Progress,
) -> Result<Nearest> {
    let mut best = Nearest::default();
    let mut rows = Rows { dim: space.dim as usize, ..Rows::default() };
    let mut search = |rows: &mut Rows, least: usize| -> Result<()> {
        if rows.items.len() >= least {
            progress.check()?;
            rows.normalise();
            best.join(rows.nearest(query, k, None), k);
            rows.items.clear();
            rows.values.clear();
        }
        Ok(())
    };
    match among {
        None => {
            for block in embeddings::scan(view, space, 0)? {
                block?.iter().for_each(|(item, vector)| rows.push(item, vector));
                search(&mut rows, CHUNK_ROWS)?;
            }
        }
        Some(among) => {
            let slots = u64::from(space.slots);
            for part in among.chunk_by(|a, b| a / slots == b / slots) {
                let first = part[0] / slots * slots;
                let read = embeddings::scan(view, space, first)?.next().transpose()?;
                if let Some(read) = read.filter(|read| read.first == first) {
                    let wanted = read.iter().filter(|(item, _)| part.binary_search(item).is_ok());
                    wanted.for_each(|(item, vector)| rows.push(item, vector));
                }
                search(&mut rows, CHUNK_ROWS)?;
            }
        }
    }
    search(&mut rows, 1)?;
    Ok(best)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use sidql_storage::{Item, Store, Write, items, spaces};

    use super::*;
    use crate::index::product::dot;

    /// A change of one vector: put, or removed.
    type Change = (u64, Option<[i8; 2]>);

    const DIM: usize = 5000;
    const ITEMS: u64 = 20;

    fn shop() -> Store {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        for item in 0..ITEMS {
            items::insert(&write, &Item { id: item.to_string(), fields: vec![] }).unwrap();
        }
        // Wide enough that a block holds few items, so that changes are spread over blocks.
        let space = Space { name: "wide".into(), dim: DIM as u32, ..Space::default() };
        spaces::create(&write, &space).unwrap();
        write.commit().unwrap();
        store
    }

    fn wide(pair: [i8; 2]) -> Vec<f32> {
        let mut vector = vec![0.0; DIM];
        (vector[0], vector[DIM - 1]) = (f32::from(pair[0]), f32::from(pair[1]));
        vector
    }

    fn apply(write: &Write, changes: &[Change]) {
        for (item, change) in changes {
            match change {
                Some(pair) => embeddings::put(write, "wide", *item, &wide(*pair)).unwrap(),
                None => embeddings::delete(write, "wide", *item).unwrap(),
            }
        }
    }

    fn committed(store: &Store, changes: &[Change]) {
        let write = store.write().unwrap();
        apply(&write, changes);
        write.commit().unwrap();
    }

    fn change() -> impl Strategy<Value = Change> {
        (0..ITEMS, prop::option::of([-2i8..3, -2i8..3]))
    }

    /// What sorting all vectors of a view gives.
    fn sorted(view: &dyn View, query: &[f32], k: usize, among: Option<&[ItemNo]>) -> Nearest {
        let space = spaces::must(view, "wide").unwrap();
        let items = (0..ITEMS).filter(|item| among.is_none_or(|among| among.contains(item)));
        let mut found: Vec<(ItemNo, f32)> = items
            .filter_map(|item| {
                let mut vector = embeddings::get(view, &space, item).unwrap()?;
                normalise(&mut vector);
                Some((item, dot(&vector, query)))
            })
            .collect();
        let scanned = found.len();
        found.sort_by(order);
        found.truncate(k);
        Nearest { found, scanned }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever was loaded when, every view finds what it would find alone: min(k, qualifying) rows, those of
        /// an exhaustive search, ties in the order of the items; and so does the file without anything held.
        #[test]
        fn every_view_sees_its_own(
            before in prop::collection::vec(change(), 0..30),
            after in prop::collection::vec(change(), 0..12),
            open in prop::collection::vec(change(), 0..6),
            query in [-2i8..3, -2i8..3],
            k in 1usize..25,
            among in prop::option::of(prop::collection::btree_set(0..ITEMS, 0..12)),
        ) {
            let store = shop();
            committed(&store, &before);
            let early = store.read().unwrap();
            committed(&store, &after);
            let late = store.read().unwrap();
            let write = store.write().unwrap();
            apply(&write, &open);
            let views: [&dyn View; 3] = [&early, &late, &write];
            let mut query = wide(query);
            normalise(&mut query);
            let among: Option<Vec<ItemNo>> = among.map(|set| set.into_iter().collect());
            let among = among.as_deref();
            let progress = Progress::silent();
            for from in views {
                let space = spaces::must(from, "wide").unwrap();
                let held = Vectors::load(from, &space, &progress).unwrap();
                for view in views {
                    let space = spaces::must(view, "wide").unwrap();
                    let delta = held.delta(view, &space).unwrap();
                    let exact = sorted(view, &query, k, among);
                    prop_assert_eq!(&held.nearest(&delta, &query, k, among), &exact);
                    let file = nearest_in_file(view, &space, &query, k, among, &progress).unwrap();
                    prop_assert_eq!(&file, &exact);
                }
            }
        }

        /// Outside the blocks that changed since, an earlier state and the view agree; in them the delta has the view's.
        #[test]
        fn a_delta_is_what_came_since(
            before in prop::collection::vec(change(), 0..30),
            after in prop::collection::vec(change(), 0..12),
        ) {
            let store = shop();
            committed(&store, &before);
            let early = store.read().unwrap();
            committed(&store, &after);
            let late = store.read().unwrap();
            let space = |view: &dyn View| spaces::must(view, "wide").unwrap();
            let revision = changes::revision(&early, &space(&early)).unwrap();
            let delta = Delta::since(&late, &space(&late), revision).unwrap();
            for item in 0..ITEMS {
                let now = embeddings::get(&late, &space(&late), item).unwrap();
                if delta.covers(item) {
                    prop_assert_eq!(delta.rows.items.contains(&item), now.is_some());
                } else {
                    prop_assert_eq!(now, embeddings::get(&early, &space(&early), item).unwrap());
                }
            }
        }
    }
}
