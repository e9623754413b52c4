//! The shell as people and scripts meet it: arguments, stdin, forms of results, exit codes.

use std::fs;
use std::io::{BufRead, BufReader};

use tempfile::{TempDir, tempdir};

use crate::support::process::{Ended, command, sidql, sidql_fed};

const INSERT: &str = "INSERT INTO items {id: 'B1', title: 'Ball, \"blue\"', price: 9.5}, \
                      {id: 'B2', title: 'Net', price: NULL}";
const SELECT: &str = "SELECT id, title, price FROM items ORDER BY id";

/// A home with the database `shop.sidql`, which holds two items.
fn shop() -> TempDir {
    let home = tempdir().unwrap();
    let made = sidql(home.path(), &["shop.sidql", "-c", INSERT]);
    assert_eq!(made.code, Some(0), "{made:?}");
    home
}

fn select(home: &TempDir, mode: &str) -> Ended {
    let ended = sidql(home.path(), &["shop.sidql", "--mode", mode, "-c", SELECT]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    ended
}

#[test]
fn each_mode_writes_its_form() {
    let home = shop();
    assert_eq!(
        select(&home, "json").out,
        "[{\"id\":\"B1\",\"title\":\"Ball, \\\"blue\\\"\",\"price\":9.5},\n\
         {\"id\":\"B2\",\"title\":\"Net\",\"price\":null}]\n"
    );
    assert_eq!(
        select(&home, "jsonl").out,
        "{\"id\":\"B1\",\"title\":\"Ball, \\\"blue\\\"\",\"price\":9.5}\n\
         {\"id\":\"B2\",\"title\":\"Net\",\"price\":null}\n"
    );
    assert_eq!(
        select(&home, "csv").out,
        "id,title,price\r\nB1,\"Ball, \"\"blue\"\"\",9.5\r\nB2,Net,\r\n"
    );
    assert_eq!(select(&home, "tsv").out, "id\ttitle\tprice\nB1\tBall, \"blue\"\t9.5\nB2\tNet\t\n");
    assert_eq!(
        select(&home, "markdown").out,
        "| id | title | price |\n| --- | --- | ---: |\n| B1 | Ball, \"blue\" | 9.5 |\n| B2 | Net |  |\n"
    );
    assert_eq!(
        select(&home, "line").out,
        "   id = B1\ntitle = Ball, \"blue\"\nprice = 9.5\n\n   id = B2\ntitle = Net\nprice = NULL\n(2 rows)\n"
    );
    assert_eq!(
        select(&home, "box").out,
        "\
┌────┬──────────────┬───────┐
│ id ┆ title        ┆ price │
╞════╪══════════════╪═══════╡
│ B1 ┆ Ball, \"blue\" ┆   9.5 │
│ B2 ┆ Net          ┆  NULL │
└────┴──────────────┴───────┘
(2 rows)
"
    );
}

#[test]
fn json_is_one_array_for_each_statement_with_rows() {
    let home = shop();
    let text = "SELECT id FROM items WHERE id = 'B1'; DELETE FROM items WHERE id = 'none'; \
                SELECT id FROM items WHERE id = 'none';";
    let ended = sidql(home.path(), &["shop.sidql", "--mode", "json", "-c", text]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "[{\"id\":\"B1\"}]\n[]\n"));
    assert!(ended.err.lines().count() == 1, "the message of DELETE: {ended:?}");
}

#[test]
fn inputs_run_in_their_order() {
    let home = shop();
    fs::write(home.path().join("b.sql"), "-- the second\nSELECT title\n  FROM items LIMIT 1")
        .unwrap();
    let arguments = [
        "shop.sidql",
        "-c",
        "SELECT id FROM items LIMIT 1",
        "-f",
        "b.sql",
        "-c",
        ".mode jsonl",
        "-c",
        SELECT,
    ];
    let ended = sidql(home.path(), &arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines[..4], ["id", "B1", "title", "Ball, \"blue\""]);
    assert!(lines[4].starts_with("{\"id\":\"B1\""));
}

