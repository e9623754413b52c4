//! NVIDIA cards, in a build that can use them (`enabled.rs`) and in one that cannot (`absent.rs`).

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(feature = "cuda")]
mod enabled;

#[cfg(not(feature = "cuda"))]
pub use absent::BUILT;
#[cfg(not(feature = "cuda"))]
pub(super) use absent::{cards, open};
#[cfg(feature = "cuda")]
pub use enabled::BUILT;
#[cfg(feature = "cuda")]
pub(super) use enabled::{cards, open};
