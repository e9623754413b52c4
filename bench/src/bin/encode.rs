//! Text encoding: the 12,101 titles of Beauty by MiniLM, sidql beside sentence-transformers, taking turns.
//!
//! Each turn is a process of its own: sidql imports the items and runs `ENRICH items BY text USING minilm`, which reads,
//! encodes and commits; the peer (`peers/python/encode.py`) reads the titles and encodes them. `SIDQL_MODELS` has the
//! folder `minilm-fp16`, `PYTHON` the interpreter, `DATA` the data.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value as Json, json};
use sidql::{Database, Value};
use sidql_bench::{Report, Result, option, peak_mib, percentile};

/// Turns of each side.
const TURNS: usize = 3;
/// Components of a vector.
const DIM: usize = 384;

fn main() -> Result {
    if let Some(out) = option("--child") {
        return child(Path::new(&out));
    }
    let mut report = Report::from_args()?;
    let folder = tempfile::tempdir()?;
    let (ours_out, theirs_out) = (folder.path().join("ours.f32"), folder.path().join("theirs.f32"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(run(Command::new(std::env::current_exe()?).arg("--child").arg(&ours_out))?);
        theirs.push(run(Command::new(variable("PYTHON")?)
            .args(["-W", "ignore", "bench/peers/python/encode.py"])
            .args([items()?, weights()?, theirs_out.clone()])
            .arg("2"))?);
    }
    let (least, mean) = cosines(&std::fs::read(&ours_out)?, &std::fs::read(&theirs_out)?)?;
    report.say(format!(
        "titles of Beauty by all-MiniLM-L6-v2, two threads; {}\n\
         cosine of the two vectors of a title: {least:.6} at the least, {mean:.6} in the mean",
        theirs[0]["versions"].as_str().unwrap_or_default()
    ));
    let row = |name: &str, turns: &[Json]| {
        let column = |what: &str| {
            let mut all: Vec<u64> =
                turns.iter().map(|t| (t[what].as_f64().unwrap_or(0.0) * 1000.0) as u64).collect();
            all.sort_unstable();
            let middle = percentile(&all, 0.5) as f64 / 1000.0;
            let (first, last) = (all[0] as f64 / 1000.0, all[all.len() - 1] as f64 / 1000.0);
            (middle, format!("{middle:.1} ({first:.1} to {last:.1})"))
        };
        let (seconds, encode) = column("encode");
        let (_, load) = column("load");
        let (_, peak) = column("peak_mib");
        (seconds, vec![name.to_owned(), encode, load, peak])
    };
    let (a, mut first) = row("sidql, ENRICH", &ours);
    let (b, mut second) = row("sentence-transformers", &theirs);
    first.push(format!("{:.2}", a / b));
    second.push("1".to_owned());
    report.table(
        "median of three turns (least to most); ratio below 1 is faster than the peer",
        &["", "encode, s", "start and load, s", "peak memory, MiB", "ratio"],
        &[first, second],
    )
}

/// One turn of sidql, in a file of its own.
fn child(out: &Path) -> Result {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let db = Database::open(folder.path().join("b.sidql"))?;
    db.execute(&format!("COPY items FROM '{}'", items()?.display()), ())?;
    let path = weights()?;
    db.execute(&format!("CREATE MODEL minilm USING bert WITH (path = '{}')", path.display()), ())?;
    let loaded = started.elapsed().as_secs_f64();
    let started = Instant::now();
    db.execute("ENRICH items BY text USING minilm WITH (parts = ['title'])", ())?;
    let encode = started.elapsed().as_secs_f64();
    let peak = peak_mib();
    let mut bytes = Vec::new();
    for row in &db.query("SELECT embedding('text') FROM items", ())?.rows {
        let Value::Vector(vector) = &row[0] else { return Err("an item has no vector".into()) };
        bytes.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
    }
    std::fs::write(out, bytes)?;
    print(&json!({"load": loaded, "encode": encode, "peak_mib": peak}));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "a turn answers on stdout")]
fn print(answer: &Json) {
    println!("{answer}");
}

fn run(command: &mut Command) -> Result<Json> {
    let ended = command.output()?;
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned().into());
    }
    let out = String::from_utf8(ended.stdout)?;
    Ok(serde_json::from_str(out.lines().last().unwrap_or_default())?)
}

/// The least and the mean cosine of two sets of unit vectors, as little-endian floats.
fn cosines(ours: &[u8], theirs: &[u8]) -> Result<(f64, f64)> {
    if ours.len() != theirs.len() || ours.is_empty() {
        return Err(format!("{} and {} bytes of vectors", ours.len(), theirs.len()).into());
    }
    let floats = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks::<4>().0.iter().map(|x| f64::from(f32::from_le_bytes(*x))).collect()
    };
    let (ours, theirs) = (floats(ours), floats(theirs));
    let (mut least, mut sum, mut count) = (1.0f64, 0.0, 0);
    for (a, b) in ours.chunks_exact(DIM).zip(theirs.chunks_exact(DIM)) {
        let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        // A title without a word has no direction here.
        if a.iter().any(|x| *x != 0.0) {
            least = least.min(cosine);
            sum += cosine;
            count += 1;
        }
    }
    Ok((least, sum / f64::from(count.max(1))))
}

fn items() -> Result<PathBuf> {
    let data = std::env::var("DATA").unwrap_or_else(|_| "../shared/data".to_owned());
    Ok(std::fs::canonicalize(data)?.join("beauty/items.jsonl.gz"))
}

fn weights() -> Result<PathBuf> {
    Ok(PathBuf::from(variable("SIDQL_MODELS")?).join("minilm-fp16"))
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("set {name}").into())
}
