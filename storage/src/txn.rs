//! Read and Write: the only two doors to the tables.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use redb::{ReadOnlyTable, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};

use crate::codec::key::Key;
use crate::error::{Error, Result};
use crate::record::GenerationNo;
use crate::store::{Shared, Ticket};
use crate::table::counters::{self, COUNTERS, Counter};
use crate::table::{TABLES, Table, TableInfo, generations};
use crate::view::{Bytes, Rows, Touched, View};

pub(crate) type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Opened = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A scan of a write transaction copies this many rows at a time.
const SCAN_ROWS: usize = 256;
/// A scan of a write transaction copies no more than about this many bytes at a time.
const SCAN_BYTES: usize = 1 << 20;

pub(crate) fn raw(table: Table) -> Raw {
    TableDefinition::new(table.name())
}

/// Runs what touches pages. On pages that something else than redb has changed redb may panic; that is
/// damage like any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = "its pages contradict each other".to_owned();
        Err(Error::Corrupt { table: "file", key: "unknown".to_owned(), what })
    })
}

/// A snapshot: what was committed when it was taken, unchanged for as long as it lives. Cheap to clone.
#[derive(Clone)]
pub struct Read {
    inner: Arc<ReadInner>,
}

struct ReadInner {
    txn: redb::ReadTransaction,
    format: u32,
    moment: Option<u64>,
    tables: [OnceLock<Opened>; TABLES.len()],
}

/// The room that a table takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSpace {
    /// The table.
    pub table: Table,
    /// Its rows.
    pub rows: u64,
    /// The bytes of its keys and values.
    pub stored_bytes: u64,
    /// The bytes of the pages it lies on.
    pub page_bytes: u64,
}

impl Read {
    pub(crate) fn new(txn: redb::ReadTransaction, format: u32, moment: Option<u64>) -> Self {
        let tables = std::array::from_fn(|_| OnceLock::new());
        Read { inner: Arc::new(ReadInner { txn, format, moment, tables }) }
    }

    /// Snapshots of one open store that have the same moment see the same file, whatever changed in it: a stamp for
    /// what was derived from a snapshot. None where the snapshot was taken beside a commit.
    pub fn moment(&self) -> Option<u64> {
        self.inner.moment
    }

    /// The tables that a file of this format has.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &'static TableInfo> + use<> {
        let format = self.inner.format;
        TABLES.iter().filter(move |info| info.since <= format)
    }

    /// A table, unless it was born later than the format of the file; then it reads as empty.
    fn table(&self, table: Table) -> Result<Option<&Opened>> {
        if table.info().since > self.inner.format {
            return Ok(None);
        }
        let slot = &self.inner.tables[table.index()];
        if let Some(opened) = slot.get() {
            return Ok(Some(opened));
        }
        let opened = guarded(|| Ok(self.inner.txn.open_table(raw(table))?))?;
        Ok(Some(slot.get_or_init(|| opened)))
    }

    pub(crate) fn space(&self, table: Table) -> Result<TableSpace> {
        let Some(opened) = self.table(table)? else {
            return Ok(TableSpace { table, rows: 0, stored_bytes: 0, page_bytes: 0 });
        };
        let stats = guarded(|| Ok(opened.stats()?))?;
        Ok(TableSpace {
            table,
            rows: opened.len()?,
            stored_bytes: stats.stored_bytes(),
            page_bytes: stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes(),
        })
    }
}

impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Read")
    }
}

impl View for Read {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(opened) = self.table(table)? else { return Ok(None) };
        guarded(|| Ok(opened.get(key)?.map(Bytes::page)))
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>> {
        let Some(opened) = self.table(table)? else { return Ok(Box::new(std::iter::empty())) };
        let mut rows = guarded(|| Ok(opened.range::<&[u8]>((from, to))?))?;
        let mut failed = false;
        Ok(Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let row = guarded(|| rows.next().map(own).transpose()).transpose();
            failed = matches!(row, Some(Err(_)));
            row
        })))
    }

    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<(Bytes, Bytes)>> {
        let Some(opened) = self.table(table)? else { return Ok(None) };
        guarded(|| opened.range::<&[u8]>(..=key)?.next_back().map(own).transpose())
    }

    fn len(&self, table: Table) -> Result<u64> {
        Ok(self.table(table)?.map_or(Ok(0), ReadableTableMetadata::len)?)
    }

    fn counter(&self, counter: Counter) -> Result<u64> {
        stored_counter(self, counter)
    }

    fn touched(&self, _generation: GenerationNo) -> Option<Touched> {
        None
    }
}

type Guarded = redb::AccessGuard<'static, &'static [u8]>;

/// Takes a row of a snapshot: the key copied, the value on its page.
fn own(row: Result<(Guarded, Guarded), redb::StorageError>) -> Result<(Bytes, Bytes)> {
    let (key, value) = row?;
    Ok((Bytes::copy(key.value()), Bytes::page(value)))
}

