//! The catalogue with its evidence, and spaces made from more and more of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sidql::{Database, Outcome, Value};
use sidql_bench::{Report, Result, data, weights};

/// The folder of the weights.
const MODEL: &str = "minilm-fp16";
/// The field that takes the descriptors of a file until ENRICH takes them over.
const TOLD: &str = "told_descriptors";

/// A space: its name, what it is made from in words, and the fields.
pub(crate) type Space = (&'static str, &'static str, &'static str);

/// Spaces from one text to all of it. The order is the paper's: title, description, caption, descriptors.
pub(crate) const SPACES: [Space; 4] = [
    ("title", "title", "'title'"),
    ("title_caption", "title, caption", "'title', 'caption'"),
    ("all", "all text but the caption", "'title', 'description', 'brand', 'categories'"),
    (
        "all_caption",
        "all text with the caption",
        "'title', 'description', 'caption', 'brand', 'categories'",
    ),
];
/// The space that needs descriptors.
const DESCRIPTORS: Space = (
    "all_caption_intent",
    "all text with caption and descriptors",
    "'title', 'description', 'caption', 'descriptors', 'brand', 'categories'",
);

/// The catalogue.
pub(crate) struct Evidence {
    /// The items whose codes are compared.
    pub(crate) db: Database,
    pub(crate) spaces: Vec<Space>,
    /// Of all items, also those without codes.
    pub(crate) titles: Vec<String>,
    pub(crate) captions: Vec<String>,
    /// For each of all items its place among those with codes.
    pub(crate) places: Vec<Option<usize>>,
}

impl Evidence {
    /// Reads the items, takes their captions over, and makes the spaces. Where there is a file of descriptors, the items
    /// that it lacks have no codes: all rows are compared on the same ones.
    pub(crate) fn new(report: &Report) -> Result<Self> {
        let db = Database::open_in_memory()?;
        let items = data("industrial_mm/items.jsonl.gz");
        let mut spaces = SPACES.to_vec();
        let whole = Database::open_in_memory()?;
        whole.execute(&format!("COPY items FROM '{}'", items.display()), ())?;
        let column = |name| column(&whole, name);
        let (ids, titles, captions) = (column("id")?, column("title")?, column("caption")?);
        let told = std::env::var_os("DESCRIPTORS").map(PathBuf::from);
        if let Some(file) = &told {
            let folder = tempfile::tempdir()?;
            let joined = folder.path().join("items.jsonl");
            join(&items, file, &joined)?;
            say(report, &db, &format!("COPY items FROM '{}'", joined.display()))?;
            say(report, &db, &format!("ENRICH items BY intent WITH (from = '{TOLD}')"))?;
            say(report, &db, "DELETE FROM items WHERE descriptors IS NULL")?;
            spaces.push(DESCRIPTORS);
        } else {
            say(report, &db, &format!("COPY items FROM '{}'", items.display()))?;
            report.say("no file of descriptors (DESCRIPTORS): the row with them is left out");
        }
        say(report, &db, "ENRICH items BY caption WITH (from = 'caption')")?;
        let path = weights(MODEL)?;
        let model = format!("CREATE MODEL minilm USING bert WITH (path = '{}')", path.display());
        db.execute(&model, ())?;
        for (space, _, parts) in &spaces {
            let options = format!("parts = [{parts}], space = '{space}'");
            say(report, &db, &format!("ENRICH items BY text USING minilm WITH ({options})"))?;
        }
        let coded = self::column(&db, "id")?;
        let coded: HashMap<&str, usize> =
            coded.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        let places = ids.iter().map(|id| coded.get(id.as_str()).copied()).collect();
        Ok(Evidence { db, spaces, titles, captions, places })
    }
}

/// Runs a statement and says what it said.
fn say(report: &Report, db: &Database, statement: &str) -> Result {
    let Outcome::Done { message, .. } = db.execute(statement, ())? else {
        return Err(format!("`{statement}` says nothing").into());
    };
    // A path says where somebody keeps the data, which is nobody else's concern.
    let shown = statement.split(" '").next().filter(|_| statement.starts_with("COPY"));
    report.say(format!("{}: {message}", shown.unwrap_or(statement)));
    Ok(())
}

/// A column of texts, in the order of the items.
fn column(db: &Database, name: &str) -> Result<Vec<String>> {
    let rows = db.query(&format!("SELECT {name} FROM items"), ())?;
    let text = |row: Vec<Value>| row[0].as_str().unwrap_or_default().to_owned();
    Ok(rows.into_iter().map(text).collect())
}

/// Items with the descriptors of a file (JSON Lines of `id` and `descriptors`) as one more field.
fn join(items: &Path, descriptors: &Path, to: &Path) -> Result {
    let mut told: HashMap<String, Json> = HashMap::new();
    for line in std::fs::read_to_string(descriptors)?.lines() {
        let mut one: Json = serde_json::from_str(line)?;
        told.insert(id(&one), one["descriptors"].take());
    }
    // The database reads packed files; what it writes is plain.
    let db = Database::open_in_memory()?;
    db.execute(&format!("COPY items FROM '{}'", items.display()), ())?;
    let plain = to.with_extension("plain.jsonl");
    db.execute(&format!("COPY items TO '{}'", plain.display()), ())?;
    let mut lines = String::new();
    for line in std::fs::read_to_string(plain)?.lines() {
        let mut item: Json = serde_json::from_str(line)?;
        item[TOLD] = told.remove(&id(&item)).unwrap_or(Json::Null);
        lines += &format!("{item}\n");
    }
    if let Some(unknown) = told.keys().next() {
        return Err(format!("descriptors of `{unknown}`, which is no item").into());
    }
    Ok(std::fs::write(to, lines)?)
}

fn id(object: &Json) -> String {
    object["id"].as_str().map_or_else(|| object["id"].to_string(), str::to_owned)
}
