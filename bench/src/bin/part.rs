//! The paper's case study in numbers: of items whose titles are alike, how many part in the first levels of their codes,
//! by what the codes were made from.
//!
//! Data: `industrial_mm`, 1,204 items with real captions of their photos. A pair is an item and its nearest neighbour
//! by the TF-IDF cosine of titles, where that is at least `ALIKE`. Codebooks are `rq_kmeans` over MiniLM vectors of the
//! title, of all text but captions, and of either with captions; five seeds each. `DESCRIPTORS` may name a file of JSON
//! Lines with `id` and `descriptors`, which then join the text.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use sidql::{Database, Value};
use sidql_bench::{Report, Result};

/// The least cosine of titles that are alike.
const ALIKE: f64 = 0.5;
/// Seeds of each codebook.
const SEEDS: u64 = 5;
/// Codes of each of the three levels.
const SIZES: [usize; 2] = [32, 256];

fn main() -> Result {
    let mut report = Report::from_args()?;
    let db = Database::open_in_memory()?;
    let data = std::env::var("DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    let items = std::fs::canonicalize(data)?.join("industrial_mm/items.jsonl.gz");
    db.execute(&format!("COPY items FROM '{}'", items.display()), ())?;
    let models = std::env::var("SIDQL_MODELS").map_err(|_| "set SIDQL_MODELS")?;
    let path = PathBuf::from(models).join("minilm-fp16");
    db.execute(&format!("CREATE MODEL minilm USING bert WITH (path = '{}')", path.display()), ())?;
    let mut spaces = vec![
        ("title", "title", "['title']"),
        (
            "text",
            "title, description, brand, categories",
            "['title', 'description', 'brand', 'categories']",
        ),
        ("title_caption", "title, caption", "['title', 'caption']"),
        (
            "text_caption",
            "title, description, caption, brand, categories",
            "['title', 'description', 'caption', 'brand', 'categories']",
        ),
    ];
    if let Ok(file) = std::env::var("DESCRIPTORS") {
        let told = take_over(&db, &file)?;
        report.say(told);
        spaces.push((
            "text_caption_descriptors",
            "the same and descriptors",
            "['title', 'description', 'caption', 'descriptors', 'brand', 'categories']",
        ));
    } else {
        report.say("no descriptors were given, so no row has them");
    }
    let titles = titles(&db)?;
    let pairs = alike(&titles);
    report.say(format!(
        "{} items, {} pairs of a title and its nearest with a cosine of {ALIKE} or more",
        titles.len(),
        pairs.len()
    ));
    for (space, _, parts) in &spaces {
        db.execute(
            &format!("ENRICH items BY text USING minilm WITH (parts = {parts}, space = '{space}')"),
            (),
        )?;
    }
    for size in SIZES {
        let mut rows = Vec::new();
        for (space, told, _) in &spaces {
            rows.push(row(&db, space, told, size, &pairs, titles.len())?);
        }
        report.table(
            &format!("share of pairs whose SIDs have parted, rq_kmeans 3 x {size}, mean of {SEEDS} seeds (least to most)"),
            &["made from", "at level 1", "by level 2", "by level 3", "random pairs, by level 2"],
            &rows,
        )?;
    }
    Ok(())
}

/// Gives items the descriptors of a file.
fn take_over(db: &Database, file: &str) -> Result<String> {
    // A field comes into being with its first value.
    db.execute("INSERT INTO items {id: 'first', tags: ['a']} WITH (new_fields = true)", ())?;
    db.execute("DELETE FROM items WHERE id = 'first'", ())?;
    let mut taken = 0;
    for line in std::fs::read_to_string(file)?.lines() {
        let one: serde_json::Value = serde_json::from_str(line)?;
        let id = one["id"].to_string();
        let id = id.trim_matches('"');
        let tags = one["descriptors"].as_array().into_iter().flatten();
        let tags: Vec<Value> = tags.filter_map(|tag| tag.as_str()).map(Value::from).collect();
        db.execute("UPDATE items SET tags = ? WHERE id = ?", [Value::List(tags), id.into()])?;
        taken += 1;
    }
    db.execute("ENRICH items BY intent WITH (from = 'tags')", ())?;
    Ok(format!("descriptors of {taken} items from a file"))
}

/// The titles by item, in the order of the items.
fn titles(db: &Database) -> Result<Vec<String>> {
    let rows = db.query("SELECT title FROM items", ())?;
    Ok(rows.rows.iter().map(|row| row[0].to_string()).collect())
}

/// Each item with its nearest neighbour by the TF-IDF cosine of titles, where they are alike; no pair twice.
fn alike(titles: &[String]) -> Vec<(usize, usize)> {
    let words = |title: &String| -> Vec<String> {
        let lower = title.to_lowercase();
        lower
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let words: Vec<Vec<String>> = titles.iter().map(words).collect();
    let mut documents: HashMap<&str, f64> = HashMap::new();
    for title in &words {
        for word in title.iter().map(String::as_str).collect::<HashSet<_>>() {
            *documents.entry(word).or_default() += 1.0;
        }
    }
    let vector = |title: &Vec<String>| {
        let mut weights: HashMap<&str, f64> = HashMap::new();
        for word in title {
            let rarity = (titles.len() as f64 / documents[word.as_str()]).ln();
            let (key, _) = documents.get_key_value(word.as_str()).expect("every word was counted");
            *weights.entry(*key).or_default() += rarity;
        }
        let length = weights.values().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        for weight in weights.values_mut() {
            *weight /= length;
        }
        weights
    };
    let vectors: Vec<HashMap<&str, f64>> = words.iter().map(vector).collect();
    let mut pairs = HashSet::new();
    for (at, one) in vectors.iter().enumerate() {
        let cosine = |other: &HashMap<&str, f64>| -> f64 {
            one.iter().filter_map(|(word, x)| Some(x * other.get(word)?)).sum()
        };
        let others = vectors.iter().enumerate().filter(|(other, _)| *other != at);
        let nearest = others
            .map(|(other, vector)| (cosine(vector), other))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((cosine, other)) = nearest.filter(|(cosine, _)| *cosine >= ALIKE) {
            debug_assert!(cosine <= 1.0 + 1e-9, "a cosine");
            pairs.insert((at.min(other), at.max(other)));
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable();
    pairs
}

/// The row of one space: the shares over all seeds.
fn row(
    db: &Database,
    space: &str,
    told: &str,
    size: usize,
    pairs: &[(usize, usize)],
    items: usize,
) -> Result<Vec<String>> {
    let mut shares: [Vec<f64>; 4] = Default::default();
    for seed in 1..=SEEDS {
        let name = format!("{space}_{size}_{seed}");
        db.execute(
            &format!("CREATE CODEBOOK {name} USING rq_kmeans ON {space} WITH (levels = 3, codes = {size}, seed = {seed})"),
            (),
        )?;
        db.execute(&format!("REBUILD CODEBOOK {name}"), ())?;
        let rows = db.query(&format!("SELECT sid('{name}') FROM items"), ())?;
        let sids: Vec<Vec<u16>> = rows
            .rows
            .iter()
            .map(|row| match &row[0] {
                Value::Sid(sid) => Ok(sid.codes().to_vec()),
                other => Err(format!("`{other}` is no sid").into()),
            })
            .collect::<Result<_>>()?;
        let parted = |(a, b): &(usize, usize), level: usize| sids[*a][..level] != sids[*b][..level];
        for level in 1..=3 {
            let count = pairs.iter().filter(|pair| parted(pair, level)).count();
            shares[level - 1].push(count as f64 / pairs.len() as f64);
        }
        // Items far apart in the file stand for random pairs.
        let random: Vec<(usize, usize)> =
            (0..items).map(|at| (at, (at + items / 2) % items)).collect();
        let count = random.iter().filter(|pair| parted(pair, 2)).count();
        shares[3].push(count as f64 / random.len() as f64);
        db.execute(&format!("DROP CODEBOOK {name}"), ())?;
    }
    let cell = |all: &Vec<f64>| {
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        format!("{mean:.3} ({least:.3} to {most:.3})")
    };
    let mut row = vec![told.to_owned()];
    row.extend(shares.iter().map(cell));
    Ok(row)
}
