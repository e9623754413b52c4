//! Enrichment: what is computed for items before quantization (DeepInterestGR III-B and III-C).
//!
//! `text.rs` makes the text of an item, which an encoder of `model/` turns to a vector; `fuse.rs` joins the vectors
//! of several sources.

pub(crate) mod fuse;
pub(crate) mod text;
