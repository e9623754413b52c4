//! The floors of the engine: a module imports lower floors only; a foreign crate has one door.

use crate::Complaint;
use crate::blank::{closing_brace, places};
use crate::tree::Source;

/// The floor of every module of `src/`. A new module gets its line here.
const FLOORS: &[(&str, u8)] = &[
    ("lib", 12),
    ("db", 11),
    ("session", 10),
    ("statement", 10),
    ("recommender", 10),
    ("tree", 10),
    ("complete", 9),
    ("exec", 9),
    ("plan", 8),
    ("job", 7),
    ("train", 6),
    ("derive", 5),
    ("eval", 5),
    ("cache", 4),
    ("decode", 4),
    ("policy", 3),
    ("quantize", 3),
    ("enrich", 3),
    ("model", 3),
    ("metric", 3),
    ("reward", 3),
    ("index", 2),
    ("nn", 2),
    ("format", 2),
    ("arrow", 2),
    ("clock", 1),
    ("count", 1),
    ("device", 1),
    ("error", 1),
    ("kind", 1),
    ("options", 1),
    ("params", 1),
    ("progress", 1),
    ("schema", 1),
    ("settings", 1),
    ("value", 1),
];

/// Imports on one floor that are wanted; `*` stands for every module of that floor.
const SIDEWAYS: &[(&str, &str, &str)] = &[
    ("*", "error", "everything can fail"),
    ("params", "value", "a parameter is a value"),
    ("kind", "options", "a member of a registry has options"),
    ("statement", "session", "it runs in one"),
    ("session", "statement", "it runs them"),
    ("schema", "value", "a field has the type of a value"),
    ("enrich", "model", "a stage asks a model"),
    ("format", "arrow", "the columns of Parquet are those of Arrow"),
    ("policy", "model", "a policy learns over a language model"),
    ("value", "count", "a note of numbers"),
    ("settings", "options", "a setting is an option of the session"),
    ("settings", "value", "a setting has a value"),
];

/// The only places that may name a crate or one of its modules.
const DOORS: &[(&str, &[&str])] = &[
    ("redb", &["storage/", "bench/"]),
    ("rkyv", &["storage/"]),
    ("nom", &["grammar/src/"]),
    ("axum", &["tests/"]),
    ("tokio", &["src/bin/", "tests/"]),
    ("clap", &["src/bin/"]),
    ("comfy_table", &["src/bin/"]),
    ("ctrlc", &["src/bin/"]),
    ("indicatif", &["src/bin/"]),
    ("mimalloc", &["src/bin/", "bench/src/bin/"]),
    ("rustyline", &["src/bin/"]),
    ("rusqlite", &["bench/"]),
    (
        "arrow_array",
        &["src/arrow", "src/format/parquet/", "src/session.rs", "src/db.rs", "bindings/", "tests/"],
    ),
    ("pyo3", &["bindings/"]),
    ("ureq", &["src/model/client"]),
    ("faiss", &["src/index/faiss/", "src/index/mod.rs"]),
    ("candle_core", &["src/", "tests/", "bench/"]),
    ("sidql_storage", &["src/", "storage/", "tests/", "bench/"]),
    ("sidql_grammar", &["src/", "grammar/", "tests/", "bench/"]),
    (
        "sidql_grammar::ast",
        &["src/plan/", "src/session.rs", "src/statement.rs", "src/params.rs", "grammar/"],
    ),
];

/// Imports within the engine that do not lead downward.
pub(crate) fn upward(source: &Source) -> Vec<Complaint> {
    let Some(module) = module_of(&source.path).filter(|_| !source.is_test()) else {
        return Vec::new();
    };
    let Some(floor) = floor_of(module) else {
        let message = format!("`{module}` stands on no floor: name it in FLOORS of tests/tidy");
        return vec![Complaint::at(source, 0, message)];
    };
    imports(source)
        .into_iter()
        .filter(|(_, name)| name != module)
        .filter_map(|(at, name)| {
            let reason = match floor_of(&name) {
                None => {
                    "which is no module: the root is the top floor, import from the module itself"
                        .to_owned()
                }
                Some(other) if other > floor => {
                    format!("which stands above it ({other} over {floor})")
                }
                Some(other) if other == floor && !is_sideways(module, &name) => {
                    "which stands on the same floor; see SIDEWAYS of tests/tidy".to_owned()
                }
                Some(_) => return None,
            };
            Some(Complaint::at(source, at, format!("`{module}` imports `{name}`, {reason}")))
        })
        .collect()
}

/// The module of `src/` that a file belongs to; none for the binary and other crates.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    (first != "bin").then(|| first.trim_end_matches(".rs"))
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn is_sideways(from: &str, to: &str) -> bool {
    SIDEWAYS.iter().any(|(a, b, _)| (*a == "*" || *a == from) && *b == to)
}

/// The names behind `crate::` and behind as many `super::` as lead to the root, with their places.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let inside = source.path.trim_start_matches("src/").trim_end_matches(".rs");
    // `src/lib.rs` is the root; `src/a.rs` and `src/a/mod.rs` lie one below, `src/a/b.rs` two.
    let depth = inside.split('/').filter(|part| *part != "mod" && *part != "lib").count();
    let up = "super::".repeat(depth);
    let mut found = behind(&source.code, "crate::");
    if depth > 0 {
        found.extend(behind(&source.code, &up));
    }
    found
}

fn behind(code: &str, path: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for at in places(code, path) {
        // `a::super::` does not exist, but `super::super::` holds `super::` twice.
        if code[..at].ends_with("::") {
            continue;
        }
        let start = at + path.len();
        if code[start..].starts_with('{') {
            let group = &code[start + 1..closing_brace(code, start)];
            names.extend(top_level(group).into_iter().map(|name| (at, name)));
        } else {
            names.push((at, word(&code[start..])));
        }
    }
    names.retain(|(_, name)| !matches!(name.as_str(), "super" | "self" | ""));
    names
}

/// The first words of the members of `{a::b, c::{d, e}, f}`.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 0;
    let members = group.split(|letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    });
    members.map(|member| word(member.trim())).filter(|name| !name.is_empty()).collect()
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Foreign crates named outside their door.
pub(crate) fn foreign(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (name, doors) in DOORS {
        if doors.iter().any(|door| source.path.starts_with(door))
            || source.path.starts_with("tests/tidy/")
        {
            continue;
        }
        let path = format!("{name}::");
        let named = places(&source.code, &path).chain(uses(&source.code, name));
        complaints.extend(named.map(|at| {
            let message = format!("`{name}` is seen only by {}", doors.join(", "));
            Complaint::at(source, at, message)
        }));
    }
    complaints
}

/// `use name;` and `use name as other;`.
fn uses(code: &str, name: &str) -> Vec<usize> {
    let phrase = format!("use {name}");
    places(code, &phrase).filter(|at| !code[at + phrase.len()..].starts_with("::")).collect()
}
