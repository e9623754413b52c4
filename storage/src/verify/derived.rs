//! The walk through what follows from the rest: vector indexes, revisions of vectors.

use std::collections::BTreeMap;

use super::Walk;
use crate::error::Result;
use crate::record::Index;
use crate::table::counters::Counter;
use crate::table::{Table, changes};

impl Walk<'_> {
    /// Vector indexes: of spaces that exist. One built from an earlier state of its space is sound.
    pub(super) fn indexes(&mut self) -> Result<()> {
        self.each_record::<Index>(Table::Indexes, |walk, row_key, index| {
            if index.name.as_bytes() != row_key {
                walk.problem(Table::Indexes, row_key, format!("it is called `{}`", index.name));
            }
            if !walk.spaces.values().any(|space| space.name == index.space) {
                let what = format!("embedding space `{}` does not exist", index.space);
                walk.problem(Table::Indexes, row_key, what);
            }
            walk.names_blob(Table::Indexes, row_key, index.artefact);
            Ok(())
        })
    }

    /// Revisions of vectors: of spaces that exist, and that of a space is the last of its blocks.
    pub(super) fn changes(&mut self) -> Result<()> {
        let last = self.counter(Counter::Revision)?;
        let mut heads: BTreeMap<u32, u64> = BTreeMap::new();
        let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
        self.each(Table::Changes, |walk, row_key, value| {
            let (space, block, revision) = changes::decode(row_key, value)?;
            if !walk.spaces.contains_key(&space) {
                let what = format!("space {space} does not exist");
                walk.problem(Table::Changes, row_key, what);
            }
            if revision == 0 || revision > last {
                let what = format!("revision {revision} was never given");
                walk.problem(Table::Changes, row_key, what);
            }
            if block.is_none() {
                heads.insert(space, revision);
            } else {
                let newest = newest.entry(space).or_default();
                *newest = revision.max(*newest);
            }
            Ok(())
        })?;
        for (space, newest) in newest {
            if heads.get(&space) != Some(&newest) {
                let what = format!("its blocks changed at revision {newest}, the space did not");
                self.problem(Table::Changes, &space.to_be_bytes(), what);
            }
        }
        Ok(())
    }
}
