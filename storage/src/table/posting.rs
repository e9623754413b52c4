//! The posting lists.
