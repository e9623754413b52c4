//! Records to bytes and back.
//!
//! The rule for evolving a record: a stored shape never changes. A new shape is a new struct and a new
//! schema version in the frame; reading an old one converts it.

pub(crate) mod archive;
pub(crate) mod frame;
pub(crate) mod key;
pub(crate) mod pack;
