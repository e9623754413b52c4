//! The shell as a person meets it: a terminal (lent by the program `script`), keys, pictures, completion.

use std::fs;

use tempfile::{TempDir, tempdir};

use crate::support::process::{Terminal, sidql, sidql_fed};

const INSERT: &str = "INSERT INTO items {id: 'B1', title: 'Ball, \"blue\"', price: 9.5}, \
                      {id: 'B2', title: 'Net', price: NULL}";

/// A home with the database `shop.sidql`, which holds two items.
fn shop() -> TempDir {
    let home = tempdir().unwrap();
    let made = sidql(home.path(), &["shop.sidql", "-c", INSERT]);
    assert_eq!(made.code, Some(0), "{made:?}");
    home
}

/// A home with `shop.sidql`: 60 items with SIDs, 200 users, and a policy that has learned nothing yet.
fn taught() -> TempDir {
    let home = tempdir().unwrap();
    let item = |row: usize| {
        format!("{{\"id\": \"B{row}\", \"title\": \"ball {row}\", \"price\": {row}}}\n")
    };
    fs::write(home.path().join("many.jsonl"), (0..60).map(item).collect::<Vec<_>>().concat())
        .unwrap();
    let histories: Vec<String> = (0..200).map(|user| format!("{user}\tB1 B2 B3 B4 B5\n")).collect();
    fs::write(home.path().join("histories.tsv"), histories.concat()).unwrap();
    let script = "COPY items FROM 'many.jsonl'; \
                  COPY interactions FROM 'histories.tsv' WITH (layout = 'sequences'); \
                  ENRICH items BY text WITH (projection = 'none'); \
                  CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 8); \
                  REBUILD CODEBOOK full WITH (publish = true); \
                  CREATE POLICY p USING decoder ON CODEBOOK full;";
    let made = sidql(home.path(), &["shop.sidql", "-c", script]);
    assert_eq!(made.code, Some(0), "{made:?}");
    home
}

const FOREVER: &str = "TRAIN POLICY p WITH (epochs = 100000, patience = 0);\r";

#[test]
fn a_person_types_over_several_lines() {
    let home = shop();
    fs::write(home.path().join(".sidqlrc"), ".mode jsonl\n").unwrap();
    let mut terminal = Terminal::open(&home, "shop.sidql");
    terminal.expect("sidql> ");
    terminal.send("SELECT id, title\r");
    terminal.send("FROM items WHERE id = 'B2';\r");
    terminal.expect("{\"id\":\"B2\",\"title\":\"Net\"}");
    terminal.expect("sidql> ");
    terminal.send("half a statement\x03");
    terminal.expect("sidql> ");
    terminal.send(".tim\t off\r");
    terminal.expect("sidql> ");
    terminal.send("SELECT nonsense FROM items;\r");
    terminal.expect("error: ");
    terminal.expect("sidql> ");
    terminal.send("\x04");
    assert_eq!(terminal.close(), Some(0), "a failure long ago does not matter to a person");
    let history = fs::read_to_string(home.path().join(".sidql_history")).unwrap();
    assert!(history.contains("title\\nFROM items WHERE id = 'B2';\n"), "{history}");
    assert!(history.contains(".timer off\n") && !history.contains("half"), "{history}");
}

#[test]
fn ctrl_c_asks_about_a_job_and_detaches_it() {
    let home = taught();
    let mut terminal = Terminal::open(&home, "shop.sidql");
    terminal.expect("sidql> ");
    terminal.send(FOREVER);
    // The bar: the statement waits for its job.
    terminal.expect("epoch ");
    terminal.send("\x03");
    terminal.expect("(d)etach");
    // The question stays until it is answered; another key is no answer.
    terminal.send("x");
    terminal.send("d");
    terminal.expect("goes on behind the shell; `WAIT JOB 5;` waits for it");
    terminal.expect("sidql> ");
    terminal.send("SELECT state FROM jobs WHERE job = 5;\r");
    terminal.expect("running");
    terminal.expect("sidql> ");
    // Waiting can be ended again, and the job with it.
    terminal.send("WAIT JOB 5;\r");
    terminal.expect("epoch ");
    terminal.send("\x03");
    terminal.expect("(d)etach");
    terminal.send("\x03");
    terminal.expect("cancelling");
    terminal.expect("error: cancelled on request");
    terminal.expect("RESUME JOB 5; goes on with it");
    terminal.expect("sidql> ");
    terminal.send("SELECT state FROM jobs WHERE job = 5;\r");
    terminal.expect("cancelled");
    terminal.expect("sidql> ");
    terminal.send("exit\r");
    assert_eq!(terminal.close(), Some(0));
}

