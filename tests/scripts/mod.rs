//! Golden scripts: statements in, what a user sees out. `UPDATE=1 cargo test scripts` writes what is seen now, to be
//! read as a diff.
//!
//! A line that begins with `> ` belongs to a statement, the lines behind it are what it gives: rows as
//! tab-separated values under their columns, a message, or an error report. The first line names the fixture:
//! `# empty`, `# shop` (items and histories) or `# coded` (items with SIDs). Paths, moments and durations are
//! masked.

use std::fmt::Write as _;
use std::path::Path;

use sidql::{Database, Outcome, Session};

use crate::support::toy;

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let update = std::env::var_os("UPDATE").is_some();
    let mut files = Vec::new();
    for stem in std::fs::read_dir(&folder).unwrap() {
        let stem = stem.unwrap().path();
        if stem.is_dir() {
            files.extend(std::fs::read_dir(stem).unwrap().map(|file| file.unwrap().path()));
        }
    }
    files.sort();
    assert!(files.len() >= 10, "the scripts are gone");
    let mut wrong = Vec::new();
    for file in files {
        let before = std::fs::read_to_string(&file).unwrap();
        let now = play(&before);
        if update {
            std::fs::write(&file, now).unwrap();
        } else if now != before {
            let differing = now.lines().zip(before.lines()).find(|(now, before)| now != before);
            wrong.push(format!("{}: now {differing:?} was", file.display()));
        }
    }
    assert!(wrong.is_empty(), "scripts differ; UPDATE=1 rewrites them\n{}", wrong.join("\n"));
}

/// A script with the outputs of today.
fn play(script: &str) -> String {
    let mut lines = script.lines();
    let fixture = lines.next().unwrap();
    let (db, folder) = match fixture {
        "# shop" => toy::shop(),
        "# coded" => toy::coded(),
        "# empty" => (Database::open_in_memory().unwrap(), tempfile::tempdir().unwrap()),
        other => panic!("unknown fixture {other:?}"),
    };
    let mut session = db.session();
    let mut played = format!("{fixture}\n");
    for statement in statements(lines) {
        writeln!(played).unwrap();
        for line in statement.lines() {
            writeln!(played, "> {line}").unwrap();
        }
        let real = statement.replace("{folder}", folder.path().to_str().unwrap());
        played += &masked(&shown(&mut session, &real), folder.path());
    }
    played
}

/// The statements of a script: runs of lines that begin with `> `.
fn statements<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        match (line.strip_prefix("> "), open) {
            (Some(text), true) => {
                let last = statements.last_mut().unwrap();
                last.push('\n');
                last.push_str(text);
            }
            (Some(text), false) => statements.push(text.to_owned()),
            (None, _) => {}
        }
        open = line.starts_with("> ") && !line.trim_end().ends_with(';');
    }
    statements
}

fn shown(session: &mut Session, statement: &str) -> String {
    match session.execute(statement, ()) {
        Ok(Outcome::Rows(rows)) => {
            let mut text = rows.columns.join("\t") + "\n";
            for row in &rows.rows {
                let cells: Vec<String> = row
                    .iter()
                    .map(
                        |value| if value.is_null() { "NULL".to_owned() } else { value.to_string() },
                    )
                    .collect();
                text += &(cells.join("\t") + "\n");
            }
            text
        }
        Ok(Outcome::Done { message }) => message + "\n",
        Ok(Outcome::Started { job }) => format!("job {job} started\n"),
        Ok(_) => "an outcome that this runner does not know\n".to_owned(),
        Err(error) => format!("error: {error}\n"),
    }
}

/// What changes from run to run, replaced by its name.
fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(folder.to_str().unwrap(), "{folder}");
    let words: Vec<String> = text
        .split_inclusive([' ', '\t', '\n', ','])
        .map(|word| {
            let bare = word.trim_end_matches([' ', '\t', '\n', ',']);
            let rest = &word[bare.len()..];
            let is_date =
                bare.len() == 10 && bare.as_bytes()[4] == b'-' && bare.as_bytes()[7] == b'-';
            let is_clock =
                bare.len() == 8 && bare.as_bytes()[2] == b':' && bare.as_bytes()[5] == b':';
            if is_date || is_clock { format!("{{time}}{rest}") } else { word.to_owned() }
        })
        .collect();
    durations(&words.concat())
}

/// `in 0.3 s` and `in 1.25 ms` as `in {time}`.
fn durations(text: &str) -> String {
    let mut out = String::new();
    let mut words = text.split(' ').peekable();
    let mut before = "";
    while let Some(word) = words.next() {
        let unit = words.peek().copied().unwrap_or("");
        let is_time = before == "in"
            && word.parse::<f64>().is_ok()
            && (unit.starts_with("ms")
                || unit == "s"
                || unit.starts_with("s,")
                || unit.starts_with("s\n"));
        out += if is_time { "{time}" } else { word };
        if words.peek().is_some() {
            out.push(' ');
        }
        before = word;
    }
    out
}
