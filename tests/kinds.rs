//! Conformance: every member of every registry meets the same demands, through statements alone.

use std::collections::HashSet;

use sidql::Database;

use crate::support::toy::{coded, fill, first_column, rows, run, shop};

/// The members of a registry.
fn members(db: &Database, registry: &str) -> Vec<String> {
    let kinds = rows(db, "SHOW KINDS");
    let of = kinds.rows.iter().filter(|row| row[0].to_string() == registry);
    let names: Vec<String> = of.map(|row| row[1].to_string()).collect();
    assert!(!names.is_empty(), "no {registry}");
    names
}

/// Makes a trained policy `p` of a kind, small enough for a test.
fn train(db: &Database, kind: &str) {
    let options = match kind {
        "decoder" => {
            "ON CODEBOOK full WITH (width = 32, heads = 2, hidden = 32, layers = 1, buckets = 512)"
        }
        "lc_rec" => "WITH (width = 32, heads = 2, hidden = 32, layers = 1, title_tokens = 8)",
        _ => "",
    };
    let training = match kind {
        "decoder" | "lc_rec" => "WITH (epochs = 30, batch = 8, lr = 0.01, patience = 0)",
        _ => "",
    };
    run(db, &format!("CREATE POLICY p USING {kind} {options}"));
    run(db, &format!("TRAIN POLICY p {training}"));
}

#[test]
fn every_policy_fills_its_answer_within_the_predicate() {
    let (db, _folder) = coded();
    for kind in members(&db, "policy") {
        train(&db, &kind);
        for predicate in
            ["price < 30", "prefix = a1", "brand IS NULL AND price > 20", "id = 'g4i4'"]
        {
            for user in ["u1", "u5"] {
                let wanted: HashSet<String> =
                    first_column(&rows(&db, &format!("SELECT id FROM items WHERE {predicate}")))
                        .into_iter()
                        .collect();
                let seen: HashSet<String> = first_column(&rows(
                    &db,
                    &format!("SELECT item FROM interactions WHERE user = '{user}'"),
                ))
                .into_iter()
                .collect();
                let asked = rows(
                    &db,
                    &format!(
                        "RECOMMEND 7 FOR USER '{user}' USING p WHERE {predicate} WITH (beam = 2)"
                    ),
                );
                let got: Vec<String> =
                    (0..asked.len()).map(|at| asked.get(at, "id").unwrap().to_string()).collect();
                let qualify = wanted.difference(&seen).count();
                assert_eq!(got.len(), qualify.min(7), "{kind}: {predicate} for {user}");
                assert!(
                    got.iter().all(|id| wanted.contains(id) && !seen.contains(id)),
                    "{kind}: {got:?}"
                );
                assert_eq!(got.iter().collect::<HashSet<_>>().len(), got.len(), "{kind}: {got:?}");
            }
        }
        run(&db, "DROP POLICY p");
    }
}

#[test]
fn every_policy_learns_repeats_and_survives_reopening() {
    for kind in members(&coded().0, "policy") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.sidql");
        let db = Database::open(&path).unwrap();
        fill(&db, folder.path());
        crate::support::toy::code(&db);
        let ask = |db: &Database| rows(db, "RECOMMEND 5 FOR USER 'u3' USING p WITH (seed = 3)");
        train(&db, &kind);
        let first = ask(&db);
        run(&db, "DROP POLICY p");
        train(&db, &kind);
        assert_eq!(ask(&db), first, "{kind}: same seed, same answer");
        let report = rows(&db, "EVALUATE POLICY p ON test AT 10");
        let hits = report.get(0, "hr@10").unwrap().as_f64().unwrap();
        // The next item follows from the last one; popularity alone cannot know it.
        assert!(kind == "popular" || hits > 0.9, "{kind}: hr@10 {hits}");
        db.close().unwrap();
        let db = Database::open(&path).unwrap();
        assert_eq!(ask(&db), first, "{kind}: reopened");
    }
}

#[test]
fn a_new_item_is_recommended_by_a_policy_that_never_saw_it() {
    let (db, _folder) = coded();
    train(&db, "decoder");
    run(
        &db,
        "INSERT INTO items {id: 'cold', title: 'Nike soccer ball training match number 3', price: 1}",
    );
    let asked = rows(&db, "RECOMMEND 1 FOR USER 'u0' USING p WHERE price < 2");
    assert_eq!(asked.get(0, "id"), Some(&"cold".into()));
    let sid = rows(&db, "SELECT prefix(1), sid FROM items WHERE id = 'cold'");
    let found = rows(&db, &format!("SELECT id FROM items WHERE prefix = {}", sid.rows[0][1]));
    assert_eq!(first_column(&found), ["cold"]);
}

