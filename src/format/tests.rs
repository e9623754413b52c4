//! Tests of all formats together: round trips, bad input, and what is left on disk.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::sequences::{Sequence, Sequences};
use super::*;

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// All records, or the first error.
fn read(path: &Path, options: &Json) -> Result<Vec<Record>> {
    open_reader(path, None, options)?.collect()
}

/// The error of reading this content as a file of this name, less the folder.
fn wrong(name: &str, content: impl AsRef<[u8]>) -> String {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, name, content);
    let error = read(&path, &json!({})).unwrap_err();
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// What this build writes.
fn written() -> impl Iterator<Item = &'static Kind> {
    writable().filter(|kind| cfg!(feature = "parquet") || kind.name != "parquet")
}

fn fields(record: &Record) -> Vec<(&str, Json)> {
    record.fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
}

#[test]
fn every_format_gives_back_what_it_wrote() {
    let columns = ["id", "tägs, \"x\"", "vector", "none"].map(str::to_owned);
    let rows = [
        vec![
            Value::Int(-3),
            Value::from(vec!["a,b".to_owned(), "c\t\"d\"\n".to_owned()]),
            Value::Vector(vec![0.1, -2.0]),
            Value::Null,
        ],
        vec![
            Value::from("back\\slash \\t, \"quote\"\r\nline\tend"),
            Value::Bool(true),
            Value::Float(1.5),
            Value::Null,
        ],
    ];
    // An index has an id and a sid for each row and nothing else; a column of Parquet has one type.
    for kind in writable().filter(|kind| !["index_json", "parquet"].contains(&kind.name)) {
        for compression in ["", ".gz", ".zst"] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join(format!("out.{}{compression}", kind.extensions[0]));
            let mut writer = create_writer(&path, None, &columns, &json!({})).unwrap();
            for row in &rows {
                writer.write(row).unwrap();
            }
            assert!(!path.exists(), "{}: not before the end", kind.name);
            writer.finish().unwrap();
            let mut reader = open_reader(&path, None, &json!({})).unwrap();
            let records: Vec<Record> = reader.by_ref().collect::<Result<_>>().unwrap();
            let position = reader.bytes_read();
            assert_eq!(position.read, position.total, "{}", path.display());
            let typed = kind.name == "jsonl";
            let as_read = |value: Json| match value {
                Json::String(_) | Json::Null => value,
                value if typed => value,
                value => Json::String(value.to_string()),
            };
            let expected = [
                vec![json!(-3), json!(["a,b", "c\t\"d\"\n"]), json!([0.1, -2.0]), json!(null)],
                vec![
                    json!("back\\slash \\t, \"quote\"\r\nline\tend"),
                    json!(true),
                    json!(1.5),
                    json!(null),
                ],
            ];
            assert_eq!(records.len(), 2, "{}", path.display());
            for (record, expected) in records.iter().zip(expected) {
                let names = columns.iter().map(String::as_str);
                let expected: Vec<_> = names.zip(expected.into_iter().map(as_read)).collect();
                assert_eq!(fields(record), expected, "{}", path.display());
            }
        }
    }
}

