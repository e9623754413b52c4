//! A view of the tables as bytes: what a snapshot and a write transaction have in common.

use std::ops::{Bound, Deref};

use crate::error::Result;
use crate::record::GenerationNo;
use crate::table::Table;
use crate::table::counters::Counter;

/// A lazy sequence of rows, any of which may turn out to be damaged.
pub type Stream<'v, T> = Box<dyn Iterator<Item = Result<T>> + Send + 'v>;

/// A lazy sequence of keys and framed values.
pub type Rows<'v> = Stream<'v, (Bytes, Bytes)>;

type Guard = redb::AccessGuard<'static, &'static [u8]>;

/// Bytes of the file: borrowed from a page of a snapshot, or copied.
pub struct Bytes(Held);

enum Held {
    Page(Guard),
    Copy(Vec<u8>),
}

impl Bytes {
    /// The value is looked at here once, where the caller guards against damaged pages.
    pub(crate) fn page(guard: Guard) -> Self {
        let _ = guard.value();
        Bytes(Held::Page(guard))
    }

    pub(crate) fn copy(bytes: &[u8]) -> Self {
        Bytes(Held::Copy(bytes.to_vec()))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Page(guard) => guard.value(),
            Held::Copy(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

/// What the current transaction did to a generation and has not stored yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The revision that the SIDs have now.
    pub revision: u64,
    /// How many items more have a SID.
    pub items: i64,
}

/// The tables as bytes, seen from a snapshot or from within a write transaction.
///
/// Typed access lies in the modules of the tables; this is what they stand on.
pub trait View: Send + Sync {
    /// The framed value under a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;

    /// All rows with keys between two bounds, in key order. A scan of a write transaction shows changes
    /// made behind its position and may show those made ahead of it.
    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>>;

    /// The last row whose key is not above this one.
    fn floor(&self, table: Table, key: &[u8]) -> Result<Option<(Bytes, Bytes)>>;

    /// The number of rows of a table.
    fn len(&self, table: Table) -> Result<u64>;

    /// The value of a counter, 0 before its first use.
    fn counter(&self, counter: Counter) -> Result<u64>;

    /// What this transaction did to a generation and has not stored yet.
    fn touched(&self, generation: GenerationNo) -> Option<Touched>;
}
