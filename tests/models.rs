//! Real local weights on real data: MiniLM on Amazon's titles and on captions of their photos, ResNet50 on photos of
//! groceries, SmolLM2 as a (weak) miner of descriptors.

use std::path::Path;

use sidql::{Database, Outcome};

use crate::support::beside::{data, model};
use crate::support::toy::{code, fill, rows, run};

/// Items of Beauty that are encoded: enough for neighbours that mean something.
const BEAUTY: usize = 600;
/// Items that the language model is asked about: it writes some fourteen tokens a second.
const ASKED: usize = 1;

fn say(db: &Database, statement: &str) -> String {
    match run(db, statement) {
        Outcome::Done { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

/// The first lines of a compressed file, as a file of their own.
fn first_lines(from: &Path, count: usize, to: &Path) {
    let lines = Database::open_in_memory().unwrap();
    run(&lines, &format!("COPY items FROM '{}'", from.display()));
    run(&lines, &format!("COPY (SELECT * FROM items LIMIT {count}) TO '{}'", to.display()));
}

/// A database in memory with the items of a file, and MiniLM as the model `minilm`.
fn with_minilm(items: &Path, weights: &Path) -> Database {
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", items.display()));
    run(&db, &format!("CREATE MODEL minilm USING bert WITH (path = '{}')", weights.display()));
    db
}

#[test]
fn minilm_finds_beauty_by_meaning_and_a_new_item_has_its_code_at_once() {
    let (Some(folder), Some(weights)) = (data("beauty"), model("minilm-fp16")) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let items = scratch.path().join("some.jsonl");
    first_lines(&folder.join("items.jsonl.gz"), BEAUTY, &items);
    let db = with_minilm(&items, &weights);
    let said = say(&db, "ENRICH items BY text USING minilm WITH (parts = ['title'])");
    assert_eq!(said, format!("{BEAUTY} vectors of 384 components in space `text`"));
    // None of these words stands in a title that is found: the meaning does.
    let near = rows(&db, "SELECT title FROM items NEAR TEXT 'varnish for fingers' LIMIT 5");
    let polish = near.rows.iter().filter(|row| {
        let title = row[0].to_string().to_lowercase();
        title.contains("nail") || title.contains("polish") || title.contains("lacquer")
    });
    assert!(polish.count() >= 4, "{near:?}");
    run(&db, "CREATE CODEBOOK c USING rq_kmeans ON text WITH (levels = 3, codes = 16)");
    run(&db, "REBUILD CODEBOOK c");
    let said = say(&db, "INSERT INTO items {id: 'new', title: 'OPI Nail Lacquer, Cherry Red'}");
    assert!(said.starts_with("1 item, sid a"), "{said}");
    let near = rows(&db, "SELECT title FROM items NEAR 'new' LIMIT 1");
    assert!(near.rows[0][0].to_string().contains("Nail"), "{near:?}");
    assert_eq!(rows(&db, "SELECT id FROM items WHERE stale(text)").len(), 0);
    run(&db, "VERIFY");
}

#[test]
fn captions_of_photos_are_taken_over_and_change_what_is_near() {
    let (Some(folder), Some(weights)) = (data("industrial_mm"), model("minilm-fp16")) else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let items = scratch.path().join("some.jsonl");
    first_lines(&folder.join("items.jsonl.gz"), 300, &items);
    let db = with_minilm(&items, &weights);
    let said = say(&db, "ENRICH items BY caption WITH (from = 'caption')");
    assert_eq!(said, "300 captions from `caption`");
    let same = rows(&db, "SELECT id FROM items WHERE caption != field('caption')");
    // Line breaks and double spaces of the field are single spaces of a caption.
    assert!(same.len() < 30, "{} captions differ from their field", same.len());
    run(&db, "ENRICH items BY text USING minilm WITH (parts = ['title'], space = 'title_only')");
    run(&db, "ENRICH items BY text USING minilm WITH (parts = ['title', 'caption'])");
    // What somebody sees on a photo finds its item where the caption is part of the text.
    let mut found = [0, 0];
    for row in &rows(&db, "SELECT id, caption FROM items LIMIT 40").rows {
        for (space, found) in ["title_only", "text"].into_iter().zip(&mut found) {
            let near = format!("SELECT id FROM items NEAR TEXT $1 IN {space} LIMIT 1");
            let near = db.query(&near.replace("$1", "?"), [row[1].clone()]).unwrap();
            *found += usize::from(near.rows[0][0] == row[0]);
        }
    }
    assert!(found[1] >= found[0] + 8, "{found:?}");
    // A caption that changes makes the vector of text and caption stale, and that of the title not.
    run(&db, "UPDATE items SET caption = 'a plain white box' WHERE id = '7'");
    run(&db, "ENRICH items BY caption WHERE stale WITH (from = 'caption')");
    assert_eq!(rows(&db, "SELECT id FROM items WHERE stale(text)").len(), 1);
    assert_eq!(rows(&db, "SELECT id FROM items WHERE stale(title_only)").len(), 0);
    let said = say(&db, "ENRICH items BY text WHERE stale");
    assert_eq!(said, "1 vector of 384 components in space `text`");
}

#[test]
fn resnet_finds_groceries_by_their_photos() {
    let (Some(folder), Some(weights)) = (data("grocery_photos"), model("resnet50")) else { return };
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", folder.join("items.jsonl.gz").display()));
    run(&db, &format!("CREATE MODEL resnet USING resnet WITH (path = '{}')", weights.display()));
    let base = folder.display();
    let said = say(&db, &format!("ENRICH items BY image USING resnet WITH (base = '{base}')"));
    assert_eq!(said, "81 vectors of 2048 components in space `image`");
    let photo = folder.join("images/001.jpg");
    let near =
        rows(&db, &format!("SELECT id, score FROM items NEAR IMAGE '{}' LIMIT 2", photo.display()));
    assert_eq!(near.rows[0][0].to_string(), "1");
    assert!(near.rows[0][1].as_f64().unwrap() > 0.9999, "{near:?}");
    let all = rows(&db, "SELECT id, coarse FROM items");
    let mut same = 0;
    for row in &all.rows {
        let (id, coarse) = (row[0].to_string(), row[1].to_string());
        let near = rows(&db, &format!("SELECT coarse FROM items NEAR '{id}' IN image LIMIT 1"));
        same += usize::from(near.rows[0][0].to_string() == coarse);
    }
    // Of the 81 nearest photos 47 are of the same kind by the reference vectors of these weights.
    assert!((46..=48).contains(&same), "{same} of 81 nearest photos are of the same kind");
    // An item without a photo has no vector, and is not lost to a fusion.
    run(&db, "ENRICH items BY text WITH (projection = 'none')");
    run(&db, "INSERT INTO items {id: 'plain', title: 'Apple without a photo'}");
    run(&db, "ENRICH items BY fused WITH (parts = ['text', 'image'], dim = 16)");
    let plain = rows(
        &db,
        "SELECT length(embedding('fused')), embedding('image') IS NULL FROM items WHERE id = 'plain'",
    );
    assert_eq!(plain.rows[0], [16.into(), true.into()]);
}

#[test]
fn a_small_language_model_answers_within_the_file_or_is_listed() {
    let (Some(folder), Some(weights)) = (data("beauty"), model("smollm2-135m")) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let items = scratch.path().join("some.jsonl");
    first_lines(&folder.join("items.jsonl.gz"), ASKED, &items);
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", items.display()));
    let path = weights.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    run(&db, &format!("CREATE MODEL small USING causal_lm WITH (path = '{}')", path.display()));
    run(&db, "ENRICH items BY intent USING small WITH (repairs = 0, max_tokens = 32)");
    let job = rows(&db, "SELECT job FROM jobs WHERE kind = 'enrich'").rows[0][0].to_string();
    let failed = rows(&db, &format!("SHOW FAILURES JOB {job}"));
    let done = rows(&db, "SELECT id FROM items WHERE descriptors IS NOT NULL");
    assert_eq!(failed.len() + done.len(), ASKED);
    // A model this small seldom keeps to the schema; what it said is kept.
    assert!(failed.rows.iter().all(|row| !row[5].to_string().is_empty()), "{failed:?}");
}

/// A few steps over real weights: it answers within the predicate, the same after the file was opened again, and says what
/// is wrong where its base has gone.
#[test]
fn a_policy_learns_over_a_small_language_model() {
    let Some(weights) = model("smollm2-135m") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let gguf = scratch.path().join("base.gguf");
    std::os::unix::fs::symlink(weights.join("SmolLM2-135M-Instruct.Q4_1.gguf"), &gguf).unwrap();
    let file = scratch.path().join("shop.sidql");
    let db = Database::open(&file).unwrap();
    fill(&db, scratch.path());
    code(&db);
    run(&db, &format!("CREATE MODEL smol USING causal_lm WITH (path = '{}')", gguf.display()));
    run(&db, "CREATE POLICY p USING decoder WITH (base = 'smol', lora = 4, history = 6)");
    run(
        &db,
        "TRAIN POLICY p WITH (epochs = 1, batch = 16, lr = 0.001, warmup = 0, validation_users = 4)",
    );
    let ask = |db: &Database| {
        rows(db, "RECOMMEND 5 FOR USER 'u1' USING p WHERE price < 60 WITH (beam = 5)")
    };
    let (found, seen) = (ask(&db), rows(&db, "SELECT item FROM interactions WHERE user = 'u1'"));
    assert_eq!(found.len(), 5);
    let seen: Vec<String> = seen.rows.iter().map(|row| row[0].to_string()).collect();
    assert!(found.rows.iter().all(|row| !seen.contains(&row[1].to_string())), "{found:?}");
    db.close().unwrap();
    let db = Database::open(&file).unwrap();
    assert_eq!(ask(&db), found);
    db.close().unwrap();
    std::fs::remove_file(&gguf).unwrap();
    let db = Database::open(&file).unwrap();
    let error = db.query("RECOMMEND 5 FOR USER 'u1' USING p", ()).err().unwrap();
    assert_eq!(error.code(), "no-weights", "{error}");
}
