//! A small shop: 60 items in six groups of ten, 40 users who stay within their groups.
//!
//! Items are `g0i0` to `g5i9`. Group g sells one sport; item i of a group costs `5 + 10 i + g`. User `u7` buys, in
//! order, items of group `7 mod 6`, so that the next item follows from the last one.

use std::fmt::Write as _;

use sidql::{Database, Outcome, Rows};

/// The sports of the groups, and what each group's items are called.
const GROUPS: [(&str, &str); 6] = [
    ("Soccer", "soccer ball training match"),
    ("Tennis", "tennis racket strings grip"),
    ("Cycling", "bicycle helmet road vented"),
    ("Camping", "tent waterproof two person"),
    ("Running", "running shoes cushioned light"),
    ("Swimming", "swim goggles anti fog lenses"),
];
/// The brands, by item.
const BRANDS: [&str; 3] = ["Nike", "Acme", "Zephyr"];

/// The catalogue as JSON Lines.
pub(crate) fn items() -> String {
    let mut lines = String::new();
    for (g, (sport, words)) in GROUPS.iter().enumerate() {
        for i in 0..10 {
            let brand = BRANDS[i % 3];
            let price = 5 + 10 * i + g;
            let mut line = format!(
                "{{\"id\":\"g{g}i{i}\",\"title\":\"{brand} {words} number {i}\",\"price\":{price}.5,\
                 \"categories\":[[\"Sports\",\"{sport}\"]],\"stock\":{i}"
            );
            if i % 4 != 3 {
                write!(line, ",\"brand\":\"{brand}\"").unwrap();
            }
            if i == 0 {
                write!(line, ",\"description\":\"{words} for beginners\"").unwrap();
            }
            lines += &line;
            lines += "}\n";
        }
    }
    lines
}

/// The histories as sequences.
pub(crate) fn sequences() -> String {
    let mut lines = String::new();
    for u in 0..40 {
        let history: Vec<String> =
            (0..6).map(|step| format!("g{}i{}", u % 6, (u + step) % 10)).collect();
        writeln!(lines, "u{u}\t{}", history.join(" ")).unwrap();
    }
    lines
}

/// A database in memory with the shop, and the folder that its files came from.
pub(crate) fn shop() -> (Database, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open_in_memory().unwrap();
    fill(&db, folder.path());
    (db, folder)
}

/// Writes the files of the shop into a folder and copies them into a database.
pub(crate) fn fill(db: &Database, folder: &std::path::Path) {
    let (items_file, histories) = (folder.join("items.jsonl"), folder.join("sequences.tsv"));
    std::fs::write(&items_file, items()).unwrap();
    std::fs::write(&histories, sequences()).unwrap();
    run(db, &format!("COPY items FROM '{}'", items_file.display()));
    let layout = "WITH (layout = 'sequences')";
    run(db, &format!("COPY interactions FROM '{}' {layout}", histories.display()));
}

/// A shop whose items have SIDs: codebook `full`, 3 levels of 8 codes.
pub(crate) fn coded() -> (Database, tempfile::TempDir) {
    let (db, folder) = shop();
    code(&db);
    (db, folder)
}

/// Gives the items of a database their SIDs.
pub(crate) fn code(db: &Database) {
    run(db, "ENRICH items BY text WITH (projection = 'none')");
    run(db, "CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 3, codes = 8)");
    run(db, "REBUILD CODEBOOK full");
}

/// Runs a statement that must work.
pub(crate) fn run(db: &Database, statement: &str) -> Outcome {
    db.execute(statement, ()).unwrap_or_else(|error| panic!("{statement}\n{error}"))
}

/// The rows of a statement that must work.
pub(crate) fn rows(db: &Database, statement: &str) -> Rows {
    db.query(statement, ()).unwrap_or_else(|error| panic!("{statement}\n{error}"))
}

/// The texts of the first column.
pub(crate) fn first_column(rows: &Rows) -> Vec<String> {
    rows.rows.iter().map(|row| row[0].to_string()).collect()
}
