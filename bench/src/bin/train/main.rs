//! Training by gradient beside PyTorch: histories a second of the shapes of `tiger` and `hybrid`, the same histories, codes
//! and batches, the same two threads. `PYTHON` names an interpreter with `bench/peers/python/requirements.txt`.
//!
//! The two sides take turns, each round a process of its own. Ours is the figure that a policy keeps of its training; both
//! leave reading, the first step (compilation, first allocations) and validation out, or hold them next to nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sidql::{Database, Value};
use sidql_bench::child::{Child, again, role, tell};
use sidql_bench::{LEVELS, Report, Result, SIZE, Samples, World, needed};

// As the shell has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 20_262;
/// Items of the catalogue, that of Beauty.
const ITEMS: usize = 12_101;
/// Histories, and the items of each: as long as Beauty's are in the mean, so that no side gains by its padding.
const USERS: usize = 4_096;
const HISTORY: usize = 9;
/// Histories in a step.
const BATCH: usize = 256;
/// Passes over the histories that are timed.
const EPOCHS: usize = 2;
/// Components of the vectors that `hybrid` reads.
const CONTENT: usize = 256;
/// Threads of either side.
const THREADS: usize = 2;
/// Rounds of each side.
const ROUNDS: usize = 3;

/// A shape, in the words of both sides.
struct Shape {
    kind: &'static str,
    /// What is measured.
    what: &'static str,
    /// Sizes, named alike on both sides.
    sizes: &'static [(&'static str, usize)],
}

const SHAPES: [Shape; 2] = [
    Shape {
        kind: "tiger",
        what: "T5, 4 + 4 layers of width 128, one target a history",
        sizes: &[("layers", 4), ("heads", 6), ("head_width", 64), ("width", 128), ("hidden", 1024)],
    },
    Shape {
        kind: "hybrid",
        what: "2 blocks of width 64, every item a target, 1024 negatives, SID head",
        sizes: &[
            ("layers", 2),
            ("depth_layers", 1),
            ("heads", 2),
            ("width", 64),
            ("hidden", 128),
            ("negatives", 1024),
        ],
    },
];

fn main() -> Result {
    if let Some(kind) = role() {
        return train(&kind);
    }
    let mut report = Report::from_args()?;
    report.say(format!(
        "{USERS} histories of {HISTORY} items of {ITEMS}, {LEVELS} levels x {SIZE} codes, {BATCH} a step, {EPOCHS} epochs, \
         {THREADS} threads, {ROUNDS} rounds of each side in turn"
    ));
    let folder = tempfile::tempdir()?;
    fill(folder.path())?;
    let mut rows = Vec::new();
    for shape in SHAPES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(own(folder.path(), &shape)?);
            theirs.extend(peer(folder.path(), &shape)?);
        }
        let side = |samples: &Samples| {
            let [median, least, most] = samples.cells(0);
            format!("{median} ({least} to {most})")
        };
        let ours = Samples::new(ours);
        let mut row = vec![shape.kind.to_owned(), shape.what.to_owned(), side(&ours)];
        if theirs.is_empty() {
            row.extend([String::new(), String::new()]);
        } else {
            let theirs = Samples::new(theirs);
            row.extend([side(&theirs), format!("{:.2}", ours.median() / theirs.median())]);
        }
        rows.push(row);
    }
    let columns = ["", "shape", "histories/s", "PyTorch, histories/s", "ours to theirs"];
    report.table("training", &columns, &rows)
}

