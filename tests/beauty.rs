//! The real Amazon data: counts, and the figures of the training-free item graph.

use sidql::Database;

use crate::support::beside::data;
use crate::support::toy::{rows, run};

#[test]
fn the_item_graph_meets_its_reference() {
    let Some(folder) = data("beauty") else { return };
    let db = Database::open_in_memory().unwrap();
    run(&db, &format!("COPY items FROM '{}'", folder.join("items.jsonl.gz").display()));
    let histories = folder.join("sequences.tsv.gz");
    run(
        &db,
        &format!("COPY interactions FROM '{}' WITH (layout = 'sequences')", histories.display()),
    );
    for (relation, count) in [("items", 12_101), ("interactions", 198_502), ("users", 22_363)] {
        let found = rows(&db, &format!("SELECT count(*) FROM {relation}"));
        assert_eq!(found.rows[0][0].as_i64(), Some(count), "{relation}");
    }
    run(&db, "CREATE POLICY graph USING item_graph");
    run(&db, "TRAIN POLICY graph");
    let report = rows(&db, "EVALUATE POLICY graph ON test AT 5, 10");
    assert_eq!(report.get(0, "users").unwrap().as_i64(), Some(22_363));
    // The reference heuristic, seen items filtered, trained on the training part alone.
    for (figure, wanted) in
        [("hr@5", 0.0618), ("hr@10", 0.0829), ("ndcg@5", 0.0454), ("ndcg@10", 0.0522)]
    {
        let found = report.get(0, figure).unwrap().as_f64().unwrap();
        assert!((found - wanted).abs() < 0.002, "{figure}: {found}, the reference is {wanted}");
    }
}
