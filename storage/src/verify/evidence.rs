//! The walk through models, origins, evidence, stamps and failures.

use super::Walk;
use crate::codec::key;
use crate::error::Result;
use crate::record::{Evidence, Failure, ItemNo, Model, Origin, OriginNo, Stamp};
use crate::table::{Table, evidence, failures};

impl Walk<'_> {
    /// Origins.
    pub(super) fn origins(&mut self) -> Result<()> {
        self.each_record::<Origin>(Table::Origins, |walk, row_key, origin| {
            if origin.number.to_be_bytes() != row_key {
                walk.problem(Table::Origins, row_key, format!("its number is {}", origin.number));
            }
            walk.origins.insert(origin.number);
            Ok(())
        })
    }

    /// Models.
    pub(super) fn models(&mut self) -> Result<()> {
        self.each_record::<Model>(Table::Models, |walk, row_key, model| {
            if model.name.as_bytes() != row_key {
                walk.problem(Table::Models, row_key, format!("it is called `{}`", model.name));
            }
            Ok(())
        })
    }

    /// Evidence: of its key's kind, sound, about an item that is there.
    pub(super) fn evidence(&mut self) -> Result<()> {
        self.each_record::<Evidence>(Table::Evidence, |walk, row_key, found| {
            let (kind, item) = evidence::read_key(row_key)?;
            if found.body.kind() != kind {
                walk.problem(Table::Evidence, row_key, "it is of another kind");
            }
            if let Some(fault) = found.body.fault() {
                walk.problem(Table::Evidence, row_key, fault);
            }
            walk.derived(Table::Evidence, row_key, item, found.stamp.origin);
            Ok(())
        })
    }

    /// Stamps: each of a vector that is there.
    pub(super) fn stamps(&mut self) -> Result<()> {
        self.each_record::<Stamp>(Table::Stamps, |walk, row_key, stamp| {
            let (number, item) = key::read_pair(Table::Stamps, row_key)?;
            walk.derived(Table::Stamps, row_key, item, stamp.origin);
            let vectors = walk.vectors.get(&number);
            if vectors.is_none_or(|items| items.binary_search(&item).is_err()) {
                walk.problem(Table::Stamps, row_key, "there is no such vector");
            }
            Ok(())
        })
    }

    /// Failures: each of a job and an item that are there.
    pub(super) fn failures(&mut self) -> Result<()> {
        self.each_record::<Failure>(Table::Failures, |walk, row_key, _| {
            let (job, item) = failures::read_key(row_key)?;
            if !walk.jobs.contains(&job) {
                walk.problem(Table::Failures, row_key, format!("job {job} does not exist"));
            }
            if !walk.has_item(item) {
                walk.problem(Table::Failures, row_key, format!("item {item} does not exist"));
            }
            Ok(())
        })
    }

    /// What every derived value must have: an item and an origin.
    fn derived(&mut self, table: Table, row_key: &[u8], item: ItemNo, origin: OriginNo) {
        if !self.has_item(item) {
            self.problem(table, row_key, format!("item {item} does not exist"));
        }
        if !self.origins.contains(&origin) {
            self.problem(table, row_key, format!("origin {origin} does not exist"));
        }
    }
}