#[test]
fn stdin_mixes_statements_and_dot_commands() {
    let home = shop();
    let script = "-- a comment; with a semicolon\n.mode csv\n/* two\n.quit\nlines */\n\
                  SELECT id\nFROM items\nWHERE title = 'a;\n.quit';\n.headers off\n\
                  SELECT id FROM items LIMIT 1; SELECT title FROM items WHERE id = 'B2';\n\
                  .nullvalue -\nSELECT price FROM items WHERE id = 'B2'";
    let ended = sidql_fed(home.path(), &["shop.sidql"], script);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    assert_eq!(ended.out, "id\r\nB1\r\nNet\r\n-\r\n");
}

#[test]
fn quit_leaves_the_rest_alone() {
    let home = shop();
    let ended = sidql_fed(home.path(), &["shop.sidql"], "\\q\nSELECT nonsense;\n");
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""));
}

#[test]
fn a_failed_statement_ends_a_script_unless_told_otherwise() {
    let home = shop();
    let script = "SELECT id FROM items LIMIT 1;\n\nSELECT\n  wrong_name FROM items;\nSELECT 'after', id FROM items;";
    fs::write(home.path().join("s.sql"), script).unwrap();
    let ended = sidql(home.path(), &["shop.sidql", "-f", "s.sql"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), "id\nB1\n"), "{ended:?}");
    assert!(ended.err.starts_with("error: "), "{ended:?}");
    assert!(ended.err.contains("wrong_name"), "{ended:?}");
    assert!(ended.err.ends_with("in s.sql, line 3\n"), "{ended:?}");

    let ended = sidql(home.path(), &["shop.sidql", "--keep-going", "-f", "s.sql", "-c", SELECT]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.out.contains("Net"), "the statements behind the failed one ran: {ended:?}");
}

