//! The Python module `sidql`: a DB-API 2.0 face, results as Arrow, pandas, polars and NumPy, rows in from any of them.
//!
//! Python sees the package in `python/sidql`; this crate is its extension module `sidql._sidql`. The interpreter's
//! lock is let go whenever the engine works, and signals are looked for meanwhile (`work.rs`).

mod connection;
mod cursor;
mod embeddings;
mod error;
mod html;
mod incoming;
mod job;
mod outgoing;
mod recommender;
mod value;
mod work;

/// The extension module of the package `sidql`.
#[pyo3::pymodule]
mod _sidql {
    #[pymodule_export]
    use crate::connection::{Connection, connect};
    #[pymodule_export]
    use crate::cursor::Cursor;
    #[pymodule_export]
    use crate::job::{Job, JobProgress};
    #[pymodule_export]
    use crate::recommender::Recommender;
}
