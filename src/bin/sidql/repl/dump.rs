//! `.dump`: items and interactions as statements that insert them again, and how the rest was made.

use std::io::Write;

use sidql::grammar::ast::{Insert, Literal, Name, OptionValue, Statement, WithOption};
use sidql::grammar::span::Spanned;
use sidql::{RowRef, Value};

use super::dot::Answer;
use super::shell::{Shell, Stop};

/// Writes the statements of one relation, or of all.
pub(super) fn dump(shell: &mut Shell, words: &[String]) -> Answer {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (items, interactions, rest) = match words.as_slice() {
        [] => (true, true, true),
        ["items"] => (true, false, false),
        ["interactions"] => (false, true, false),
        _ => return Answer::Refused("say .dump, .dump items or .dump interactions".to_owned()),
    };
    let mut dumped = begin(shell);
    if items {
        dumped = dumped.and_then(|()| dump_items(shell));
    }
    if interactions {
        let question = "SELECT user, item, time, kind, weight FROM interactions";
        dumped = dumped.and_then(|()| inserts(shell, "interactions", question));
    }
    dumped = dumped.and_then(|()| line(shell, "COMMIT;"));
    if rest {
        dumped = dumped.and_then(|()| derived(shell));
    }
    match dumped {
        Ok(()) => Answer::Done,
        Err(Trouble::Asked(error)) => Answer::Failed(error),
        Err(Trouble::Output(error)) => Answer::Stopped(Stop::Output(error)),
    }
}

/// Rows of one INSERT.
const ROWS: usize = 50;

/// A row as INSERT has it.
type Fields = Vec<(Name, Spanned<OptionValue>)>;

enum Trouble {
    Asked(sidql::Error),
    Output(std::io::Error),
}

impl From<sidql::Error> for Trouble {
    fn from(error: sidql::Error) -> Self {
        Trouble::Asked(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Output(error)
    }
}

type Dumped = Result<(), Trouble>;

fn line(shell: &mut Shell, text: &str) -> Dumped {
    Ok(writeln!(shell.out(), "{text}")?)
}

fn begin(shell: &mut Shell) -> Dumped {
    line(shell, &format!("-- sidql {}: items and interactions.", env!("CARGO_PKG_VERSION")))?;
    line(
        shell,
        "-- Vectors, SIDs and policies are not in it; BACKUP TO 'file' copies everything.",
    )?;
    line(shell, "BEGIN;")
}

fn dump_items(shell: &mut Shell) -> Dumped {
    let fields = shell.ask("DESCRIBE items")?;
    let quoted = |name: String| format!("\"{}\"", name.replace('"', "\"\""));
    let of = |row| fields.get(row, "column").map(|name| quoted(name.to_string()));
    let names: Vec<String> = (0..fields.len()).filter_map(of).collect();
    inserts(shell, "items", &format!("SELECT {} FROM items", names.join(", ")))
}

/// The INSERTs of the rows of a question, some rows at a time.
fn inserts(shell: &mut Shell, relation: &str, question: &str) -> Dumped {
    let mut unsaid: Vec<String> = Vec::new();
    let mut rows: Vec<Fields> = Vec::new();
    let mut full = None;
    let asked = shell.each(question, |row, out| {
        rows.push(fields(row, &mut unsaid));
        if rows.len() < ROWS {
            return Ok(());
        }
        writeln!(out, "{};", insert(relation, std::mem::take(&mut rows))).map_err(|error| {
            let stop = sidql::Error::input("shell", error.to_string());
            full = Some(error);
            stop
        })
    });
    if let Some(error) = full {
        return Err(error.into());
    }
    asked?;
    if !rows.is_empty() {
        let last = insert(relation, rows);
        line(shell, &format!("{last};"))?;
    }
    for name in unsaid {
        line(
            shell,
            &format!("-- `{name}` holds values that no statement can say; they are left out"),
        )?;
    }
    Ok(())
}

fn spanned<T>(node: T) -> Spanned<T> {
    Spanned::new(node, 0..0)
}

/// The fields of a row, less those that no statement can say.
fn fields(row: RowRef<'_>, unsaid: &mut Vec<String>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in row.columns().iter().zip(row.values()).filter(|(_, v)| !v.is_null()) {
        match literal(value) {
            Some(literal) => fields.push((spanned(name.clone()), spanned(literal))),
            None if unsaid.contains(name) => {}
            None => unsaid.push(name.clone()),
        }
    }
    fields
}

