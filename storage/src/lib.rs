//! The file of sidql: records to disk and back.
//!
//! A [`Store`] is an open file. It hands out [`Read`], a snapshot that never changes, and [`Write`], the
//! one transaction that may change things; both are a [`View`]. Each table is a module of free functions:
//! those that look take a `&dyn View`, those that change take a `&Write`.
//!
//! ```
//! use sidql_storage::{Item, Sid, Store, items, sids};
//! let store = Store::in_memory()?;
//! let write = store.write()?;
//! let ball = items::insert(&write, &Item { id: "ball".into(), fields: vec![] })?;
//! write.commit()?;
//! assert_eq!(items::number(&store.read()?, "ball")?, Some(ball));
//! # Ok::<(), sidql_storage::Error>(())
//! ```
//!
//! What lies where, byte by byte, is told in `FORMAT.md`.

mod codec;
mod error;
mod migrate;
mod record;
mod store;
mod table;
mod txn;
mod view;

pub mod backend;
pub mod dump;
pub mod verify;

pub use error::{Error, Result};
pub use migrate::{FORMAT, OLDEST_FORMAT};
pub use record::*;
pub use store::{OpenOptions, Store};
pub use table::counters::Counter;
pub use table::{
    TABLES, Table, TableInfo, blobs, changes, codebooks, embeddings, evaluations, evidence,
    failures, fields, generations, histories, indexes, items, jobs, models, origins, policies,
    reach, settings, sids, spaces, stamps, users,
};
pub use txn::{Read, TableSpace, Write};
pub use view::{Bytes, Rows, Stream, Touched, View};

#[cfg(test)]
mod tests {
    use super::*;

    fn shared<T: Send + Sync>() {}

    #[test]
    fn handles_pass_between_threads() {
        shared::<Store>();
        shared::<Read>();
        shared::<Write>();
        shared::<Error>();
    }
}
