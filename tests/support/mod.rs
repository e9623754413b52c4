//! What several tests need.

#[allow(dead_code, reason = "src/model includes the same file, and its tests use the rest")]
pub(crate) mod beside;
pub(crate) mod endpoint;
pub(crate) mod process;
pub(crate) mod toy;
