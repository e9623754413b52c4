//! Slips: what is never meant, wherever it stands.

use crate::Complaint;
use crate::blank::places;
use crate::tree::Source;

/// Never in code that ships.
const WORDS: &[(&str, &str)] = &[
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "remove it"),
    (".unwrap()", "return the error, or `expect` with the reason why it cannot fail"),
    (".unwrap_err()", "return the error, or `expect_err` with the reason"),
];

/// Only the program speaks to the terminal.
const PRINTS: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];

/// Names that say nothing of what a file holds.
const NAMES: &[&str] =
    &["util", "utils", "helper", "helpers", "common", "misc", "manager", "types"];

/// Words that must not stand outside tests.
pub(crate) fn words(source: &Source) -> Vec<Complaint> {
    if source.is_test() {
        return Vec::new();
    }
    let slips = WORDS.iter().flat_map(|(word, remedy)| {
        places(&source.code, word).map(move |at| (at, format!("`{word}` outside tests: {remedy}")))
    });
    let may_print =
        ["src/bin/", "bench/", "tests/"].iter().any(|path| source.path.starts_with(path))
            || source.path.ends_with("build.rs");
    let prints = PRINTS.iter().filter(|_| !may_print).flat_map(|word| {
        let message =
            format!("`{word}` in a library: return it, or write to what the caller gives");
        places(&source.code, word).map(move |at| (at, message.clone()))
    });
    slips.chain(prints).map(|(at, message)| Complaint::at(source, at, message)).collect()
}

/// A file or folder whose name says nothing.
pub(crate) fn name(source: &Source) -> Option<Complaint> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let bad = parts.into_iter().find(|part| NAMES.contains(part))?;
    let message = format!("`{bad}` says nothing of the content: name the file after what it holds");
    Some(Complaint::at(source, 0, message))
}

/// A file that does not begin by saying what it is.
pub(crate) fn module_doc(source: &Source) -> Option<Complaint> {
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let message = "the file does not begin with a module doc (`//!`)";
    (!first.starts_with("//!")).then(|| Complaint::at(source, 0, message))
}

/// Paths that exist on one machine only.
pub(crate) fn machine_paths(source: &Source) -> Vec<Complaint> {
    // Put together here, so that this file does not complain about itself.
    let roots = ["home", "root", "Users", "work", "tmp", "mnt"].map(|name| format!("/{name}/"));
    let mut complaints = Vec::new();
    for root in &roots {
        for (at, _) in source.text.match_indices(root.as_str()) {
            let before = source.text[..at].chars().next_back();
            // Within a longer path or an address it is another folder of that name.
            let inside = before.is_some_and(|c| c.is_alphanumeric() || "./_-~$}".contains(c));
            if !inside {
                let message =
                    format!("`{root}` is a path of one machine: use a relative or temporary one");
                complaints.push(Complaint::at(source, at, message));
            }
        }
    }
    complaints
}
