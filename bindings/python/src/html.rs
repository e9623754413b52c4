//! What a notebook shows.

use std::fmt::Write;

use sidql::{Rows, Value};

/// How many rows a notebook shows; the rest is counted.
const SHOWN: usize = 20;

/// A result as a table.
pub(crate) fn table(rows: &Rows) -> String {
    let mut html = String::from("<table><thead><tr>");
    for name in &rows.columns {
        html += &format!("<th>{}</th>", escaped(name));
    }
    html += "</tr></thead><tbody>";
    for row in rows.rows.iter().take(SHOWN) {
        html += "<tr>";
        for value in row {
            let align = match value {
                Value::Int(_) | Value::Float(_) => " style=\"text-align: right\"",
                _ => "",
            };
            html += &format!("<td{align}>{}</td>", escaped(&value.to_string()));
        }
        html += "</tr>";
    }
    html += "</tbody></table>";
    let (count, s) = (rows.len(), if rows.len() == 1 { "" } else { "s" });
    let more = if count > SHOWN { format!(", the first {SHOWN} shown") } else { String::new() };
    html + &format!("<p>{count} row{s}{more}</p>")
}

/// A sentence.
pub(crate) fn sentence(text: &str) -> String {
    format!("<p>{}</p>", escaped(text))
}

/// How far a job is, as a bar where the number of steps is known.
pub(crate) fn progress(title: &str, state: &str, done: u64, total: u64) -> String {
    let mut html = format!("<div>{}<br>", escaped(title));
    if total > 0 {
        let _ = write!(
            html,
            "<progress value=\"{done}\" max=\"{total}\"></progress> {done} / {total} "
        );
    }
    html + &format!("{}</div>", escaped(state))
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}
