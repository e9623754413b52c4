//! sidql.
