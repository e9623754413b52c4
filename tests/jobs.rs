//! Long work: cancelled, killed, resumed; and a file that two processes want.

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
    let Outcome::Done { message } = run(&db, &format!("RESUME JOB {job}")) else { panic!() };
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

#[test]
fn a_killed_process_loses_no_acknowledged_row() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("shop.sidql");
    {
        let db = Database::open(&path).unwrap();
        fill(&db, home.path());
        code(&db);
        run(&db, DECODER);
        db.close().unwrap();
    }
    let statements = [
        "REBUILD CODEBOOK full WITH (iterations = 10000, tolerance = 0.0)",
        "ENRICH items BY text",
        TRAIN,
    ];
    for (round, statement) in statements.iter().enumerate() {
        let insert = format!("INSERT INTO items {{id: 'kept{round}', title: 'kept ball'}}");
        let mut child = command(home.path())
            .args(["shop.sidql", "-c", &insert, "-c", statement])
            .spawn()
            .unwrap();
        // The row is acknowledged on stdout before the long statement begins.
        let mut out = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        std::thread::sleep(Duration::from_millis(40 * (round as u64 + 1)));
        child.kill().unwrap();
        child.wait().unwrap();
        let db = Database::open(&path).unwrap();
        let Outcome::Done { message } = run(&db, "VERIFY") else { panic!("VERIFY found problems") };
        assert!(message.contains("no problem"), "{message}");
        let kept = rows(&db, &format!("SELECT count(*) FROM items WHERE id = 'kept{round}'"));
        assert_eq!(kept.rows[0][0].as_i64(), Some(1), "{line}");
        let stranded = rows(&db, "SELECT job FROM jobs WHERE state = 'interrupted'");
        for row in &stranded.rows {
            run(&db, &format!("RESUME JOB {}", row[0]));
        }
        run(&db, "VERIFY");
        db.close().unwrap();
    }
}

#[test]
fn a_second_process_is_told_that_the_file_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let _db = Database::open(home.path().join("shop.sidql")).unwrap();
    let second = sidql(home.path(), &["shop.sidql", "-c", "SHOW JOBS"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("open"), "{second:?}");
}
