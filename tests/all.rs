//! The integration tests, one binary: statements, processes, registries, real data, documents.

#![allow(clippy::unwrap_used, reason = "tests")]

mod api;
mod beauty;
mod codes;
mod docs;
mod embeddings;
mod evidence;
mod generations;
mod jobs;
mod kinds;
mod models;
mod near;
mod params;
mod repl;
mod rows;
mod scripts;
mod service;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
