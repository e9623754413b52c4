//! Long work: cancelled, killed, resumed; and a file that two processes want.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use sidql::{Database, Outcome};

use crate::support::process::{command, sidql};
use crate::support::toy::{code, coded, fill, rows, run};

const DECODER: &str = "CREATE POLICY p USING decoder ON CODEBOOK full WITH (width = 32, heads = 2)";
const TRAIN: &str = "TRAIN POLICY p USING sft WITH (epochs = 100, patience = 0)";

#[test]
fn a_job_in_the_background_is_cancelled_within_a_second_and_resumed() {
    let (db, _folder) = coded();
    run(&db, DECODER);
    let Outcome::Started { job } = run(&db, &format!("{TRAIN} IN BACKGROUND")) else { panic!() };
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    run(&db, &format!("CANCEL JOB {job}"));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let state = rows(&db, &format!("SELECT state FROM jobs WHERE job = {job}"));
    assert_eq!(state.rows[0][0], "cancelled".into());
    let Outcome::Done { message, .. } = run(&db, &format!("RESUME JOB {job}")) else { panic!() };
    assert!(message.contains("100 epochs"), "{message}");
}

#[test]
fn closing_interrupts_a_job_which_goes_on_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sidql");
    let db = Database::open(&path).unwrap();
    fill(&db, folder.path());
    code(&db);
    run(&db, DECODER);
    let Outcome::Started { job } = run(&db, &format!("{TRAIN} IN BACKGROUND")) else { panic!() };
    std::thread::sleep(Duration::from_millis(300));
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    let state = rows(&db, &format!("SELECT state FROM jobs WHERE job = {job}"));
    assert_eq!(state.rows[0][0], "interrupted".into());
    run(&db, &format!("RESUME JOB {job}"));
}

/// Items of random words, enough that every long statement takes a while.
fn many_items() -> String {
    let mut state = 1u64;
    let mut word = || {
        // A linear congruence is random enough for words.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        format!("w{}", (state >> 33) % 900)
    };
    let lines: Vec<String> = (0..ITEMS)
        .map(|item| {
            let title: Vec<String> = (0..6).map(|_| word()).collect();
            format!("{{\"id\": \"i{item}\", \"title\": \"{}\"}}\n", title.join(" "))
        })
        .collect();
    lines.concat()
}

const ITEMS: i64 = 6000;

/// Runs an INSERT and then a long statement in a process, and kills it while the long one is at work.
fn kill_in(home: &Path, insert: &str, statement: &str, after: Duration) {
    let arguments = ["shop.sidql", "--mode", "json", "-c", insert, "-c", "SHOW SETTINGS"];
    let mut child = command(home).args(arguments).args(["-c", statement]).spawn().unwrap();
    // The settings are printed when the row is acknowledged and just before the long statement begins.
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('['), "{line}");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_process_loses_no_acknowledged_row_and_its_job_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("shop.sidql");
    std::fs::write(home.path().join("many.jsonl"), many_items()).unwrap();
    let histories: Vec<String> = (0..60).map(|user| format!("{user}\ti1 i2 i3 i4 i5\n")).collect();
    std::fs::write(home.path().join("histories.tsv"), histories.concat()).unwrap();
    let statements = [
        ("COPY items FROM 'many.jsonl'", ""),
        (
            "ENRICH items BY text",
            "CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 3, codes = 64)",
        ),
        ("REBUILD CODEBOOK full", ""),
        ("REBUILD CODEBOOK full WITH (align_to = 1, seed = 5)", DECODER),
        (TRAIN, ""),
    ];
    for (round, (statement, next)) in statements.iter().enumerate() {
        let mut after = Duration::from_millis(250);
        // Too early before the one, too late after the other.
        let (mut early, mut late) = (Duration::ZERO, None::<Duration>);
        let jobs_before = if path.exists() { jobs(&Database::open(&path).unwrap()) } else { 0 };
        let mut attempts = 0..20;
        let killed = loop {
            assert!(attempts.next().is_some(), "{statement} is never caught at work");
            let attempt = format!("kept{round}after{}", after.as_millis());
            let insert = format!("INSERT INTO items {{id: '{attempt}', title: 'kept ball'}}");
            let before = std::fs::read(&path).ok();
            kill_in(home.path(), &insert, statement, after);
            let db = Database::open(&path).unwrap();
            sound(&db);
            let kept = rows(&db, &format!("SELECT count(*) FROM items WHERE id = '{attempt}'"));
            assert_eq!(kept.rows[0][0].as_i64(), Some(1), "{statement}");
            let last = rows(&db, "SELECT job, state FROM jobs ORDER BY job DESC LIMIT 1");
            if last.rows[0][1] == "interrupted".into() {
                break last.rows[0][0].to_string();
            }
            // It was done already, or had not begun: once more from the same file, killed earlier or later.
            let begun = jobs(&db) > jobs_before;
            db.close().unwrap();
            match before {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            if begun {
                late = Some(after);
            } else {
                early = after;
            }
            after = late.map_or(after * 2, |late| (early + late) / 2);
        };
        let db = Database::open(&path).unwrap();
        if round == 0 {
            let copied = rows(&db, "SELECT count(*) FROM items WHERE id LIKE 'i%'");
            assert_eq!(copied.rows[0][0].as_i64(), Some(0), "a killed COPY leaves nothing behind");
        }
        run(&db, &format!("RESUME JOB {killed}"));
        sound(&db);
        if round == 0 {
            let copied = rows(&db, "SELECT count(*) FROM items WHERE id LIKE 'i%'");
            assert_eq!(copied.rows[0][0].as_i64(), Some(ITEMS));
            let file = home.path().join("histories.tsv");
            let layout = "WITH (layout = 'sequences')";
            run(&db, &format!("COPY interactions FROM '{}' {layout}", file.display()));
        }
        if !next.is_empty() {
            run(&db, next);
        }
        db.close().unwrap();
    }
    let db = Database::open(&path).unwrap();
    let coded = rows(&db, "SELECT count(*) FROM items WHERE sid IS NULL");
    assert_eq!(coded.rows[0][0].as_i64(), Some(0), "items that came later are coded on arrival");
    assert_eq!(rows(&db, "RECOMMEND 5 FOR USER '7' USING p").len(), 5);
}

fn jobs(db: &Database) -> i64 {
    rows(db, "SELECT count(*) FROM jobs").rows[0][0].as_i64().unwrap()
}

fn sound(db: &Database) {
    let outcome = run(db, "VERIFY");
    let Outcome::Done { message, .. } = &outcome else {
        panic!("VERIFY found problems: {outcome:?}")
    };
    assert!(message.contains("no problem"), "{message}");
}

#[test]
fn a_second_process_is_told_that_the_file_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let _db = Database::open(home.path().join("shop.sidql")).unwrap();
    let second = sidql(home.path(), &["shop.sidql", "-c", "SHOW JOBS"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("open"), "{second:?}");
}
