//! The store: an open file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, ReadOnlyDatabase, ReadableDatabase, StorageBackend};

use crate::error::{Error, Result};
use crate::migrate::{self, FORMAT, OLDEST_FORMAT};
use crate::table::TABLES;
use crate::table::counters::Counter;
use crate::txn::{Read, TableSpace, Write, guarded, raw};
use crate::verify::{self, Report};
use crate::view::View;

/// How much of the file is kept in memory unless the caller says otherwise.
const CACHE_BYTES: usize = 256 << 20;
/// A backup commits after about this many bytes, so that memory stays bounded.
const BACKUP_BATCH: usize = 64 << 20;

/// How to open a file.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Refuse to change anything. Several processes can read a file at a time.
    pub read_only: bool,
    /// Make the file if there is none.
    pub create: bool,
    /// How much of the file to keep in memory, in bytes.
    pub cache_bytes: usize,
    /// Read the whole file and check every page before trusting it. Without it damage is told when it is
    /// met. A read-only file is not checked.
    pub check_pages: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { read_only: false, create: true, cache_bytes: CACHE_BYTES, check_pages: false }
    }
}

/// An open file. Clones share it; it closes with the last one.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    file: RwLock<File>,
    path: Option<PathBuf>,
    gate: Arc<Gate>,
    poisoned: AtomicBool,
    format: AtomicU32,
    revision: AtomicU64,
    /// Odd while a commit is on its way, and one more before and after each.
    commits: AtomicU64,
}

enum File {
    Writable(Box<Database>),
    ReadOnly(ReadOnlyDatabase),
    Closed,
}

/// Lets one writer through at a time. It stands before redb's own gate, because `compact` and `close`
/// need the file for themselves and must not wait while they hold the lock on it.
#[derive(Default)]
struct Gate {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// The right to write; given back when dropped.
pub(crate) struct Ticket {
    gate: Arc<Gate>,
}

impl Gate {
    fn enter(self: &Arc<Self>) -> Ticket {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Ticket { gate: Arc::clone(self) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        *self.gate.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.gate.freed.notify_one();
    }
}

impl Shared {
    fn file(&self) -> RwLockReadGuard<'_, File> {
        self.file.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_mut(&self) -> RwLockWriteGuard<'_, File> {
        self.file.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn next_revision(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Runs a commit so that snapshots can tell whether they were taken beside it.
    pub(crate) fn committing<T>(&self, commit: impl FnOnce() -> T) -> T {
        self.commits.fetch_add(1, Ordering::AcqRel);
        let done = commit();
        self.commits.fetch_add(1, Ordering::AcqRel);
        done
    }
}

impl Store {
    /// Opens a file, and makes it if the options say so. One of an older format is brought to the newest,
    /// unless it is opened for reading only; then it stays as it is and reads as it always did.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        builder.set_check_integrity_on_open(options.check_pages);
        let file = guarded(|| {
            Ok(if options.read_only {
                File::ReadOnly(builder.open_read_only(path)?)
            } else if options.create {
                File::Writable(Box::new(builder.create(path)?))
            } else {
                File::Writable(Box::new(builder.open(path)?))
            })
        })?;
        Store::start(file, Some(path.to_owned()))
    }

    /// Makes a file where there is none yet.
    pub fn create(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            return Err(Error::Conflict(format!("`{}` exists already", path.display())));
        }
        Store::open(path, &OpenOptions { create: true, read_only: false, ..options.clone() })
    }

    /// A store that lives in memory and goes with its last clone.
    pub fn in_memory() -> Result<Self> {
        Store::with_backend(redb::backends::InMemoryBackend::new())
    }

    /// A store on a backend of the caller's, for tests of faults.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = guarded(|| Ok(builder.create_with_backend(backend)?))?;
        Store::start(File::Writable(Box::new(database)), None)
    }

    fn start(file: File, path: Option<PathBuf>) -> Result<Self> {
        let shared = Shared {
            file: RwLock::new(file),
            path,
            gate: Arc::default(),
            poisoned: AtomicBool::new(false),
            // What every file has, until the file says more.
            format: AtomicU32::new(OLDEST_FORMAT),
            revision: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        };
        let store = Store { shared: Arc::new(shared) };
        if store.is_empty()? {
            let write = store.write()?;
            write.create_tables()?;
            migrate::mark(&write)?;
            write.commit()?;
        }
        let read = store.read()?;
        let found = migrate::check(&read)?;
        // Before anything is written, since every commit stores the revision.
        let revision = read.counter(Counter::Revision)?;
        store.shared.revision.store(revision, Ordering::Release);
        drop(read);
        if found < FORMAT && !store.is_read_only() {
            let write = store.write()?;
            migrate::run(&write, found)?;
            write.commit()?;
            store.shared.format.store(FORMAT, Ordering::Release);
        } else {
            store.shared.format.store(found, Ordering::Release);
        }
        Ok(store)
    }

    fn is_empty(&self) -> Result<bool> {
        match &*self.shared.file() {
            File::Writable(database) => {
                let read = database.begin_read()?;
                guarded(|| {
                    let mut tables = read.list_tables()?;
                    let mut multimaps = read.list_multimap_tables()?;
                    Ok(tables.next().is_none() && multimaps.next().is_none())
                })
            }
            File::ReadOnly(_) => Ok(false),
            File::Closed => Err(Error::Closed),
        }
    }

