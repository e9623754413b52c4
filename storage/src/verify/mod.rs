//! A walk through every row and every reference of a snapshot.
//!
//! Each row is read as strictly as it can be: frame, checksum, archive, meaning. What one table says of
//! another is checked against what was found there. A damaged row is reported and the walk goes on.

mod artefacts;
mod catalogue;
mod derived;
mod provenance;
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::codec::archive::{self, Stored};
use crate::error::{Error, Result};
use crate::record::{
    BlobNo, Codebook, Field, Generation, GenerationNo, ItemNo, JobNo, OriginNo, Space,
};
use crate::table::Table;
use crate::table::blobs::BlobInfo;
use crate::txn::Read;
use crate::view::View;

/// No more problems than this are told one by one.
pub const MAX_PROBLEMS: usize = 1000;
/// Progress is told after this many rows.
const PROGRESS_ROWS: u64 = 1024;

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Each table with the number of its rows that were checked.
    pub tables: Vec<(Table, u64)>,
    /// What is wrong, the first `MAX_PROBLEMS` of all.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub found: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The table it lies in.
    pub table: Table,
    /// The key of the row as readable text.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.table.name(), self.key, self.what)
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }

    /// The number of rows that were checked.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|(_, rows)| rows).sum()
    }
}

/// The state of a walk: what was found so far, for those who refer to it.
pub(crate) struct Walk<'a> {
    read: &'a Read,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    report: Report,
    fields: Vec<Field>,
    items: Vec<u64>,
    users: Vec<u64>,
    blobs: BTreeMap<BlobNo, (BlobInfo, bool)>,
    spaces: BTreeMap<u32, Space>,
    codebooks: BTreeMap<String, Codebook>,
    generations: BTreeMap<GenerationNo, Generation>,
    vectors: BTreeMap<u32, Vec<ItemNo>>,
    jobs: BTreeSet<JobNo>,
    origins: BTreeSet<OriginNo>,
}

pub(crate) fn verify(read: &Read, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let mut total = 0;
    for info in read.tables() {
        total += read.len(info.table)?;
    }
    let mut walk = Walk {
        read,
        progress,
        done: 0,
        total,
        report: Report::default(),
        fields: Vec::new(),
        items: Vec::new(),
        users: Vec::new(),
        blobs: BTreeMap::new(),
        spaces: BTreeMap::new(),
        codebooks: BTreeMap::new(),
        generations: BTreeMap::new(),
        vectors: BTreeMap::new(),
        jobs: BTreeSet::new(),
        origins: BTreeSet::new(),
    };
    walk.small_tables()?;
    walk.blobs()?;
    walk.items()?;
    walk.users()?;
    walk.histories()?;
    walk.spaces()?;
    walk.embeddings()?;
    walk.codebooks()?;
    walk.generations()?;
    walk.sids()?;
    walk.policies()?;
    walk.jobs()?;
    walk.evaluations()?;
    walk.models()?;
    walk.origins()?;
    walk.evidence()?;
    walk.stamps()?;
    walk.failures()?;
    walk.indexes()?;
    walk.changes()?;
    walk.orphans();
    (walk.progress)(total, total);
    walk.report.tables.sort_by_key(|(table, _)| table.index());
    Ok(walk.report)
}

impl Walk<'_> {
    /// Notes that something is wrong.
    fn problem(&mut self, table: Table, key: &[u8], what: impl Into<String>) {
        let key = crate::dump::key_text(table.name(), key);
        self.note(table, key, what.into());
    }

    fn note(&mut self, table: Table, key: String, what: String) {
        self.report.found += 1;
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { table, key, what });
        }
    }

    /// Takes what could be read, or notes why it could not. Errors of the disk end the walk.
    fn accept<T>(&mut self, table: Table, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { table: name, key, what }) => {
                self.note(Table::named(name).unwrap_or(table), key, what);
                Ok(None)
            }
            Err(Error::Invalid(what)) => {
                self.note(table, "?".to_owned(), what);
                Ok(None)
            }
            Err(Error::NotSidql) => {
                self.note(table, "?".to_owned(), "not the format row of a sidql file".to_owned());
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Calls `look` with every row of a table.
    fn each(
        &mut self,
        table: Table,
        mut look: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let read = self.read.clone();
        let mut checked = 0;
        for row in read.scan(table, Bound::Unbounded, Bound::Unbounded)? {
            let Some((key, value)) = self.accept(table, row)? else { break };
            let looked = look(self, &key, &value);
            self.accept(table, looked)?;
            checked += 1;
            self.done += 1;
            if self.done.is_multiple_of(PROGRESS_ROWS) {
                (self.progress)(self.done, self.total);
            }
        }
        self.report.tables.push((table, checked));
        Ok(())
    }

    /// Calls `look` with every record of a table.
    fn each_record<T: Stored>(
        &mut self,
        table: Table,
        mut look: impl FnMut(&mut Self, &[u8], T) -> Result<()>,
    ) -> Result<()> {
        self.each(table, |walk, key, value| {
            let record = archive::decode(table, key, value)?;
            look(walk, key, record)
        })
    }

    fn has_item(&self, item: u64) -> bool {
        self.items.binary_search(&item).is_ok()
    }

    /// Notes that a record names a blob, which must be there.
    fn names_blob(&mut self, table: Table, key: &[u8], blob: Option<BlobNo>) {
        let Some(blob) = blob else { return };
        match self.blobs.get_mut(&blob) {
            None => self.problem(table, key, format!("it names blob {blob}, which does not exist")),
            Some((_, true)) => {
                self.problem(table, key, format!("it names blob {blob}, as another record does"));
            }
            Some((_, named)) => *named = true,
        }
    }
}