#[test]
fn a_person_waits_on_or_leaves_with_a_job_at_work() {
    let home = taught();
    let mut terminal = Terminal::open(&home, "shop.sidql");
    terminal.expect("sidql> ");
    terminal.send(FOREVER);
    terminal.expect("epoch ");
    terminal.send("\x03");
    terminal.expect("(d)etach");
    terminal.send("\r");
    terminal.expect("wait");
    terminal.expect("epoch ");
    terminal.send("\x03");
    terminal.expect("(d)etach");
    terminal.send("c");
    terminal.expect("error: cancelled on request");
    terminal.expect("sidql> ");
    terminal.send("RESUME JOB 5 IN BACKGROUND;\r");
    terminal.expect("job 5 started");
    terminal.expect("sidql> ");
    terminal.send("TRAIN POLICY p WITH (epochs = 1) IN BACKGROUND; CANCEL JOB 5;\r");
    terminal.expect("job 5 is cancelled");
    // A job behind the shell tells of its end before the next line.
    std::thread::sleep(std::time::Duration::from_secs(3));
    terminal.send("\r");
    terminal.expect("job 6: policy `p` trained for 1 epoch");
    terminal.expect("sidql> ");
    terminal.send("RESUME JOB 5 IN BACKGROUND;\r");
    terminal.expect("job 5 started");
    terminal.send(".quit\r");
    terminal.expect("job 5 stops with the shell");
    assert_eq!(terminal.close(), Some(0));
    let left = sidql(home.path(), &["shop.sidql", "-c", "SELECT state FROM jobs WHERE job = 5"]);
    assert_eq!(left.out, "state\ninterrupted\n");
}

#[test]
fn words_of_other_shells_are_understood() {
    let home = shop();
    let mut terminal = Terminal::open(&home, "shop.sidql");
    terminal.expect("sidql> ");
    terminal.send("help\r");
    terminal.expect(".timer on|off");
    terminal.expect("sidql> ");
    terminal.send("\\h train\r");
    terminal.expect("TRAIN POLICY name [USING objective]");
    terminal.expect("sidql> ");
    terminal.send("quit;\r");
    assert_eq!(terminal.close(), Some(0));
}

#[test]
fn tab_completes_names_options_codes_and_files() {
    let home = taught();
    let mut terminal = Terminal::open(&home, "shop.sidql");
    terminal.expect("sidql> ");
    let mut completes = |typed: &str, shown: &[&str]| {
        terminal.send(typed);
        terminal.send("\t\t");
        for text in shown {
            terminal.expect(text);
        }
        terminal.send("\x03");
        // A new line begins: keys that come before it are lost.
        terminal.expect("\x1b[?2004h");
    };
    completes("SELECT pri", &["price"]);
    completes("SELECT stat FROM jobs\x01\x1bf\x1bf", &["state"]);
    completes("CREATE CODEBOOK c USING rq_", &["rq_vae", "rq_kmeans_plus"]);
    completes("TRAIN POLICY p USING ", &["sft", "grpo"]);
    completes("CREATE CODEBOOK c USING rq_kmeans ON text WITH (co", &["codes", "option, 256"]);
    completes("REBUILD CODEBOOK full WITH (align_", &["align_to", "align_slack"]);
    completes("RECOMMEND 3 FOR USER '1' WITH (max_", &["max_per_prefix"]);
    completes("SELECT id FROM items WHERE prefix = ", &["a", "items"]);
    completes("SELECT id FROM items WHERE prefix = a1.", &["a1.b", "item"]);
    completes(".mode mark", &["markdown"]);
    completes(".plot codebook fu", &["full"]);
    completes("COPY items FROM 'man", &["many.jsonl"]);
}

