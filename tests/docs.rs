//! The statements of the documents run, and the example that an embedder copies.

use std::path::Path;

use crate::support::toy::coded;

/// The fenced blocks of a page: their info strings and texts.
fn blocks(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> =
                lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            blocks.push((info.trim().to_owned(), body.join("\n")));
        }
    }
    blocks
}

#[test]
fn the_language_page_runs() {
    let (db, _folder) = crate::support::toy::shop();
    let mut session = db.session();
    let mut ran = 0;
    for (info, text) in blocks("docs/language.md") {
        if !info.starts_with("sql") {
            continue;
        }
        for span in sidql::grammar::split(&text) {
            let statement = &text[span];
            sidql::grammar::parse(statement).unwrap_or_else(|error| panic!("{statement}\n{error}"));
            if info == "sql" {
                session
                    .execute(statement, ())
                    .unwrap_or_else(|error| panic!("{statement}\n{error}"));
                ran += 1;
            }
        }
    }
    assert!(ran > 30, "only {ran} statements ran");
}

#[test]
fn a_policy_is_asked_from_rust() {
    let (db, _folder) = coded();
    db.execute("CREATE POLICY graph USING item_graph", ()).unwrap();
    db.execute("TRAIN POLICY graph", ()).unwrap();
    let graph = db.recommender("graph").unwrap();
    assert_eq!(graph.after(&["g1i1", "g1i2"], 3).unwrap()[0].0, "g1i3");
    assert_eq!(db.recommend("graph", "u1", 2).unwrap().len(), 2);
    let error = db.recommender("grpah").err().unwrap();
    assert_eq!(error.help_text(), Some("did you mean `graph`?"));
}

#[path = "examples/embed.rs"]
#[allow(clippy::duplicate_mod, reason = "the example is a program of its own, and a test here")]
mod embed;

#[test]
fn the_example_runs() {
    embed::main().unwrap();
}