fn insert(relation: &str, rows: Vec<Fields>) -> Statement {
    // The fields of an item are no slips of others, however near their names are.
    let new = |name: &str| WithOption {
        name: spanned(name.to_owned()),
        value: spanned(OptionValue::Literal(Literal::Bool(true))),
    };
    let with = if relation == "items" { vec![new("new_fields")] } else { Vec::new() };
    Statement::Insert(Insert { into: spanned(relation.to_owned()), rows, with })
}

/// A value as it is typed; none where the language has no word for it.
fn literal(value: &Value) -> Option<OptionValue> {
    Some(OptionValue::Literal(match value {
        Value::Bool(bool) => Literal::Bool(*bool),
        Value::Int(int) => Literal::Int(*int),
        Value::Float(float) if float.is_finite() => Literal::Float(*float),
        Value::Text(text) => Literal::Text(text.clone()),
        Value::List(list) => {
            let list: Option<Vec<OptionValue>> = list.iter().map(literal).collect();
            return list.map(|list| OptionValue::List(list.into_iter().map(spanned).collect()));
        }
        _ => return None,
    }))
}

/// What was made of the items, as comments: to run it again takes long, and models that may be elsewhere.
fn derived(shell: &mut Shell) -> Dumped {
    let mut lines: Vec<String> = Vec::new();
    let definitions = [
        ("MODEL", "SELECT name, kind, config FROM models"),
        ("CODEBOOK", "SELECT name, kind, space, config FROM codebooks"),
        ("POLICY", "SELECT name, kind, codebook, config FROM policies"),
    ];
    for (what, question) in definitions {
        let rows = shell.ask(question)?;
        for row in &rows {
            let text = |column| row.get::<Option<String>>(column).ok().flatten();
            let name = |column| text(column).filter(|name| !name.is_empty());
            let on = match (name("space"), name("codebook")) {
                (Some(space), _) => format!(" ON {space}"),
                (_, Some(codebook)) => format!(" ON CODEBOOK {codebook}"),
                _ => String::new(),
            };
            let kind = text("kind").unwrap_or_default();
            let options = text("config").map(|json| options(&json)).unwrap_or_default();
            let name = text("name").unwrap_or_default();
            lines.push(format!("CREATE {what} {name} USING {kind}{on}{options};"));
        }
    }
    let jobs = shell.ask(
        "SELECT statement FROM jobs WHERE state = 'done' AND kind IN ('enrich', 'rebuild', 'index', 'train') ORDER BY job",
    )?;
    lines.extend(jobs.rows.iter().flatten().map(|statement| format!("{statement};")));
    if lines.is_empty() {
        return Ok(());
    }
    line(shell, "-- What was made of them:")?;
    for statement in lines {
        line(shell, &format!("-- {}", statement.replace('\n', "\n-- ")))?;
    }
    Ok(())
}

/// Stored options as ` WITH (…)`.
fn options(json: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(json) else {
        return String::new();
    };
    let value = |json: &serde_json::Value| match json {
        serde_json::Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string().replace('"', "'"),
    };
    let given = fields.iter().filter(|(_, json)| !json.is_null() && !json.is_object());
    let given: Vec<String> =
        given.map(|(name, json)| format!("{name} = {}", value(json))).collect();
    if given.is_empty() { String::new() } else { format!(" WITH ({})", given.join(", ")) }
}
