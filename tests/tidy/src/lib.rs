//! Checks the architecture and the habits of the house: which module may import which, that
//! registries are complete, and slips that no compiler finds.
//!
//! It reads source text, needs no other crate and runs in a moment. `cargo test -p sidql-tidy`
//! checks the whole tree; each rule is proved by a planted violation.

mod blank;
mod floors;
mod registry;
mod size;
mod slips;
mod tree;

use std::fmt;
use std::path::Path;

use tree::Source;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint {
    /// The file, from the root of the tree.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl Complaint {
    /// About the place in a source where a byte offset lies.
    fn at(source: &Source, offset: usize, message: impl Into<String>) -> Self {
        let line = source.text[..offset].matches('\n').count() + 1;
        Complaint { path: source.path.clone(), line, message: message.into() }
    }
}

/// Checks every source under a root.
///
/// # Errors
/// A file or folder cannot be read.
pub fn check(root: &Path) -> std::io::Result<Vec<Complaint>> {
    let sources = tree::read(root)?;
    let mut complaints = Vec::new();
    for source in &sources {
        complaints.extend(slips::machine_paths(source));
        if !source.is_rust() {
            continue;
        }
        complaints.extend(floors::upward(source));
        complaints.extend(floors::foreign(source));
        complaints.extend(slips::words(source));
        complaints.extend(slips::name(source));
        complaints.extend(slips::module_doc(source));
        complaints.extend(size::file(source));
        complaints.extend(size::functions(source));
    }
    complaints.extend(registry::unlisted(&sources));
    complaints.extend(size::needless_exceptions(&sources));
    complaints.sort();
    Ok(complaints)
}

#[cfg(test)]
mod tests;
