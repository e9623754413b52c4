//! The file of sidql.
