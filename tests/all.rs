//! The integration tests, one binary: statements, processes, registries, real data, documents.

#![allow(clippy::unwrap_used, reason = "tests")]

mod beauty;
mod docs;
mod jobs;
mod kinds;
mod params;
mod repl;
mod scripts;
mod support;