#[test]
fn an_abandoned_export_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "kept.csv", "old");
    let mut writer = create_writer(&path, None, &["a".to_owned()], &json!({})).unwrap();
    writer.write(&[Value::Int(1)]).unwrap();
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn errors_name_file_line_and_field() {
    assert_eq!(
        wrong("a.jsonl", "{\"a\":1}\n\n{\"a\":}\n"),
        "a.jsonl, line 3: column 6: expected value"
    );
    assert_eq!(
        wrong("a.jsonl", "[1]"),
        "a.jsonl, line 1: expected an object, {\"field\": value, …}"
    );
    assert_eq!(wrong("a.jsonl", b"{\"a\":\"\xff\"}"), "a.jsonl, line 1: byte 7 is not valid UTF-8");
    assert_eq!(
        wrong("a.csv", "id,title\n1,x\n2\n"),
        "a.csv, line 3: 1 fields of 2, `title` is missing"
    );
    assert_eq!(
        wrong("a.csv", "id,title\n1,\"x\ny\"\n2,y,z\n"),
        "a.csv, line 4: 3 fields, more than the 2 columns"
    );
    assert_eq!(
        wrong("a.csv", b"id,title\n1,\xff\n"),
        "a.csv, line 2: field `title` is not valid UTF-8"
    );
    assert_eq!(wrong("a.tsv", "id\tid\n"), "a.tsv, line 1: the header names `id` twice");
    assert_eq!(wrong("a.tsv", "id\t\n"), "a.tsv, line 1: the header has no name for column 2");
    let long = "x".repeat(MAX_LINE_BYTES + 1);
    assert_eq!(
        wrong("a.tsv", &long),
        format!("a.tsv, line 1: the line is longer than {MAX_LINE_BYTES} bytes")
    );
    let open = wrong("a.csv", format!("id\n\"{long}{long}"));
    assert!(open.contains("a quote is never closed"), "{open}");
    assert!(wrong("a.jsonl.gz", "no gzip").contains("cannot read `a.jsonl.gz`"));
    assert!(wrong("a.orc", "").contains("cannot tell the format of `a.orc`"));
}

#[test]
fn a_bad_record_does_not_end_the_file() {
    let folder = TempDir::new().unwrap();
    for (name, content) in [
        ("a.jsonl", "{\"a\":\"1\"}\n{\n{\"a\":\"3\"}\n"),
        ("a.csv", "a\n1\n2,2\n3\n"),
        ("a.tsv", "a\n1\n2\t2\n3\n"),
    ] {
        let path = file(&folder, name, content);
        let read: Vec<_> = open_reader(&path, None, &json!({})).unwrap().collect();
        assert_eq!(read.len(), 3, "{name}");
        assert!(read[1].is_err(), "{name}");
        assert_eq!(fields(read[2].as_ref().unwrap()), [("a", json!("3"))], "{name}");
    }
}

#[test]
fn options_of_csv_and_tsv() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.csv", "\u{feff}1;NA\n;x\n");
    let options = json!({"header": false, "delimiter": ";", "null": "NA"});
    let records = read(&path, &options).unwrap();
    assert_eq!(fields(&records[0]), [("c1", json!("1")), ("c2", json!(null))]);
    assert_eq!(fields(&records[1]), [("c1", json!("")), ("c2", json!("x"))]);
    assert_eq!((records[0].line, records[1].line), (1, 2));
    assert_eq!(read(&path, &json!({"delimiter": "ab"})).unwrap_err().code(), "bad-option");
    assert_eq!(read(&path, &json!({"delimeter": ";"})).unwrap_err().code(), "bad-option");
    let path = file(&folder, "b.txt", "1\t2\n");
    let records: Vec<_> = open_reader(&path, Some("TSV"), &json!({"header": false}))
        .unwrap()
        .collect::<Result<_>>()
        .unwrap();
    assert_eq!(fields(&records[0]), [("c1", json!("1")), ("c2", json!("2"))]);
}

