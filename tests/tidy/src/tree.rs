//! The sources of the tree.

use std::fs;
use std::io;
use std::path::Path;

use crate::blank;

/// One file.
pub(crate) struct Source {
    /// From the root, with `/`.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) text: String,
    /// Rust only: the text with comments, literals and tests blanked out, byte for byte in place.
    pub(crate) code: String,
}

/// What is looked at besides Rust.
const TEXTS: &[&str] = &["toml", "md", "py", "sh", "ebnf", "txt", "yml", "yaml", "sql"];
/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", "shared", "node_modules", "runs"];

impl Source {
    pub(crate) fn new(path: String, text: String) -> Self {
        let code =
            if is_rust(&path) { blank::tests(&blank::literals(&text)) } else { String::new() };
        Source { path, text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        is_rust(&self.path)
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test(&self) -> bool {
        let path = format!("/{}", self.path);
        ["/tests/", "/benches/", "/fuzz/"].iter().any(|folder| path.contains(folder))
            && !path.starts_with("/tests/tidy/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs")
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Reads every source under the root, in the order of their paths.
pub(crate) fn read(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    descend(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn descend(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let hidden = name.starts_with('.') && name != ".ci";
            if !hidden && !SKIPPED.contains(&name.as_str()) {
                descend(&entry.path(), &format!("{path}/"), sources)?;
            }
        } else if kind.is_file() && is_text(&path) {
            // A text that is not UTF-8 is data, whatever its name says.
            let bytes = fs::read(entry.path())?;
            if let Ok(text) = String::from_utf8(bytes) {
                sources.push(Source::new(path, text));
            }
        }
    }
    Ok(())
}

fn is_text(path: &str) -> bool {
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    is_rust(path)
        || extension.is_some_and(|extension| TEXTS.contains(&extension))
        || path.ends_with("Makefile")
        || path.starts_with(".ci/")
}
