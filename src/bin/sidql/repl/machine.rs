//! Results for programs: json, jsonl, csv, tsv.
//!
//! A SID is its text, a vector an array of numbers, bytes are lower-case hexadecimal digits, and a
//! number that JSON lacks (infinity, NaN) is null.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Number, Value as Json};
use sidql::{Rows, Value};

use super::mode::Look;

/// One array of objects.
pub(super) fn json(out: &mut impl Write, rows: &Rows) -> io::Result<()> {
    let names = distinct(&rows.columns);
    out.write_all(b"[")?;
    for (at, row) in rows.rows.iter().enumerate() {
        out.write_all(if at == 0 { b"" } else { b",\n" })?;
        object(out, &names, row)?;
    }
    out.write_all(b"]\n")
}

/// One object a line.
pub(super) fn jsonl(out: &mut impl Write, rows: &Rows) -> io::Result<()> {
    let names = distinct(&rows.columns);
    for row in &rows.rows {
        object(out, &names, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn object(out: &mut impl Write, names: &[String], row: &[Value]) -> io::Result<()> {
    out.write_all(b"{")?;
    for (at, (name, value)) in names.iter().zip(row).enumerate() {
        out.write_all(if at == 0 { b"" } else { b"," })?;
        write!(out, "{}:{}", Json::from(name.as_str()), json_of(value))?;
    }
    out.write_all(b"}")
}

/// The names of columns, told apart where two are equal: an object has each name once.
fn distinct(columns: &[String]) -> Vec<String> {
    let mut seen: HashSet<String> = HashSet::new();
    columns
        .iter()
        .map(|column| {
            let mut name = column.clone();
            let mut count = 1;
            while !seen.insert(name.clone()) {
                count += 1;
                name = format!("{column}_{count}");
            }
            name
        })
        .collect()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(bool) => Json::from(*bool),
        Value::Int(int) => Json::from(*int),
        Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(values) => values.iter().map(json_of).collect(),
        Value::Vector(vector) => vector.iter().map(|x| json_of_f32(*x)).collect(),
        Value::Bytes(bytes) => Json::from(hex(bytes)),
        // A SID, and any type to come: the form that a person reads.
        other => Json::from(other.to_string()),
    }
}

/// The shortest decimal that reads back as the same f32; widening to f64 would print noise digits.
fn json_of_f32(x: f32) -> Json {
    let shortest = x.to_string().parse().ok();
    shortest.and_then(Number::from_f64).map_or(Json::Null, Json::Number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The text of a value in csv and tsv; nothing for null.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::List(_) | Value::Vector(_) => Some(json_of(value).to_string()),
        Value::Bytes(bytes) => Some(hex(bytes)),
        other => Some(other.to_string()),
    }
}

/// RFC 4180: lines end with CR LF; an empty text is `""`, so that it differs from null.
pub(super) fn csv(out: &mut impl Write, rows: &Rows, look: &Look<'_>) -> io::Result<()> {
    let quoted = |text: &str| {
        if text.is_empty() || text.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    if look.headers {
        let names: Vec<_> = rows.columns.iter().map(|name| quoted(name)).collect();
        write!(out, "{}\r\n", names.join(","))?;
    }
    for row in &rows.rows {
        let fields: Vec<_> = row
            .iter()
            .map(|value| plain(value).map_or_else(|| look.null.to_owned(), |text| quoted(&text)))
            .collect();
        write!(out, "{}\r\n", fields.join(","))?;
    }
    Ok(())
}

/// Tab-separated; what would break a line or a field is written with a backslash.
pub(super) fn tsv(out: &mut impl Write, rows: &Rows, look: &Look<'_>) -> io::Result<()> {
    let escaped = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('\t', "\\t");
        text.replace('\n', "\\n").replace('\r', "\\r")
    };
    if look.headers {
        let names: Vec<_> = rows.columns.iter().map(|name| escaped(name)).collect();
        writeln!(out, "{}", names.join("\t"))?;
    }
    for row in &rows.rows {
        let fields: Vec<_> = row
            .iter()
            .map(|value| plain(value).map_or_else(|| look.null.to_owned(), |text| escaped(&text)))
            .collect();
        writeln!(out, "{}", fields.join("\t"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn sample() -> Rows {
        let mut rows = Rows::new(["id", "id", "v", "t"]);
        rows.push(vec![
            "B1".into(),
            f64::INFINITY.into(),
            vec![0.1_f32, 2.0].into(),
            "a \"b\",\tc\nd".into(),
        ]);
        rows.push(vec![Value::Null, true.into(), vec![0xab_u8, 1].into(), "".into()]);
        rows
    }

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    const LOOK: Look<'static> = Look { headers: true, null: "", width: 80 };

    #[test]
    fn json_is_an_array_that_parses() {
        let text = written(|out| json(out, &sample()).unwrap());
        assert_eq!(
            text,
            "[{\"id\":\"B1\",\"id_2\":null,\"v\":[0.1,2.0],\"t\":\"a \\\"b\\\",\\tc\\nd\"},\n\
             {\"id\":null,\"id_2\":true,\"v\":\"ab01\",\"t\":\"\"}]\n"
        );
        let parsed: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed.as_array().unwrap().len(), 2);
        assert_eq!(written(|out| json(out, &Rows::new(["a"])).unwrap()), "[]\n");
        assert_eq!(written(|out| jsonl(out, &sample()).unwrap()).lines().count(), 2);
    }

    #[test]
    fn csv_and_tsv_escape_and_tell_null_from_empty() {
        let text = written(|out| csv(out, &sample(), &LOOK).unwrap());
        assert_eq!(
            text,
            "id,id,v,t\r\nB1,inf,\"[0.1,2.0]\",\"a \"\"b\"\",\tc\nd\"\r\n,true,ab01,\"\"\r\n"
        );
        let text = written(|out| tsv(out, &sample(), &LOOK).unwrap());
        assert_eq!(text, "id\tid\tv\tt\nB1\tinf\t[0.1,2.0]\ta \"b\",\\tc\\nd\n\ttrue\tab01\t\n");
    }
}