fn stored_counter(view: &dyn View, counter: Counter) -> Result<u64> {
    match view.get(Table::Counters, &counter.key())? {
        None => Ok(counter.first()),
        Some(value) => counters::decode(Table::Counters, &counter.key(), &value),
    }
}

/// The write transaction. There is one at a time; dropping it takes everything back.
///
/// It sees its own changes. What it changes becomes visible to others, all at once, when it commits.
pub struct Write {
    txn: Option<redb::WriteTransaction>,
    pending: Mutex<Pending>,
    shared: Arc<Shared>,
    _ticket: Ticket,
}

/// What is kept in memory until the commit, because it changes with almost every row.
#[derive(Default)]
struct Pending {
    counters: BTreeMap<Counter, u64>,
    touched: BTreeMap<GenerationNo, Touched>,
}

impl Write {
    pub(crate) fn new(txn: redb::WriteTransaction, shared: Arc<Shared>, ticket: Ticket) -> Self {
        Write { txn: Some(txn), pending: Mutex::default(), shared, _ticket: ticket }
    }

    /// Makes everything durable and visible. When this fails nothing has changed, and the store
    /// refuses to write until it is opened again.
    pub fn commit(mut self) -> Result<()> {
        self.flush()?;
        let txn = self.txn.take().ok_or(Error::Closed)?;
        let commit = || guarded(|| Ok(txn.commit()?));
        self.shared.committing(commit).inspect_err(|_| self.shared.poison())
    }

    /// Takes everything back, as dropping does, but tells of errors.
    pub fn rollback(mut self) -> Result<()> {
        match self.txn.take() {
            Some(txn) => guarded(|| Ok(txn.abort()?)),
            None => Ok(()),
        }
    }

    fn flush(&self) -> Result<()> {
        let pending = std::mem::take(&mut *self.pending());
        for (number, touched) in pending.touched {
            generations::store_touched(self, number, touched)?;
        }
        let revision = self.shared.revision();
        let counters = pending.counters.into_iter().chain([(Counter::Revision, revision)]);
        for (counter, value) in counters {
            let value = counters::encode(Table::Counters, value)?;
            self.put(Table::Counters, &counter.key(), &value)?;
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, table: Table) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>> {
        let txn = self.txn.as_ref().ok_or(Error::Closed)?;
        txn.open_table(raw(table)).map_err(|error| match error {
            TableError::TableAlreadyOpen(..) => {
                Error::Conflict(format!("table {} is being written elsewhere", table.name()))
            }
            other => other.into(),
        })
    }

    /// Makes the tables of an empty file.
    pub(crate) fn create_tables(&self) -> Result<()> {
        for info in &TABLES {
            self.create_table(info.table)?;
        }
        for counter in COUNTERS {
            let value = counters::encode(Table::Counters, counter.first())?;
            self.put(Table::Counters, &counter.key(), &value)?;
        }
        Ok(())
    }

    /// Makes a table, unless it is there.
    pub(crate) fn create_table(&self, table: Table) -> Result<()> {
        guarded(|| self.open(table).map(|_| ()))
    }

    /// Stores a framed value under a key.
    pub(crate) fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        guarded(|| {
            self.open(table)?.insert(key, value)?;
            Ok(())
        })
    }

    /// Stores many rows with the table opened once. Ascending keys make the smallest file.
    pub(crate) fn put_all<K: AsRef<[u8]>>(
        &self,
        table: Table,
        rows: impl IntoIterator<Item = Result<(K, Vec<u8>)>>,
    ) -> Result<()> {
        guarded(|| {
            let mut opened = self.open(table)?;
            for row in rows {
                let (key, value) = row?;
                opened.insert(key.as_ref(), value.as_slice())?;
            }
            Ok(())
        })
    }

    /// Stores a framed value under a key; tells whether one was there.
    pub(crate) fn replace(&self, table: Table, key: &[u8], value: &[u8]) -> Result<bool> {
        guarded(|| Ok(self.open(table)?.insert(key, value)?.is_some()))
    }

    /// Removes a row; tells whether it was there.
    pub(crate) fn remove(&self, table: Table, key: &[u8]) -> Result<bool> {
        guarded(|| Ok(self.open(table)?.remove(key)?.is_some()))
    }

