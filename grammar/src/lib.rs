//! The language of sidql.