    /// The path of the file, unless it lives in memory.
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// Whether the file was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        matches!(&*self.shared.file(), File::ReadOnly(_))
    }

    /// Whether an earlier write failed, so that the file must be opened again to be written.
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    /// Takes a snapshot. It costs about a microsecond; hold one for as long as answers must agree.
    pub fn read(&self) -> Result<Read> {
        let before = self.shared.commits.load(Ordering::Acquire);
        let txn = match &*self.shared.file() {
            File::Writable(database) => database.begin_read()?,
            File::ReadOnly(database) => database.begin_read()?,
            File::Closed => return Err(Error::Closed),
        };
        let after = self.shared.commits.load(Ordering::Acquire);
        let moment = (before == after && before.is_multiple_of(2)).then_some(before);
        Ok(Read::new(txn, self.shared.format.load(Ordering::Acquire), moment))
    }

    /// Begins the write transaction; waits while another one is open.
    pub fn write(&self) -> Result<Write> {
        let ticket = self.shared.gate.enter();
        if self.is_poisoned() {
            return Err(Error::Poisoned);
        }
        let mut txn = match &*self.shared.file() {
            File::Writable(database) => guarded(|| Ok(database.begin_write()?))?,
            File::ReadOnly(_) => return Err(Error::ReadOnly),
            File::Closed => return Err(Error::Closed),
        };
        txn.set_durability(redb::Durability::Immediate)?;
        txn.set_quick_repair(true);
        Ok(Write::new(txn, Arc::clone(&self.shared), ticket))
    }

    /// Gives unused room in the file back to the disk; waits for the write transaction and fails while a
    /// snapshot is held. Tells whether anything moved.
    pub fn compact(&self) -> Result<bool> {
        let _ticket = self.shared.gate.enter();
        if self.is_poisoned() {
            return Err(Error::Poisoned);
        }
        match &mut *self.shared.file_mut() {
            File::Writable(database) => guarded(|| Ok(database.compact()?)).inspect_err(|error| {
                if !matches!(error, Error::Conflict(_)) {
                    self.shared.poison();
                }
            }),
            File::ReadOnly(_) => Err(Error::ReadOnly),
            File::Closed => Err(Error::Closed),
        }
    }

    /// Copies a snapshot into a new file, which is complete or not there. `progress` is told rows done
    /// and rows in all.
    pub fn backup(&self, path: impl AsRef<Path>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let path = path.as_ref();
        if path.exists() {
            return Err(Error::Conflict(format!("`{}` exists already", path.display())));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let copied = self
            .read()
            .and_then(|read| copy(&read, &partial, progress))
            .and_then(|()| Ok(std::fs::rename(&partial, path)?));
        if copied.is_err() {
            // What is left of a failed backup is of no use to anybody.
            let _ = std::fs::remove_file(&partial);
        }
        copied
    }

    /// Checks every page of the file, also those that hold no rows, and mends what can be mended; waits for
    /// the write transaction and fails while a snapshot is held. Tells whether nothing was wrong.
    pub fn check_pages(&self) -> Result<bool> {
        let _ticket = self.shared.gate.enter();
        match &mut *self.shared.file_mut() {
            File::Writable(database) => guarded(|| match database.check_integrity() {
                Err(redb::DatabaseError::TransactionInProgress) => Err(Error::Conflict(
                    "pages cannot be checked while something reads the file; try again later"
                        .to_owned(),
                )),
                other => Ok(other?),
            }),
            File::ReadOnly(_) => Err(Error::ReadOnly),
            File::Closed => Err(Error::Closed),
        }
    }

    /// Checks every row and every reference of a snapshot. `progress` is told rows done and rows in all.
    pub fn verify(&self, read: &Read, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
        verify::verify(read, progress)
    }

    /// The room that each table takes, in the order of `TABLES`.
    pub fn space(&self, read: &Read) -> Result<Vec<TableSpace>> {
        TABLES.iter().map(|info| read.space(info.table)).collect()
    }

    /// Closes the file for all clones; waits for the write transaction. Snapshots still held fail from
    /// then on.
    pub fn close(&self) -> Result<()> {
        let _ticket = self.shared.gate.enter();
        let file = std::mem::replace(&mut *self.shared.file_mut(), File::Closed);
        match file {
            File::Writable(database) => guarded(|| Ok(database.close()?)),
            File::ReadOnly(database) => guarded(|| Ok(database.close()?)),
            File::Closed => Ok(()),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

fn copy(read: &Read, path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
    let target = Database::builder().create(path)?;
    let mut total = 0;
    for info in read.tables() {
        total += read.len(info.table)?;
    }
    let mut done = 0;
    for info in read.tables() {
        let mut rows =
            read.scan(info.table, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)?;
        let mut more = true;
        while more {
            let mut txn = target.begin_write()?;
            txn.set_quick_repair(true);
            more = false;
            let mut bytes = 0;
            let mut table = txn.open_table(raw(info.table))?;
            for row in rows.by_ref() {
                let (key, value) = row?;
                table.insert(&*key, &*value)?;
                bytes += key.len() + value.len();
                done += 1;
                if done % 4096 == 0 {
                    progress(done, total);
                }
                if bytes >= BACKUP_BATCH {
                    more = true;
                    break;
                }
            }
            drop(table);
            txn.commit()?;
        }
    }
    progress(total, total);
    Ok(target.close()?)
}