    /// Removes many rows with the table opened once; tells how many were there.
    pub(crate) fn remove_all<K: AsRef<[u8]>>(
        &self,
        table: Table,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<u64> {
        guarded(|| {
            let mut opened = self.open(table)?;
            let mut removed = 0;
            for key in keys {
                removed += u64::from(opened.remove(key.as_ref())?.is_some());
            }
            Ok(removed)
        })
    }

    /// Removes all rows whose keys begin with a prefix.
    pub(crate) fn remove_prefix(&self, table: Table, prefix: &[u8]) -> Result<()> {
        let after = crate::codec::key::after(prefix);
        let upper = crate::codec::key::upper(after.as_ref());
        guarded(|| {
            let mut opened = self.open(table)?;
            opened.retain_in::<&[u8], _>((Bound::Included(prefix), upper), |_, _| false)?;
            Ok(())
        })
    }

    /// Gives the next number of a counter.
    pub(crate) fn next(&self, counter: Counter) -> Result<u64> {
        let number = self.counter(counter)?;
        self.pending().counters.insert(counter, number + 1);
        Ok(number)
    }

    /// Adds to a tally.
    pub(crate) fn tally(&self, counter: Counter, by: i64) -> Result<()> {
        let sum = self.counter(counter)?.saturating_add_signed(by);
        self.pending().counters.insert(counter, sum);
        Ok(())
    }

    /// Notes that the SIDs of a generation changed.
    pub(crate) fn touch(&self, generation: GenerationNo, items: i64) {
        let revision = self.shared.next_revision();
        let mut pending = self.pending();
        let touched = pending.touched.entry(generation).or_default();
        touched.revision = revision;
        touched.items += items;
    }

    /// Gives a revision, which no other change has or will have.
    pub(crate) fn next_revision(&self) -> u64 {
        self.shared.next_revision()
    }

    /// Forgets what was noted about a generation, because its record was stored or removed.
    pub(crate) fn settle(&self, generation: GenerationNo) {
        self.pending().touched.remove(&generation);
    }

    fn batch(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Batch> {
        guarded(|| {
            let opened = self.open(table)?;
            let mut rows = Vec::new();
            let mut bytes = 0;
            for row in opened.range::<&[u8]>((from, to))? {
                let (key, value) = row?;
                bytes += key.value().len() + value.value().len();
                rows.push((Bytes::copy(key.value()), Bytes::copy(value.value())));
                if rows.len() >= SCAN_ROWS || bytes >= SCAN_BYTES {
                    return Ok(Batch { rows, more: true });
                }
            }
            Ok(Batch { rows, more: false })
        })
    }
}

struct Batch {
    rows: Vec<(Bytes, Bytes)>,
    more: bool,
}

impl Drop for Write {
    fn drop(&mut self) {
        // An error here can only be a failed write, which the next use of the file reports.
        if let Some(txn) = self.txn.take() {
            let _ = guarded(|| Ok(txn.abort()?));
        }
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Write")
    }
}

impl View for Write {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        guarded(|| Ok(self.open(table)?.get(key)?.map(|value| Bytes::copy(value.value()))))
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>> {
        let to = to.map(Key::from_slice);
        let first = self.batch(table, from, to.as_ref().map(Key::as_slice))?;
        Ok(Box::new(WriteScan {
            write: self,
            table,
            to,
            last: first.rows.last().map(|(key, _)| Key::from_slice(key)),
            more: first.more,
            rows: first.rows.into_iter(),
        }))
    }

    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<(Bytes, Bytes)>> {
        guarded(|| {
            let opened = self.open(table)?;
            let row = opened.range::<&[u8]>(..=key)?.next_back();
            let copied = row.map(|row| {
                let (key, value) = row?;
                Ok((Bytes::copy(key.value()), Bytes::copy(value.value())))
            });
            copied.transpose()
        })
    }

    fn len(&self, table: Table) -> Result<u64> {
        Ok(self.open(table)?.len()?)
    }

    fn counter(&self, counter: Counter) -> Result<u64> {
        let known = self.pending().counters.get(&counter).copied();
        known.map_or_else(|| stored_counter(self, counter), Ok)
    }

    fn touched(&self, generation: GenerationNo) -> Option<Touched> {
        self.pending().touched.get(&generation).copied()
    }
}

/// A table cannot be open twice in a write transaction, so a scan reads ahead and lets go of it.
struct WriteScan<'w> {
    write: &'w Write,
    table: Table,
    to: Bound<Key>,
    last: Option<Key>,
    more: bool,
    rows: std::vec::IntoIter<(Bytes, Bytes)>,
}

impl Iterator for WriteScan<'_> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.rows.next() {
            return Some(Ok(row));
        }
        let last = self.last.take().filter(|_| self.more)?;
        let to = self.to.as_ref().map(Key::as_slice);
        match self.write.batch(self.table, Bound::Excluded(last.as_slice()), to) {
            Err(error) => {
                self.more = false;
                Some(Err(error))
            }
            Ok(batch) => {
                self.last = batch.rows.last().map(|(key, _)| Key::from_slice(key));
                self.more = batch.more;
                self.rows = batch.rows.into_iter();
                self.rows.next().map(Ok)
            }
        }
    }
}