/// The files that both sides read.
fn fill(folder: &Path) -> Result {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (mut items, mut vectors) = (String::new(), String::new());
    for at in 0..ITEMS {
        let id = World::id(at);
        writeln!(items, "{{\"id\":\"{id}\"}}")?;
        let vector: Vec<String> =
            (0..CONTENT).map(|_| format!("{:.4}", random.random::<f32>() - 0.5)).collect();
        writeln!(vectors, "{{\"id\":\"{id}\",\"vector\":[{}]}}", vector.join(","))?;
    }
    let (mut sequences, mut histories) = (String::new(), String::new());
    for user in 0..USERS {
        let drawn: Vec<usize> = (0..HISTORY).map(|_| random.random_range(0..ITEMS)).collect();
        let names: Vec<String> = drawn.iter().map(|at| World::id(*at)).collect();
        let numbers: Vec<String> = drawn.iter().map(ToString::to_string).collect();
        writeln!(sequences, "u{user}\t{}", names.join(" "))?;
        writeln!(histories, "{}", numbers.join(" "))?;
    }
    for (name, text) in [
        ("items.jsonl", items),
        ("vectors.jsonl", vectors),
        ("sequences.tsv", sequences),
        ("histories.txt", histories),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let db = Database::open(folder.join("shop.sidql"))?;
    for statement in [
        format!("COPY items FROM '{}'", path("items.jsonl")),
        format!("COPY interactions FROM '{}' WITH (layout = 'sequences')", path("sequences.tsv")),
        format!("COPY embeddings FROM '{}' WITH (space = 'content')", path("vectors.jsonl")),
        format!(
            "CREATE CODEBOOK full USING rq_kmeans ON content WITH (levels = {LEVELS}, codes = {SIZE})"
        ),
        "REBUILD CODEBOOK full WITH (publish = true)".to_owned(),
        format!("COPY codes TO '{}' WITH (codebook = 'full')", path("sids.tsv")),
    ] {
        db.execute(&statement, ())?;
    }
    db.close()?;
    // The peer numbers items by their lines.
    let mut codes = vec![String::new(); ITEMS];
    let ids: HashMap<String, usize> = (0..ITEMS).map(|at| (World::id(at), at)).collect();
    for line in std::fs::read_to_string(path("sids.tsv"))?.lines() {
        let (id, sid) = line.split_once('\t').ok_or("a line without a SID")?;
        codes[*ids.get(id).ok_or("an item that is not known")?] = sid.replace('\t', " ");
    }
    std::fs::write(folder.join("codes.txt"), codes.join("\n"))?;
    Ok(())
}

/// Our side, in a process of its own.
fn own(folder: &Path, shape: &Shape) -> Result<f64> {
    let mut command = again(shape.kind)?;
    command.arg("--folder").arg(folder).env("RAYON_NUM_THREADS", THREADS.to_string());
    Child::run(&mut command)?.figure("rate")
}

/// Trains once more and tells the rate.
fn train(kind: &str) -> Result {
    let folder = needed("--folder")?;
    let shape = SHAPES.into_iter().find(|shape| shape.kind == kind).ok_or("no such shape")?;
    let db = Database::open(Path::new(&folder).join("shop.sidql"))?;
    let sizes = shape.sizes.iter().map(|(name, size)| format!("{name} = {size}"));
    let mut sizes: Vec<String> = sizes.collect();
    if kind == "tiger" {
        sizes.push("decoder_layers = 4".to_owned());
    }
    let sizes = sizes.join(", ");
    db.execute(&format!("CREATE POLICY p USING {kind} ON CODEBOOK full WITH ({sizes})"), ())?;
    // All is learned, so that nothing is validated on.
    let with = format!("epochs = {EPOCHS}, batch = {BATCH}, until = 'all', device = 'cpu'");
    db.execute(&format!("TRAIN POLICY p WITH ({with})"), ())?;
    let facts = db.query("DESCRIBE POLICY p", ())?;
    let rate = facts.rows.iter().find(|row| row[0].to_string() == "samples per second");
    let Some(Value::Float(rate)) = rate.map(|row| &row[1]) else {
        return Err("the policy keeps no rate".into());
    };
    tell("rate", *rate);
    db.execute("DROP POLICY p", ())?;
    db.close()?;
    Ok(())
}

/// The peer's side; none without an interpreter.
fn peer(folder: &Path, shape: &Shape) -> Result<Option<f64>> {
    let python = std::env::var_os("PYTHON").filter(|python| !python.is_empty());
    let Some(python) = python else { return Ok(None) };
    let mut command = Command::new(python);
    command.arg("bench/peers/python/train.py").arg(shape.kind);
    command.arg("--codes").arg(folder.join("codes.txt"));
    command.arg("--histories").arg(folder.join("histories.txt"));
    let more = [
        ("size", usize::from(SIZE)),
        ("content", CONTENT),
        ("batch", BATCH),
        ("epochs", EPOCHS),
        ("threads", THREADS),
    ];
    for (name, number) in more.iter().chain(shape.sizes) {
        command.args([format!("--{}", name.replace('_', "-")), number.to_string()]);
    }
    Ok(Some(Child::run(&mut command)?.figure("rate")?))
}
