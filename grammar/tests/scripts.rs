//! Runs the golden scripts. `UPDATE=1 cargo test -p sidql-grammar` rewrites their outputs.
//!
//! A script is a list of cases with blank lines between them. The first lines of a case are its
//! input, what follows is its output. `>` prints the canonical text or the report of an error,
//! `tree>` the tree with its places, `next>` what could stand at the cursor `|`, `script>` and
//! `split>` the places of several statements.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use sidql_grammar::report::report;
use sidql_grammar::{expected_at, parse, parse_script, split};

const KINDS: [&str; 5] = [">", "tree>", "next>", "script>", "split>"];

fn output(kind: &str, input: &str) -> String {
    match kind {
        ">" => match parse(input) {
            Ok(statement) => {
                let text = statement.to_string();
                assert_eq!(parse(&text).as_ref(), Ok(&statement), "{input} printed as {text}");
                text
            }
            Err(error) => report(input, &error),
        },
        "tree>" => format!("{:#?}", parse(input).unwrap()),
        "next>" => {
            let at = input.find('|').expect("the case has a cursor");
            let text = format!("{}{}", &input[..at], &input[at + 1..]);
            let words: Vec<String> =
                expected_at(&text, at).iter().map(ToString::to_string).collect();
            words.join(", ")
        }
        "script>" => match parse_script(input) {
            Ok(statements) => statements.iter().fold(String::new(), |mut shown, statement| {
                writeln!(shown, "{:?} {}", statement.span, statement.node).unwrap();
                shown
            }),
            Err(error) => report(input, &error),
        },
        _ => split(input).iter().fold(String::new(), |mut shown, span| {
            writeln!(shown, "{span:?} {}", &input[span.clone()]).unwrap();
            shown
        }),
    }
}

/// The case with a fresh output.
fn run(case: &str) -> String {
    let mut shown = String::new();
    let mut input: Vec<&str> = Vec::new();
    let mut kind = "";
    for line in case.lines() {
        if line.starts_with('#') {
            writeln!(shown, "{line}").unwrap();
            continue;
        }
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !KINDS.contains(&first) || (!input.is_empty() && first != kind) {
            break;
        }
        kind = first;
        input.push(rest);
        writeln!(shown, "{line}").unwrap();
    }
    if !input.is_empty() {
        shown.push_str(&output(kind, &input.join("\n")));
    }
    shown.trim_end().to_owned()
}

fn scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn golden_scripts() {
    let mut paths = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"), &mut paths);
    assert!(!paths.is_empty());
    let mut differing = Vec::new();
    for path in paths {
        let expected = fs::read_to_string(&path).unwrap();
        let cases: Vec<String> = expected.split("\n\n").map(run).collect();
        let actual = cases.join("\n\n") + "\n";
        if actual == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, actual).unwrap();
        } else {
            let line = actual.lines().zip(expected.lines()).position(|(a, b)| a != b);
            let line = line.map_or(0, |line| line + 1);
            differing.push(format!("{}:{line}\n{actual}", path.display()));
        }
    }
    assert!(differing.is_empty(), "outputs differ:\n{}", differing.join("\n\n"));
}
