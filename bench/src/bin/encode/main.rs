//! Titles as vectors by MiniLM: the statement beside sentence-transformers, on the same texts, weights and threads.
//!
//! Each round is a process of its own, and the sides take turns. The statement reads the items from the file and writes
//! the vectors into it; the peer has its texts in memory and keeps its vectors there.

mod round;

use std::path::Path;

use sidql::{Database, Value};
use sidql_bench::child::PEAK;
use sidql_bench::{Report, Result, Samples, child, data, option, weights};

use round::{Round, THREADS};

/// The folder of the weights.
const MODEL: &str = "minilm-fp16";
/// Rounds of each side; another one before them, of one title, warms up the cache of the system.
const ROUNDS: usize = 3;

fn main() -> Result {
    if child::role().is_some() {
        return round::ours();
    }
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(usize::MAX >> 1), |text| text.parse())?;
    let python = std::env::var_os("PYTHON")
        .ok_or("PYTHON must name an interpreter that has bench/peers/python/requirements.txt")?;
    let folder = tempfile::tempdir()?;
    let round = |name: &str| Round::new(&folder.path().join(name), &python, &weights(MODEL)?);
    let (one, all) = (round("one")?, round("all")?);
    texts(&one.texts, 1)?;
    let count = texts(&all.texts, most)?;
    report.say(format!(
        "{count} titles of Beauty, {MODEL}, {THREADS} threads; {ROUNDS} rounds of each side, taking turns"
    ));
    report.say(all.versions()?);
    one.turns(1)?;
    let short = one.turns(ROUNDS)?;
    let long = all.turns(ROUNDS)?;
    speed(&mut report, count, &long)?;
    processes(&mut report, count, &short, &long)?;
    differences(&report, &all)
}

/// Writes the ids and titles of items that have one; tells how many.
fn texts(file: &Path, most: usize) -> Result<usize> {
    let db = Database::open_in_memory()?;
    let items = data("beauty/items.jsonl.gz");
    db.execute(&format!("COPY items FROM '{}'", items.display()), ())?;
    let select = format!("SELECT id, title FROM items WHERE title IS NOT NULL LIMIT {most}");
    db.execute(&format!("COPY ({select}) TO '{}'", file.display()), ())?;
    Ok(db.query(&select, ())?.len())
}

/// What the children of one file told, by side.
type Told = [Vec<child::Child>; 2];

/// A figure of the children of one side.
fn figures(side: &[child::Child], names: &[&str]) -> Result<Samples> {
    let sum = |child: &child::Child| names.iter().map(|name| child.figure(name)).sum();
    Ok(Samples::new(side.iter().map(sum).collect::<Result<_>>()?))
}

/// Seconds of encoding. What the statement does beside it is part of its time.
fn speed(report: &mut Report, count: usize, [ours, theirs]: &Told) -> Result {
    let peer = figures(theirs, &["encode"])?;
    let rows = [
        ("ENRICH items BY text, the weights opened in it", figures(ours, &["enrich"])?),
        ("sentence-transformers, encode", figures(theirs, &["encode"])?),
        ("sentence-transformers, load and encode", figures(theirs, &["load", "encode"])?),
    ];
    let rows = rows.map(|(name, seconds)| {
        let mut row = vec![name.to_owned()];
        row.extend(seconds.cells(2));
        row.push(format!("{:.0}", count as f64 / seconds.median()));
        row.push(format!("{:.2}", seconds.median() / peer.median()));
        row
    });
    let columns = ["", "median", "least", "most", "titles/s", "to encode of the peer"];
    report.table(&format!("{count} titles, seconds"), &columns, &rows)
}

/// From the start of a process to its end, and the most memory that it had.
fn processes(report: &mut Report, count: usize, short: &Told, long: &Told) -> Result {
    let names = ["sidql", "sentence-transformers"];
    let mut rows = Vec::new();
    for (titles, told) in [(1, short), (count, long)] {
        for (name, side) in names.iter().zip(told) {
            let wall = Samples::new(side.iter().map(|child| child.wall).collect());
            let mut row = vec![format!("{name}, {titles} titles")];
            row.extend(wall.cells(2));
            row.push(format!("{:.0}", figures(side, &[PEAK])?.most()));
            rows.push(row);
        }
    }
    let title =
        "a whole process: start, load, read, encode, write, end; seconds, peak memory in MiB";
    report.table(title, &["", "median", "least", "most", "peak"], &rows)
}

/// Whether both sides did the same work.
fn differences(report: &Report, round: &Round) -> Result {
    let db = Database::builder().read_only(true).open(&round.database)?;
    let rows = db.query("SELECT embedding('text') FROM items", ())?;
    let bytes = std::fs::read(&round.vectors)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let theirs: Vec<f64> = numbers.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect();
    let dim = theirs.len() / rows.len().max(1);
    if dim == 0 || theirs.len() != dim * rows.len() {
        return Err(format!("{} numbers for {} vectors", theirs.len(), rows.len()).into());
    }
    let mut cosines = Vec::with_capacity(rows.len());
    for (row, theirs) in rows.into_iter().zip(theirs.chunks_exact(dim)) {
        let [Value::Vector(ours)] = row.as_slice() else {
            return Err("an item with a title has no vector".into());
        };
        if ours.len() != dim {
            return Err(format!("vectors of {} and of {dim} components", ours.len()).into());
        }
        let ours: Vec<f64> = ours.iter().map(|x| f64::from(*x)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        cosines.push(dot(&ours, theirs) / (dot(&ours, &ours) * dot(theirs, theirs)).sqrt());
    }
    let cosines = Samples::new(cosines);
    report.say(format!(
        "\ncosine of the two vectors of a title: at least 1 - {:.1e}, in the median 1 - {:.1e}",
        1.0 - cosines.least(),
        1.0 - cosines.median(),
    ));
    Ok(())
}
