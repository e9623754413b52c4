//! A shop that embeds sidql: open, fill, encode, train, recommend. Copy it into a service.

use sidql::{Database, Params, Result};

pub(crate) fn main() -> Result<()> {
    let db = Database::open_in_memory()?;

    // Items and what users did with them; a service would COPY them from files.
    for sport in 0..4 {
        for number in 0..10 {
            let item = Params::default()
                .set("id", format!("s{sport}n{number}"))
                .set("title", format!("sport {sport} equipment, model {number}"))
                .set("price", 10 * number);
            db.execute("INSERT INTO items {id: $id, title: $title, price: $price}", item)?;
        }
    }
    for user in 0..20 {
        for step in 0..5 {
            let bought = Params::default()
                .set("user", format!("u{user}"))
                .set("item", format!("s{}n{}", user % 4, (user + step) % 10));
            db.execute("INSERT INTO interactions {user: $user, item: $item}", bought)?;
        }
    }

    // Texts to vectors, vectors to Semantic IDs.
    db.execute("ENRICH items BY text WITH (projection = 'none')", ())?;
    db.execute("CREATE CODEBOOK full USING rq_kmeans ON text WITH (levels = 2, codes = 8)", ())?;
    db.execute("REBUILD CODEBOOK full", ())?;
    let sids = db.query("SELECT id, sid FROM items LIMIT 3", ())?;
    assert_eq!(sids.len(), 3);

    // A policy, asked in SQL under a predicate and from Rust without parsing.
    db.execute("CREATE POLICY graph USING item_graph", ())?;
    db.execute("TRAIN POLICY graph WITH (until = 'all')", ())?;
    let cheap = db.query("RECOMMEND 3 FOR USER ? USING graph WHERE price < 50", ["u1".into()])?;
    assert_eq!(cheap.len(), 3);
    let graph = db.recommender("graph")?;
    let next = graph.after(&["s1n1", "s1n2"], 5)?;
    assert_eq!(next.len(), 5);
    assert_eq!(next[0].0, "s1n3");
    db.close()
}
