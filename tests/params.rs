//! Parameters: `?` by position and `$name` by name, wherever a value may stand.

use sidql::{Params, Value};

use crate::support::toy::{coded, first_column, rows};

#[test]
fn a_parameter_stands_for_any_value() {
    let (db, folder) = coded();
    let ids = |text: &str, params: Params| {
        first_column(&db.query(text, params).unwrap_or_else(|error| panic!("{text}\n{error}")))
    };
    let by_price =
        "SELECT id FROM items WHERE price < ? AND brand IN (?, ?) ORDER BY id LIMIT ? OFFSET ?";
    let given: Params = vec![30.into(), "Nike".into(), "Acme".into(), 2.into(), 1.into()].into();
    assert_eq!(ids(by_price, given), ["g0i1", "g1i0"]);
    let named = Params::default().set("low", 90).set("brand", "Zephyr");
    assert_eq!(
        ids("SELECT id FROM items WHERE price > $low AND brand = $brand AND price > $low", named),
        ["g5i8"]
    );
    assert_eq!(ids("SELECT id FROM items NEAR ? LIMIT 1", vec!["g0i0".into()].into()), ["g0i3"]);
    let text = vec!["swim goggles".into()].into();
    assert!(ids("SELECT id FROM items NEAR TEXT ? LIMIT 1", text)[0].starts_with("g5"));
    assert_eq!(
        ids("SELECT id FROM items WHERE title LIKE ?", vec!["%shoes%8".into()].into()),
        ["g4i8"]
    );

    // The vector of an item, the sid of an item: what a query gave goes into the next.
    let of = rows(&db, "SELECT embedding('text'), sid FROM items WHERE id = 'g2i4'").rows.remove(0);
    assert_eq!(
        ids("SELECT id FROM items NEAR ? IN text LIMIT 1", vec![of[0].clone()].into()),
        ["g2i4"]
    );
    assert_eq!(ids("SELECT id FROM items WHERE sid = ?", vec![of[1].clone()].into()), ["g2i4"]);
    let plan =
        db.query("EXPLAIN SELECT id FROM items WHERE prefix IN (?)", [of[1].clone()]).unwrap();
    assert!(plan.rows.iter().any(|row| row[0].to_string().contains("range of sids")), "{plan:?}");

    let file = folder.path().join("out.csv").display().to_string();
    db.execute("COPY (SELECT id FROM items) TO ?", [file.as_str().into()]).unwrap();
    let added = Params::default().set("id", "p1").set("list", vec!["a".to_owned(), "b".to_owned()]);
    db.execute("INSERT INTO items {id: $id, categories: $list, price: 2}", added).unwrap();
    db.execute("UPDATE items SET price = ? WHERE id = ?", [Value::Null, "p1".into()]).unwrap();
    let found =
        rows(&db, "SELECT categories CONTAINS 'b', price IS NULL FROM items WHERE id = 'p1'");
    assert_eq!(found.rows, [[true.into(), true.into()]]);
    db.execute("DELETE FROM items WHERE id = ?", ["p1".into()]).unwrap();

    db.execute("CREATE POLICY graph USING item_graph", ()).unwrap();
    db.execute("TRAIN POLICY graph", ()).unwrap();
    let after = Params::default().set("k", 1).set("last", "g1i2").set("most", 50);
    let asked = db.query("RECOMMEND $k AFTER ('g1i1', $last) WHERE price < $most", after).unwrap();
    assert_eq!(asked.get(0, "id"), Some(&"g1i3".into()));
}

#[test]
fn a_value_is_never_read_as_language() {
    let (db, _folder) = coded();
    let hostile = "x' OR '1' = '1";
    let found = db.query("SELECT id FROM items WHERE brand = ?", [hostile.into()]).unwrap();
    assert!(found.is_empty());
    db.execute("INSERT INTO items {id: ?, title: 'odd'}", [hostile.into()]).unwrap();
    let found = db.query("SELECT id FROM items WHERE id = ?", [hostile.into()]).unwrap();
    assert_eq!(first_column(&found), [hostile]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (db, _folder) = coded();
    let cases: [(&str, Params, &str); 6] = [
        (
            "SELECT id FROM items WHERE price < ? AND stock < ?",
            vec![1.into()].into(),
            "parameter 2",
        ),
        ("SELECT id FROM items WHERE price < $most", Params::default().set("mots", 1), "$most"),
        ("SELECT id FROM items WHERE price < ?", vec!["cheap".into()].into(), "compared"),
        ("SELECT id FROM items LIMIT ?", vec![Value::from(-1)].into(), "LIMIT"),
        ("SELECT id FROM items NEAR ?", vec![Value::Vector(vec![1.0; 3])].into(), "3 components"),
        ("SELECT id FROM items WHERE prefix = ?", vec![true.into()].into(), "sid"),
    ];
    for (text, params, hint) in cases {
        let error = db.execute(text, params).expect_err(text);
        assert!(error.message().contains(hint), "{text}: {error}");
        assert!(error.kind() == sidql::ErrorKind::Input, "{text}: {error:?}");
    }
}