#[test]
fn a_job_and_a_codebook_are_drawn() {
    let home = taught();
    let train = "TRAIN POLICY p WITH (epochs = 8, patience = 0, batch = 16)";
    let ended = sidql(home.path(), &["shop.sidql", "-c", train, "-c", ".plot job"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[0], format!("job 5, done: {train}"));
    assert!(lines[1..13].iter().all(|line| line.contains('|')), "{}", ended.out);
    assert!(lines[13].trim_start().starts_with("+---"), "{}", ended.out);
    assert!(lines.iter().any(|line| line.starts_with("* loss: ")), "{}", ended.out);
    assert!(lines.iter().any(|line| line.starts_with("o val_loss: ")), "{}", ended.out);
    let plain = |letter: char| letter == '\n' || !letter.is_control();
    assert!(ended.out.chars().all(plain) && lines.iter().all(|line| line.chars().count() <= 80));
    let again = sidql(home.path(), &["shop.sidql", "-c", ".plot job 5"]);
    assert_eq!(again.out, ended.out, "as the file has it");

    let curve = "SELECT count(*), max(step) FROM curves WHERE job = 5 AND figure = 'val_loss'";
    let asked = sidql(home.path(), &["shop.sidql", "-c", curve]);
    assert!(asked.out.contains("8\t"), "one point an epoch: {asked:?}");

    let ended = sidql(home.path(), &["shop.sidql", "-c", ".plot codebook full"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "level a: 8 of 8 codes used",
        "level b: ",
        "a: prefixes by how many items they hold",
        "a.b: prefixes",
    ] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    assert!(ended.out.lines().all(|line| line.chars().count() <= 100));

    for (line, hint) in [
        (".plot", "say .plot job"),
        (".plot job 99", "there is no job 99"),
        (".plot job 1", "job 1 has noted no figures"),
        (".plot job 5 los", "no figure `los`; it has loss"),
        (".plot codebook ful", "did you mean `full`?"),
        (".plot codebook full 7", "generation"),
    ] {
        let ended = sidql(home.path(), &["shop.sidql", "-c", line]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""), "{line}: {ended:?}");
        assert!(ended.err.contains(hint), "{line}: {}", ended.err);
    }
}

#[test]
fn a_dump_makes_the_same_items_again() {
    let home = taught();
    let odd = "INSERT INTO items {id: 'O''1', \"two words\": 'a\nb', price: 1, weight: 0.5, tags: ['x', 'y'], ok: true} \
               WITH (new_fields = true)";
    let made =
        sidql(home.path(), &["shop.sidql", "-c", odd, "-c", "TRAIN POLICY p WITH (epochs = 1)"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let dump = sidql(home.path(), &["shop.sidql", "-c", ".dump"]);
    assert_eq!((dump.code, dump.err.as_str()), (Some(0), ""), "{dump:?}");
    assert!(dump.out.contains("-- CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2"));
    assert!(dump.out.contains("-- TRAIN POLICY p WITH (epochs = 1);"), "{}", dump.out);
    let read = sidql_fed(home.path(), &["copy.sidql"], &dump.out);
    assert_eq!(read.code, Some(0), "{read:?}");
    let data = |text: &str| {
        text.lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect::<Vec<_>>()
    };
    let again = sidql(home.path(), &["copy.sidql", "-c", ".dump"]);
    assert_eq!(data(&again.out), data(&dump.out));
    assert!(again.out.contains("'O''1'") && again.out.lines().count() > 10);
    let some = sidql(home.path(), &["shop.sidql", "-c", ".dump interactions"]);
    assert!(some.out.contains("INSERT INTO interactions") && !some.out.contains("INTO items"));
}

#[test]
fn parameters_stand_for_values() {
    let home = taught();
    let script = ".param set most 3\n\\set name 'ball 1'\n.param $v [0.5, 1]\n.param\n\
                  SELECT id FROM items WHERE price < $most ORDER BY id;\n\
                  SELECT id FROM items WHERE title = $name;\n\
                  .param unset most\nSELECT id FROM items WHERE price < $most;\n";
    let ended = sidql_fed(home.path(), &["shop.sidql"], script);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_eq!(
        ended.out,
        "$most = 3\n$name = 'ball 1'\n$v = [0.500, 1.000]\nid\nB0\nB1\nB2\nid\nB1\n"
    );
    assert!(ended.err.contains("no value for parameter $most"), "{}", ended.err);
}

#[test]
fn further_commands() {
    let home = taught();
    let script = "\\echo a  'b c'\n.mode box\n\\x\nSELECT id FROM items LIMIT 1;\n\\x\n.mode\n\
                  .mode tsv\n.import many2.jsonl\n";
    let more = "{\"id\": \"C1\"}\n{\"id\": \"C2\"}\n";
    fs::write(home.path().join("many2.jsonl"), more).unwrap();
    let ended = sidql_fed(home.path(), &["shop.sidql"], script);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "a b c\nid = B0\n(1 row)\nbox\n");
    assert!(ended.err.contains("2 items"), "{}", ended.err);
    let safe = sidql(home.path(), &["shop.sidql", "--safe", "-c", ".import many2.jsonl"]);
    assert_eq!(safe.code, Some(3), "{safe:?}");
}
