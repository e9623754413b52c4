//! The language of sidql.

pub mod ast;
pub mod report;
pub mod span;
pub mod suggest;