#[test]
fn every_quantizer_gives_unique_sids() {
    let (db, _folder) = shop();
    run(&db, "ENRICH items BY text WITH (projection = 'none')");
    for kind in members(&db, "quantizer") {
        // What makes a kind quick, where it has it: the vectors are long and few.
        let options = first_column(&rows(&db, &format!("DESCRIBE KIND {kind}")));
        let quick = [("epochs", 2), ("pca", 16)]
            .iter()
            .filter(|(name, _)| options.contains(&format!("option {name}")))
            .fold(String::new(), |quick, (name, value)| format!("{quick}, {name} = {value}"));
        for collisions in ["reassign", "suffix"] {
            run(
                &db,
                &format!(
                    "CREATE CODEBOOK c USING {kind} ON text WITH (levels = 2, codes = 4, collisions = '{collisions}'{quick})"
                ),
            );
            run(&db, "REBUILD CODEBOOK c");
            let sids = first_column(&rows(&db, "SELECT sid FROM items"));
            assert_eq!(sids.iter().collect::<HashSet<_>>().len(), 60, "{kind} {collisions}");
            run(&db, "DROP CODEBOOK c");
        }
    }
}

#[test]
fn every_kind_of_model_is_fitted_or_says_how_it_is_created() {
    let (db, _folder) = shop();
    let mut fitted = 0;
    for kind in members(&db, "model") {
        if let Err(error) = db.execute(&format!("ENRICH items BY text USING {kind}"), ()) {
            assert_eq!(error.code(), "no-model", "{kind}: {error}");
            let help = error.help_text().unwrap().to_owned();
            assert!(help.contains(&format!("CREATE MODEL m USING {kind}")), "{kind}: {help}");
            let bare = db.execute(&format!("CREATE MODEL m USING {kind}"), ()).unwrap_err();
            assert!(["no-path", "no-url"].contains(&bare.code()), "{kind}: {bare}");
            continue;
        }
        fitted += 1;
        let near = first_column(&rows(
            &db,
            "SELECT id FROM items NEAR TEXT 'swim goggles anti fog' LIMIT 5",
        ));
        assert!(near.iter().all(|id| id.starts_with("g5")), "{kind}: {near:?}");
    }
    assert!(fitted > 0, "no encoder works without weights");
}

#[test]
fn every_stage_describes_its_options_and_refuses_others() {
    let (db, _folder) = shop();
    for stage in members(&db, "stage") {
        let told = rows(&db, &format!("DESCRIBE KIND {stage}"));
        let options = told.rows.iter().filter(|row| row[0].to_string().starts_with("option "));
        assert!(options.count() > 0, "{stage}");
        let wrong = format!("ENRICH items BY {stage} WITH (agian = true)");
        let error = db.execute(&wrong, ()).unwrap_err();
        assert_eq!(error.code(), "unknown-name", "{stage}: {error}");
    }
}

#[test]
fn every_format_round_trips() {
    let (db, folder) = shop();
    let select = "SELECT id, title, price, categories, brand, stock FROM items ORDER BY id";
    let before = rows(&db, select);
    // An index has sids and nothing else; `codes.rs` has its round trip. Matrices of NumPy are only read.
    let tables = |format: &String| match format.as_str() {
        "index_json" | "npy" => false,
        "parquet" => cfg!(feature = "parquet"),
        _ => true,
    };
    for format in members(&db, "format").into_iter().filter(tables) {
        for compression in ["", ".gz", ".zst"] {
            let file = folder.path().join(format!("out.{format}{compression}"));
            run(&db, &format!("COPY ({select}) TO '{}'", file.display()));
            let other = Database::open_in_memory().unwrap();
            run(&other, &format!("COPY items FROM '{}'", file.display()));
            assert_eq!(rows(&other, select), before, "{format}{compression}");
        }
    }
}

#[test]
fn every_option_says_what_it_means() {
    let db = Database::open_in_memory().unwrap();
    for kind in rows(&db, "SHOW KINDS").rows.iter().map(|row| row[1].to_string()) {
        let told = rows(&db, &format!("DESCRIBE KIND {kind}"));
        for at in 0..told.len() {
            let what = told.get(at, "what").unwrap();
            assert_ne!(*what, sidql::Value::Null, "{kind}: {:?}", told.rows[at]);
        }
    }
}
