//! What the file lies on. Tests of faults bring their own.

pub use redb::StorageBackend;
pub use redb::backends::{FileBackend, InMemoryBackend};
