//! sidql: an embedded database for Semantic IDs, the hierarchical codes (`a1.b33.c192`) by which generative
//! recommenders name items.
//!
//! One file holds the catalogue, the evidence behind every code, the codebooks that made the codes and the
//! policies that generate them; one language asks all of it.
//!
//! ```
//! use sidql::{Database, Outcome};
//!
//! let db = Database::open_in_memory()?;
//! db.execute("INSERT INTO items {id: 'b1', title: 'Soccer ball, size 4', price: 12.5}", ())?;
//! db.execute("INSERT INTO items {id: 'b2', title: 'Tennis racket', price: 80}", ())?;
//! let rows = db.query("SELECT id FROM items WHERE title LIKE '%ball%' AND price < ?", [30.into()])?;
//! assert_eq!(rows.len(), 1);
//! # Ok::<(), sidql::Error>(())
//! ```
//!
//! # Four routes through the house
//!
//! **A SELECT by prefix.** [`Session::execute`] (`session.rs`) parses (`sidql-grammar`) and opens a snapshot
//! (`sidql-storage`). `plan/select.rs` resolves names (`bind.rs`, `scope.rs`), types the predicate (`expr.rs`)
//! and turns a prefix into `Access::Prefixes`. `exec/select.rs` reads that range of posting lists
//! (`storage/src/table/sids.rs`), fetches each item (`exec/row.rs`), filters it (`exec/filter.rs`) and fills
//! [`Rows`].
//!
//! **REBUILD CODEBOOK.** `plan/define.rs` types the options; `exec/launch.rs` puts a spec into the queue
//! (`job/queue.rs`); the worker (`job/runner.rs`) runs `job/rebuild.rs`, which streams the vectors into
//! `quantize/`, and writes SIDs, codewords and health as a new generation in one transaction. Readers of the old
//! generation finish on it. A kill before that leaves the old one, and `RESUME JOB` goes on from the checkpoint.
//!
//! **RECOMMEND.** `plan/recommend.rs` finds the policy and its generation; `exec/recommend.rs` reads the history
//! and asks `cache.rs` for the model, built by `policy::KINDS` from its card and its weights. A generator is
//! decoded along the trie (`index/trie.rs`) by `decode/beam.rs`, under a mask of the items that the predicate
//! allows (`decode/mask.rs`); a scorer is ranked by `decode/rank.rs`.
//!
//! **ENRICH.** `plan/enrich.rs` finds the stage (`enrich::STAGES`) and the model; `job/enrich/` pages through the items,
//! makes a subject of each (`derive/subject.rs`), leaves alone what is up to date, asks the model (`enrich/answer.rs`,
//! `model/`) and commits evidence or failures as they come, each with its stamp.
//!
//! # Floors
//!
//! A module imports from lower floors only; a test checks it.
//!
//! ```text
//! 12  lib
//! 11  db          the one shared handle
//! 10  session statement recommender tree
//!  9  exec        runs plans; complete
//!  8  plan        names to meaning
//!  7  job         persisted queue of long work
//!  6  train
//!  5  derive      what follows from an item; eval
//!  4  decode; cache, what is kept ready
//!  3  policy quantize enrich model metric reward
//!  2  index nn format arrow
//!  1  error value params options settings schema progress device kind clock count
//!  0  sidql-grammar, sidql-storage
//! ```

#[cfg(feature = "arrow")]
mod arrow;
mod cache;
mod clock;
mod complete;
mod count;
mod db;
mod decode;
mod derive;
mod device;
mod enrich;
mod error;
mod eval;
mod exec;
mod format;
mod index;
mod job;
mod kind;
mod metric;
mod model;
mod nn;
mod options;
mod params;
mod plan;
mod policy;
mod progress;
mod quantize;
mod recommender;
mod reward;
mod schema;
mod session;
mod settings;
mod statement;
mod train;
mod tree;
mod value;

pub use complete::{Candidate, Completion};
pub use db::{Builder, Database};
pub use device::WITH_CUDA;
pub use error::{Error, Kind as ErrorKind, Result};
pub use exec::{JobProgress, Outcome};
pub use job::JobHandle;
pub use params::Params;
pub use progress::Snapshot as Progress;
pub use recommender::Recommender;
pub use session::{Interrupt, Session};
pub use sidql_grammar as grammar;
pub use statement::{Snapshot, Statement, Transaction};
pub use tree::Tree;
pub use value::{FromValue, Row, RowRef, Rows, Sid, Value};