#[test]
fn a_misspelt_keyword_is_shown_with_a_caret() {
    let home = shop();
    let ended = sidql(home.path(), &["shop.sidql", "-c", "SELECT id FRM items"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.contains('^') && ended.err.contains("FROM"), "{}", ended.err);
}

#[test]
fn dot_commands_suggest_the_nearest() {
    let home = shop();
    let cases = [
        (".hlep", "did you mean `.help`?"),
        (".mode josn", "did you mean `json`?"),
        (".timer maybe", "say on or off"),
        (".quit now", "takes nothing"),
        (".read none.sql", "cannot read none.sql"),
    ];
    for (line, hint) in cases {
        let ended = sidql(home.path(), &["shop.sidql", "-c", line]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{ended:?}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains(hint), "{ended:?}");
    }
}

#[test]
fn the_short_names_of_psql_work() {
    let home = shop();
    fs::write(home.path().join("a.sql"), ".mode jsonl\nSELECT id FROM items WHERE id = 'B2';")
        .unwrap();
    let ended =
        sidql_fed(home.path(), &["shop.sidql"], "\\dt\n\\d\n\\d items\n\\timing\n\\i a.sql\n\\?\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("items") && ended.out.contains("price"), "{ended:?}");
    assert!(
        ended.out.contains("{\"id\":\"B2\"}\n") && ended.out.contains(".nullvalue"),
        "{ended:?}"
    );
    assert!(ended.err.contains(" s)"), "the time of the statement: {ended:?}");
}

#[test]
fn nested_scripts_have_an_end() {
    let home = shop();
    fs::write(home.path().join("loop.sql"), ".read loop.sql\n").unwrap();
    let ended = sidql(home.path(), &["shop.sidql", "-f", "loop.sql"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains("nested scripts"), "{ended:?}");
}

#[test]
fn usage_and_files_are_exit_code_one() {
    let home = shop();
    let cases: [&[&str]; 5] = [
        &["--mode", "boxes"],
        &["--no-such-flag"],
        &["shop.sidql", "-f", "none.sql"],
        &["no/such/folder/shop.sidql", "-c", SELECT],
        &["none.sidql", "--readonly", "-c", SELECT],
    ];
    for arguments in cases {
        let ended = sidql(home.path(), arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{arguments:?} {ended:?}");
        assert!(ended.err.starts_with("error: "), "{arguments:?} {ended:?}");
    }
    assert!(!home.path().join("none.sidql").exists());
}

#[test]
fn help_and_version_are_no_errors() {
    let home = tempdir().unwrap();
    let ended = sidql(home.path(), &["--version"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.out, format!("sidql {}\n", env!("CARGO_PKG_VERSION")));
    let ended = sidql(home.path(), &["--help"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(ended.out.contains("--keep-going") && ended.out.contains("demo"), "{}", ended.out);
}

#[test]
fn without_a_file_nothing_is_kept() {
    let home = tempdir().unwrap();
    let ended = sidql(home.path(), &["--mode", "jsonl", "-c", INSERT, "-c", SELECT]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 2), "{ended:?}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn readonly_refuses_to_write() {
    let home = shop();
    let ended = sidql(home.path(), &["shop.sidql", "--readonly", "-c", "DELETE FROM items"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let ended = sidql(home.path(), &["shop.sidql", "--readonly", "-c", SELECT]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 3), "{ended:?}");
}

#[test]
fn safe_keeps_off_other_files() {
    let home = shop();
    fs::write(home.path().join("a.sql"), "SELECT id FROM items;").unwrap();
    fs::write(home.path().join("a.jsonl"), "{\"id\": \"B3\"}\n").unwrap();
    for text in [
        ".read a.sql",
        "COPY items FROM 'a.jsonl'",
        "COPY (SELECT id FROM items) TO 'b.csv'",
        "BACKUP TO 'c.sidql'",
    ] {
        let ended = sidql(home.path(), &["shop.sidql", "--safe", "-c", text]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{text}: {ended:?}");
    }
    assert!(!home.path().join("b.csv").exists() && !home.path().join("c.sidql").exists());
    let ended = sidql(home.path(), &["--safe", "-c", "COPY items FROM 'a.jsonl'"]);
    assert_eq!(ended.code, Some(3), "in memory as well: {ended:?}");
}

#[test]
fn an_rc_file_does_not_change_a_script() {
    let home = shop();
    fs::write(home.path().join(".sidqlrc"), ".mode json\n").unwrap();
    let ended = sidql(home.path(), &["shop.sidql", "-c", "SELECT id FROM items LIMIT 1"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "id\nB1\n"));
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = tempdir().unwrap();
    let rows: String =
        (0..20_000).map(|row| format!("{{\"id\": \"B{row}\"}}\n")).collect::<Vec<_>>().concat();
    fs::write(home.path().join("many.jsonl"), rows).unwrap();
    let made = sidql(home.path(), &["shop.sidql", "-c", "COPY items FROM 'many.jsonl'"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let text = "SELECT id FROM items; SELECT id FROM items;";
    let mut child = command(home.path()).args(["shop.sidql", "-c", text]).spawn().unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((first.as_str(), output.status.code()), ("id\n", Some(0)));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_statement_and_the_script() {
    let home = tempdir().unwrap();
    let rows: Vec<String> =
        (0..60).map(|row| format!("{{\"id\": \"B{row}\", \"title\": \"ball {row}\"}}\n")).collect();
    fs::write(home.path().join("many.jsonl"), rows.concat()).unwrap();
    let histories: Vec<String> = (0..200).map(|user| format!("{user}\tB1 B2 B3 B4 B5\n")).collect();
    fs::write(home.path().join("histories.tsv"), histories.concat()).unwrap();
    let script = "COPY items FROM 'many.jsonl'; \
                  COPY interactions FROM 'histories.tsv' WITH (layout = 'sequences'); \
                  ENRICH items BY text WITH (projection = 'none'); \
                  CREATE CODEBOOK c USING rq_kmeans ON text WITH (codes = 8); REBUILD CODEBOOK c; \
                  CREATE POLICY p USING decoder ON CODEBOOK c; SELECT count(*) FROM items; \
                  TRAIN POLICY p WITH (epochs = 100000, patience = 0); SELECT count(*) FROM items;";
    let mut child =
        command(home.path()).args(["--keep-going", "--mode", "csv", "-c", script]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut counted = String::new();
    // The count is written just before the long statement begins.
    for _ in 0..2 {
        out.read_line(&mut counted).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let pressed = std::time::Instant::now();
    let status = child.wait().unwrap();
    assert!(pressed.elapsed().as_secs() < 15, "cancelled after {:?}", pressed.elapsed());
    assert_eq!(status.code(), Some(3));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
    assert_eq!(rest, "", "nothing ran behind the cancelled statement");
}

#[test]
fn the_demo_refuses_a_file_that_exists() {
    let home = shop();
    let ended = sidql(home.path(), &["demo", "shop.sidql"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains("exists already"), "{ended:?}");
}