#[test]
fn sequences_of_users() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "s.tsv", "u1\ta b  c\r\nbroken\n\nu2\t\n");
    let mut found = Sequences::open(&path).unwrap();
    let items = ["a", "b", "c"].map(str::to_owned).to_vec();
    let first = found.next().unwrap().unwrap();
    assert_eq!(first, Sequence { line: 1, user: "u1".to_owned(), items });
    assert!(found.next().unwrap().unwrap_err().message().contains("line 2"));
    let last = found.next().unwrap().unwrap();
    assert_eq!((last.line, last.items.len()), (4, 0));
    assert!(found.next().is_none());
    assert_eq!(found.bytes_read(), Position { read: 23, total: 23 });
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, header: bool) {
        let folder = TempDir::new().unwrap();
        for name in ["a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz", "a.csv.zst"] {
            let path = file(&folder, name, &bytes);
            let options = if name.contains("json") { json!({}) } else { json!({"header": header}) };
            if let Ok(reader) = open_reader(&path, None, &options) {
                reader.take(1000).for_each(drop);
            }
            Sequences::open(&path).unwrap().take(1000).for_each(drop);
        }
    }

    #[test]
    fn any_text_survives(texts in prop::collection::vec(any::<String>(), 1..8)) {
        let folder = TempDir::new().unwrap();
        for kind in written() {
            let path = folder.path().join(format!("a.{}", kind.extensions[0]));
            let columns = ["n".to_owned(), "text".to_owned()];
            let mut writer = create_writer(&path, None, &columns, &json!({})).unwrap();
            for (at, text) in texts.iter().enumerate() {
                writer.write(&[Value::from(at), Value::from(text.as_str())]).unwrap();
            }
            writer.finish().unwrap();
            let records = read(&path, &json!({})).unwrap();
            prop_assert_eq!(records.len(), texts.len());
            for (record, text) in records.iter().zip(&texts) {
                // Outside JSON an empty text is null.
                let plain = !kind.name.contains("json") && kind.name != "parquet";
                let empty = text.is_empty() && plain;
                let expected = if empty { Json::Null } else { json!(text) };
                prop_assert_eq!(&record.fields[1].1, &expected, "{}", kind.name);
            }
        }
    }
}

#[test]
fn an_index_comes_back() {
    let folder = TempDir::new().unwrap();
    let columns = ["id", "codes"].map(str::to_owned);
    let sid = Value::Sid("a5.b0.c12".parse().unwrap());
    for compression in ["", ".gz", ".zst"] {
        let path = folder.path().join(format!("index.json{compression}"));
        let mut writer = create_writer(&path, None, &columns, &json!({})).unwrap();
        writer.write(&[Value::from("it's \"7\""), sid.clone()]).unwrap();
        writer.write(&[Value::Int(8), Value::Null]).unwrap();
        writer.write(&[Value::Int(9), Value::from(vec!["<a_1>".to_owned()])]).unwrap();
        writer.finish().unwrap();
        let records = read(&path, &json!({})).unwrap();
        let found: Vec<_> = records.iter().map(fields).collect();
        let tokens = json!(["<a_5>", "<b_0>", "<c_12>"]);
        assert_eq!(
            found,
            [
                vec![("id", json!("it's \"7\"")), ("codes", tokens)],
                vec![("id", json!("9")), ("codes", json!(["<a_1>"]))],
            ]
        );
    }
    let path = folder.path().join("none.json");
    create_writer(&path, None, &columns, &json!({})).unwrap().finish().unwrap();
    assert!(read(&path, &json!({})).unwrap().is_empty());
    let three = ["a", "b", "c"].map(str::to_owned);
    assert!(create_writer(&path, None, &three, &json!({})).is_err());
}

#[test]
fn a_broken_index_says_where() {
    for (content, message) in [
        ("", "line 1: expected `{`, found the end"),
        ("[1]", "line 1: expected `{`, found `[`"),
        ("{\"a\": [1]\n\"b\"", "line 2: expected `,`, found `\"`"),
        ("{\n\"a\" [1]}", "line 2: expected `:`, found `["),
        ("{1: [1]}", "line 1: expected an id in quotes, found 1"),
        ("{\"a\": [1}", "line 1: expected `,` or `]`"),
        ("{\"a\": [1]} x", "line 1: `x` behind the end of the object"),
        ("{\"a\": }", "line 1: EOF while parsing a value"),
    ] {
        let found = wrong("index.json", content);
        assert!(found.contains(message), "{content:?} gave {found}");
    }
}

