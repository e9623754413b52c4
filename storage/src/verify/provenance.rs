//! The walk through models, origins, evidence, stamps and failures.

use std::collections::BTreeMap;

use super::Walk;
use crate::codec::{archive, key};
use crate::error::Result;
use crate::record::{Evidence, EvidenceKind, Failure, Model, Origin, OriginNo, Stamp};
use crate::table::counters::Counter;
use crate::table::{Table, evidence};

impl Walk<'_> {
    /// Models.
    pub(super) fn models(&mut self) -> Result<()> {
        self.each_record::<Model>(Table::Models, |walk, row_key, model| {
            if model.name.as_bytes() != row_key {
                walk.problem(Table::Models, row_key, format!("it is called `{}`", model.name));
            }
            Ok(())
        })
    }

    /// Origins.
    pub(super) fn origins(&mut self) -> Result<()> {
        let bound = self.counter(Counter::Origin)?;
        self.each_record::<Origin>(Table::Origins, |walk, row_key, origin| {
            if origin.number.to_be_bytes() != row_key || u64::from(origin.number) >= bound {
                walk.problem(Table::Origins, row_key, format!("its number is {}", origin.number));
            }
            walk.origins.insert(origin.number);
            Ok(())
        })
    }

    /// Evidence: it says something, of items that exist, and is all counted.
    pub(super) fn evidence(&mut self) -> Result<()> {
        let mut counts: BTreeMap<EvidenceKind, u64> = BTreeMap::new();
        self.each(Table::Evidence, |walk, row_key, value| {
            let (kind, item) = key::read_tagged(Table::Evidence, row_key)?;
            // A damaged row is a row all the same.
            for known in EvidenceKind::ALL.into_iter().filter(|known| *known as u8 == kind) {
                *counts.entry(known).or_default() += 1;
            }
            let found: Evidence = archive::decode(Table::Evidence, row_key, value)?;
            if found.body.kind() as u8 != kind {
                let what = format!("it is of kind {}", found.body.kind().name());
                walk.problem(Table::Evidence, row_key, what);
            }
            if let Some(fault) = found.body.fault() {
                walk.problem(Table::Evidence, row_key, fault);
            }
            walk.names_item(Table::Evidence, row_key, item);
            walk.names_origin(Table::Evidence, row_key, found.stamp.origin);
            Ok(())
        })?;
        for kind in EvidenceKind::ALL {
            let tally = evidence::tally(kind);
            let counted = self.counter(tally)?;
            let found = counts.get(&kind).copied().unwrap_or(0);
            if counted != found {
                let what = format!("{counted} of kind {} counted, {found} found", kind.name());
                self.problem(Table::Counters, &tally.key(), what);
            }
        }
        Ok(())
    }

    /// Stamps: each belongs to a vector.
    pub(super) fn stamps(&mut self) -> Result<()> {
        self.each_record::<Stamp>(Table::Stamps, |walk, row_key, stamp| {
            let (number, item) = key::read_pair(Table::Stamps, row_key)?;
            walk.names_item(Table::Stamps, row_key, item);
            walk.names_origin(Table::Stamps, row_key, stamp.origin);
            if !walk.spaces.contains_key(&number) {
                let what = format!("space {number} does not exist");
                walk.problem(Table::Stamps, row_key, what);
            } else if !walk.has_vector(number, item) {
                let what = format!("item {item} has no vector");
                walk.problem(Table::Stamps, row_key, what);
            }
            Ok(())
        })
    }

    /// Failures: of jobs and items that exist.
    pub(super) fn failures(&mut self) -> Result<()> {
        self.each_record::<Failure>(Table::Failures, |walk, row_key, _| {
            let (job, item) = key::read_wide(Table::Failures, row_key)?;
            walk.names_item(Table::Failures, row_key, item);
            if !walk.jobs.contains(&job) {
                walk.problem(Table::Failures, row_key, format!("job {job} does not exist"));
            }
            Ok(())
        })
    }

    fn has_vector(&self, space: u32, item: u64) -> bool {
        self.vectors.get(&space).is_some_and(|items| items.binary_search(&item).is_ok())
    }

    fn names_item(&mut self, table: Table, row_key: &[u8], item: u64) {
        if !self.has_item(item) {
            self.problem(table, row_key, format!("item {item} does not exist"));
        }
    }

    fn names_origin(&mut self, table: Table, row_key: &[u8], origin: OriginNo) {
        if !self.origins.contains(&origin) {
            self.problem(table, row_key, format!("origin {origin} does not exist"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::{Body, Descriptor, Item};
    use crate::store::Store;
    use crate::table::{items, origins, rows};

    /// What no module of a table would store is told all the same.
    #[test]
    fn evidence_that_cannot_be_is_told() {
        let list = |text: &str, confidence: f32| {
            Body::Descriptors(vec![Descriptor { text: text.into(), confidence: Some(confidence) }])
        };
        let quality = |score| Body::Quality { labels: vec![true], score };
        let cases = [
            (EvidenceKind::Caption, Body::Caption(String::new()), "the caption is empty"),
            (EvidenceKind::Caption, quality(0.5), "it is of kind quality"),
            (EvidenceKind::Intent, Body::Descriptors(vec![]), "the list of descriptors is empty"),
            (EvidenceKind::Intent, list("", 0.5), "a descriptor is empty"),
            (EvidenceKind::Intent, list("x", f32::NAN), "a confidence is not within 0 and 1"),
            (EvidenceKind::Intent, list("x", -0.5), "a confidence is not within 0 and 1"),
            (
                EvidenceKind::Quality,
                quality(f32::INFINITY),
                "the quality score is not within 0 and 1",
            ),
            (EvidenceKind::Quality, quality(1.5), "the quality score is not within 0 and 1"),
        ];
        for (kind, body, what) in cases {
            let store = Store::in_memory().unwrap();
            let write = store.write().unwrap();
            let item = items::insert(&write, &Item { id: "x".into(), fields: vec![] }).unwrap();
            let origin = origins::intern(&write, &Origin::default()).unwrap();
            let evidence = Evidence { stamp: Stamp { origin, ..Stamp::default() }, body };
            let row_key = key::tagged(kind as u8, item);
            rows::put(&write, Table::Evidence, &row_key, &evidence).unwrap();
            write.commit().unwrap();
            let report = store.verify(&store.read().unwrap(), &mut |_, _| ()).unwrap();
            let told: Vec<_> = report.problems.iter().map(|one| one.what.as_str()).collect();
            let uncounted = format!("0 of kind {} counted, 1 found", kind.name());
            assert_eq!(told, [what, &uncounted]);
        }
    }
}
