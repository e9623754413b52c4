//! The main job, statement by statement.

use std::io::Write;

use sidql::Value;

use crate::repl::{Shell, Stop};

/// Walks from two files to recommendations.
pub(super) fn walk(shell: &mut Shell) -> Result<(), Stop> {
    import(shell)?;
    codebook(shell)?;
    look_up(shell)?;
    policies(shell)?;
    recommend(shell)
}

fn import(shell: &mut Shell) -> Result<(), Stop> {
    say(
        shell,
        "Two files become a catalogue: the items of a sports shop, and what its users bought.",
    )?;
    shell.statement("COPY items FROM 'items.jsonl.gz'")?;
    shell.statement("COPY interactions FROM 'sequences.tsv.gz' WITH (layout = 'sequences')")?;
    shell.statement("DESCRIBE items")
}

fn codebook(shell: &mut Shell) -> Result<(), Stop> {
    say(shell, "Each item gets an embedding, and a codebook turns embeddings into Semantic IDs.")?;
    shell.statement("ENRICH items BY text USING hash")?;
    shell
        .statement("CREATE CODEBOOK demo USING rq_kmeans ON text WITH (levels = 3, codes = 64)")?;
    shell.statement("REBUILD CODEBOOK demo WITH (publish = true)")?;
    shell.statement("DESCRIBE CODEBOOK demo")
}

fn look_up(shell: &mut Shell) -> Result<(), Stop> {
    say(
        shell,
        "The four soccer balls of the paper's case study, and what shares a prefix with the first.",
    )?;
    shell.statement("SELECT id, title, sid FROM items WHERE id LIKE 'B0SOCCER%' ORDER BY id")?;
    let prefix = prefix_of(shell, "B0SOCCER1", 1)?;
    shell.statement(&format!(
        "SELECT id, title, price, sid FROM items WHERE prefix = {prefix} AND price < 30 LIMIT 6"
    ))?;
    shell.statement(&format!(
        "EXPLAIN SELECT id, title FROM items WHERE prefix = {prefix} AND price < 30 LIMIT 6"
    ))?;
    shell.statement("SELECT id, title, sid FROM items NEAR 'B0SOCCER3' LIMIT 5")?;
    say(shell, "A new item has its Semantic ID at once: nothing is trained again.")?;
    shell.statement(
        "INSERT INTO items {id: 'B0FUTSAL1', title: 'Futsal Ball, Size 4, Low Bounce',\n    \
         brand: 'Classic', price: 19.5, categories: ['Sports & Outdoors', 'Soccer', 'Balls'],\n    \
         description: 'soccer ball for indoor futsal on the hard court'}",
    )?;
    shell.statement("SELECT id, title, sid FROM items WHERE id = 'B0FUTSAL1'")
}

fn policies(shell: &mut Shell) -> Result<(), Stop> {
    say(
        shell,
        "Three policies: what sells best, what follows what, and a transformer over Semantic IDs.",
    )?;
    shell.statement("CREATE POLICY best USING popular")?;
    shell.statement("TRAIN POLICY best")?;
    shell.statement("CREATE POLICY graph USING item_graph")?;
    shell.statement("TRAIN POLICY graph")?;
    shell.statement("CREATE POLICY p USING decoder ON CODEBOOK demo")?;
    shell.statement("TRAIN POLICY p USING sft WITH (epochs = 5)")?;
    say(shell, "Each user's last purchase is left out and must be found among all the items.")?;
    shell.statement("EVALUATE POLICY best, graph, p ON test AT 5, 10")
}

fn recommend(shell: &mut Shell) -> Result<(), Stop> {
    say(
        shell,
        "A filter narrows the search itself, so the answer is full wherever enough items qualify.",
    )?;
    shell.statement("RECOMMEND 5 FOR USER 'u0001' USING p WHERE price < 30")?;
    say(
        shell,
        "The futsal ball of a minute ago can be recommended, though no policy has seen it.",
    )?;
    let prefix = prefix_of(shell, "B0FUTSAL1", 2)?;
    shell.statement(&format!(
        "RECOMMEND 3 AFTER ('B0SOCCER3', 'B0SOCCER4') USING p WHERE prefix = {prefix}"
    ))?;
    shell.statement("SHOW JOBS")
}

fn say(shell: &mut Shell, text: &str) -> Result<(), Stop> {
    writeln!(shell.out(), "\n-- {text}")?;
    Ok(())
}

/// The first levels of an item's SID.
fn prefix_of(shell: &mut Shell, id: &str, levels: usize) -> Result<String, Stop> {
    let question = format!("SELECT sid FROM items WHERE id = '{id}'");
    let sid = match shell.ask(&question) {
        Ok(rows) => rows.get(0, "sid").map(Value::to_string).unwrap_or_default(),
        // The same statement through the shell reports what is wrong.
        Err(_) => return shell.statement(&question).and(Err(Stop::Failed)),
    };
    Ok(sid.split('.').take(levels).collect::<Vec<_>>().join("."))
}