#[test]
fn a_file_without_an_extension_is_told_by_how_it_begins() {
    let folder = TempDir::new().unwrap();
    for (content, format) in [
        ("{\"0\": [\"<a_1>\"]}", Some("index_json")),
        (" {\n \"0\" : [1]}", Some("index_json")),
        ("{\"id\": \"0\", \"sid\": \"a1\"}", Some("jsonl")),
        ("0\t1 2", Some("tsv")),
        ("0,a1.b2", Some("csv")),
        ("plain", None),
    ] {
        let path = file(&folder, "index", content);
        let found = format_within(&path, None).ok().map(|kind| kind.name);
        assert_eq!(found, format, "{content}");
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use super::*;

    const COLUMNS: [&str; 10] =
        ["none", "bool", "int", "float", "text", "list", "sid", "vector", "late", "mixed"];

    fn columns() -> Vec<String> {
        COLUMNS.map(str::to_owned).to_vec()
    }

    fn row(at: usize) -> Vec<Value> {
        let some = |value: Value| if at % 3 == 1 { Value::Null } else { value };
        vec![
            Value::Null,
            some(Value::Bool(at.is_multiple_of(2))),
            some(Value::Int(at as i64 - 5)),
            some(Value::Float(at as f64 / 4.0)),
            some(Value::from(format!("täxt \n{at}"))),
            some(Value::from(vec![format!("a{at}"), String::new()])),
            some(Value::Sid(format!("a{at}.b0").parse().unwrap())),
            some(Value::Vector(vec![at as f32 * 0.1, -2.0, 3.5])),
            if at > 2 { Value::from("late") } else { Value::Null },
            if at == 0 { Value::Int(1) } else { Value::Float(0.5) },
        ]
    }

    #[test]
    fn every_type_comes_back() {
        for compression in ["", ".gz", ".zst"] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join(format!("out.parquet{compression}"));
            let mut writer = create_writer(&path, None, &columns(), &json!({})).unwrap();
            for at in 0..3000 {
                writer.write(&row(at)).unwrap();
            }
            assert!(!path.exists(), "not before the end");
            writer.finish().unwrap();
            let mut reader = open_reader(&path, None, &json!({})).unwrap();
            let records: Vec<Record> = reader.by_ref().collect::<Result<_>>().unwrap();
            let position = reader.bytes_read();
            assert_eq!(position.read, position.total);
            assert_eq!(records.len(), 3000);
            for (at, record) in records.iter().enumerate() {
                let values = row(at).iter().map(jsonl::json_of).collect::<Vec<_>>();
                let mut expected: Vec<_> = COLUMNS.into_iter().zip(values).collect();
                // Ints among floats are floats.
                if at == 0 {
                    expected[9].1 = json!(1.0);
                }
                assert_eq!(record.line, at as u64 + 1);
                assert_eq!(fields(record), expected);
            }
        }
    }

    #[test]
    fn a_file_without_rows_has_its_columns() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("none.parquet");
        create_writer(&path, None, &columns(), &json!({})).unwrap().finish().unwrap();
        assert_eq!(read(&path, &json!({})).unwrap(), []);
    }

    #[test]
    fn a_type_that_changes_too_late_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mixed.parquet");
        let columns = ["n".to_owned()];
        let mut writer = create_writer(&path, None, &columns, &json!({})).unwrap();
        for at in 0..70_000_i64 {
            writer.write(&[Value::Int(at)]).unwrap();
        }
        writer.write(&[Value::from("text")]).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.message(), "column `n` holds texts behind row 65536, and ints before");
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_parquet_is_said() {
        let text = wrong("a.parquet", "id,title\n1,a\n");
        assert!(text.starts_with("`a.parquet` is no Parquet file: "), "{text}");
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_so() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "a.parquet", "PAR1");
    for error in [
        read(&path, &json!({})).unwrap_err(),
        create_writer(&path, None, &[], &json!({})).err().unwrap(),
    ] {
        assert_eq!(error.code(), "no-parquet");
        assert!(error.help_text().unwrap().contains("--features parquet"), "{error}");
    }
}
