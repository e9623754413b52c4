//! Golden scripts: statements in, what a user sees out. `UPDATE=1 cargo test scripts` writes what is seen now, to be
//! read as a diff.
//!
//! A line that begins with `> ` belongs to a statement, the lines behind it are what it gives: rows as
//! tab-separated values under their columns, a message, or an error report. `file NAME` writes a file of the lines
//! behind it that begin with `| `, which statements call `{folder}/NAME`. The first line names the fixture:
//! `# empty`, `# shop` (items and histories) or `# coded` (items with SIDs). Paths, moments, durations and sizes
//! are masked.

use std::fmt::Write as _;
use std::path::Path;

use sidql::{Database, Outcome, Session, Value};

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
        } else if let Some(differing) = difference(&now, &before) {
            wrong.push(format!("{}: {differing}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "scripts differ; UPDATE=1 rewrites them\n{}", wrong.join("\n"));
}

/// The first line that says something else. Processors sum in different orders, so that numbers with a fraction may differ
/// in their last digits.
fn difference(now: &str, before: &str) -> Option<String> {
    let (mut new, mut old) = (now.lines(), before.lines());
    loop {
        match (new.next(), old.next()) {
            (None, None) => return None,
            (Some(new), Some(old)) if alike(new, old) => {}
            (new, old) => return Some(format!("now {new:?}, was {old:?}")),
        }
    }
}

fn alike(new: &str, old: &str) -> bool {
    let words = |line: &str| line.split(['\t', ' ', ',', '[', ']']).map(str::to_owned).collect();
    let (new, old): (Vec<String>, Vec<String>) = (words(new), words(old));
    let fraction = |word: &str| word.contains('.').then(|| word.parse::<f64>().ok()).flatten();
    new.len() == old.len()
        && new.iter().zip(&old).all(|(new, old)| match (fraction(new), fraction(old)) {
            (Some(new), Some(old)) => (new - old).abs() <= 1e-4 * old.abs().max(1e-2),
            _ => new == old,
        })
}

#[test]
fn last_digits_may_differ_and_nothing_else() {
    assert!(alike("1\tg3i2\t-3.423489\ta4.b1.c2", "1\tg3i2\t-3.423477\ta4.b1.c2"));
    for other in ["1\tg3i2\t-3.425\ta4.b1.c2", "1\tg3i2\t-3.423477\ta4.b1.c3", "2\tg3i2\t-3.423489"]
    {
        assert!(!alike("1\tg3i2\t-3.423489\ta4.b1.c2", other), "{other}");
    }
    assert!(difference("a\n", "a\nb\n").is_some());
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
    for step in steps(lines) {
        writeln!(played).unwrap();
        match step {
            Step::File(name, lines) => {
                writeln!(played, "file {name}").unwrap();
                for line in &lines {
                    writeln!(played, "| {line}").unwrap();
                }
                let text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
                std::fs::write(folder.path().join(name), text.concat()).unwrap();
            }
            Step::Statement(statement) => {
                for line in statement.lines() {
                    writeln!(played, "> {line}").unwrap();
                }
                let real = statement.replace("{folder}", folder.path().to_str().unwrap());
                played += &masked(&shown(&mut session, &real), folder.path());
            }
        }
    }
    played
}

/// What a script does.
enum Step {
    /// Writes a file of a name and lines.
    File(String, Vec<String>),
    /// Runs a statement.
    Statement(String),
}

fn steps<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open = false;
    for line in lines {
        if let Some(name) = line.strip_prefix("file ") {
            steps.push(Step::File(name.to_owned(), Vec::new()));
        } else if let (Some(text), Some(Step::File(_, lines))) =
            (line.strip_prefix("| "), steps.last_mut())
        {
            lines.push(text.to_owned());
        } else if let Some(text) = line.strip_prefix("> ") {
            match steps.last_mut() {
                Some(Step::Statement(statement)) if open => {
                    statement.push('\n');
                    statement.push_str(text);
                }
                _ => steps.push(Step::Statement(text.to_owned())),
            }
            open = !text.trim_end().ends_with(';');
        }
    }
    steps
}

fn shown(session: &mut Session, statement: &str) -> String {
    match session.execute(statement, ()) {
        Ok(Outcome::Rows(rows)) => {
            let mut text = rows.columns.join("\t") + "\n";
            for row in &rows.rows {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&rows.columns)
                    .map(|(value, column)| {
                        let property = row[0].as_str().unwrap_or_default();
                        let timed = matches!(property, "seconds" | "samples per second");
                        cell(value, if timed && column == "value" { "seconds" } else { column })
                    })
                    .collect();
                text += &(cells.join("\t") + "\n");
            }
            text
        }
        Ok(Outcome::Done { message, .. }) => message + "\n",
        Ok(Outcome::Started { job }) => format!("job {job} started\n"),
        Ok(_) => "an outcome that this runner does not know\n".to_owned(),
        Err(error) => format!("error: {error}\n"),
    }
}

fn cell(value: &Value, column: &str) -> String {
    match (column, value) {
        (_, Value::Null) => "NULL".to_owned(),
        ("seconds" | "stored_bytes" | "page_bytes", _) => format!("{{{column}}}"),
        (_, value) => value.to_string(),
    }
}

/// What changes from run to run, replaced by its name.
fn masked(text: &str, folder: &Path) -> String {
    let text = without_folder(text, folder.to_str().unwrap());
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

/// The folder replaced by its name; carets behind it or under it stay under what they point at.
fn without_folder(text: &str, folder: &str) -> String {
    const NAME: &str = "{folder}";
    let mut out = String::new();
    let mut above = None;
    for line in text.lines() {
        let carets = line.find('^').filter(|_| line.trim_start().starts_with('|'));
        match (carets, above) {
            (Some(at), Some(place)) if line.len() > place => {
                let cut = folder.len() - NAME.len();
                // Behind the folder blanks go, over it carets.
                let from = if at > place { at - cut } else { at };
                out += &line[..from];
                out += &line[from + cut..];
            }
            _ => out += &line.replace(folder, NAME),
        }
        out.push('\n');
        above = line.find(folder);
    }
    out
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
