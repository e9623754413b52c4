//! Codes of vectors: `REBUILD CODEBOOK` beside faiss and an RQ-VAE in PyTorch, on the same vectors and threads.
//!
//! Each side is a process of its own, and they take turns. The statement reads the vectors from the file and writes
//! the SIDs into it; the peers have theirs in memory. `--items` takes as many synthetic vectors instead of Beauty's,
//! `--rounds` and `--epochs` say how often and how long.

mod side;

use sidql_bench::child::{self, Child, PEAK};
use sidql_bench::{Report, Result, Samples, data, option, synthetic};

use side::{SIDES, Side, THREADS};

/// Components of a vector.
const COMPONENTS: usize = 384;
/// The seed of synthetic vectors.
const SEED: u64 = 42;

fn main() -> Result {
    if child::role().is_some() {
        return side::ours();
    }
    let mut report = Report::from_args()?;
    let rounds: usize = option("--rounds").map_or(Ok(3), |text| text.parse())?;
    let epochs: usize = option("--epochs").map_or(Ok(30), |text| text.parse())?;
    let items: Option<usize> = option("--items").map(|text| text.parse()).transpose()?;
    let only = option("--sides");
    let python = std::env::var_os("PYTHON")
        .ok_or("PYTHON must name an interpreter that has bench/peers/python/requirements.txt")?;
    let folder = tempfile::tempdir()?;
    let (vectors, what) = match items {
        Some(items) => {
            (synthetic(items, COMPONENTS, SEED), format!("{items} synthetic vectors, seed {SEED}"))
        }
        None => beauty()?,
    };
    let file = folder.path().join("vectors.f32");
    std::fs::write(&file, vectors.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
    let database = folder.path().join("vectors.sidql");
    side::fill(&database, &vectors, COMPONENTS)?;
    let count = vectors.len() / COMPONENTS;
    drop(vectors);
    report.say(format!(
        "{what} of {COMPONENTS} components, {THREADS} threads; {rounds} rounds of each side, taking turns; RQ-VAE: {epochs} epochs"
    ));
    let chosen = |side: &&Side| only.as_ref().is_none_or(|only| side.name.contains(only.as_str()));
    let sides: Vec<&Side> = SIDES.iter().filter(chosen).collect();
    let mut told: Vec<Vec<Child>> = sides.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (side, told) in sides.iter().zip(&mut told) {
            told.push(side.run((&file, &database), COMPONENTS, epochs, &python)?);
        }
    }
    table(&mut report, count, &sides, &told)
}

fn table(report: &mut Report, count: usize, sides: &[&Side], told: &[Vec<Child>]) -> Result {
    let figure = |told: &[Child], name: &str| -> Result<Samples> {
        Ok(Samples::new(told.iter().map(|child| child.figure(name)).collect::<Result<_>>()?))
    };
    let peer_of = |side: &Side| sides.iter().position(|other| other.name == side.peer);
    let mut rows = Vec::new();
    for (side, ours) in sides.iter().zip(told) {
        let train = figure(ours, "train")?;
        let encode = figure(ours, "encode")?;
        let mut row = vec![side.name.to_owned()];
        row.extend(train.cells(2));
        row.push(format!("{:.3}", encode.median()));
        row.push(format!("{:.0}", count as f64 / encode.median()));
        row.push(format!("{:.4}", figure(ours, "error")?.median()));
        row.push(format!("{:.2} %", 100.0 * figure(ours, "collisions")?.median()));
        row.push(format!("{:.0}", figure(ours, PEAK)?.most()));
        for name in ["train", "encode"] {
            let ratio = peer_of(side).map(|at| -> Result<f64> {
                Ok(figure(ours, name)?.median() / figure(&told[at], name)?.median())
            });
            row.push(ratio.transpose()?.map_or(String::new(), |ratio| format!("{ratio:.2}")));
        }
        rows.push(row);
    }
    let columns = [
        "",
        "train s",
        "least",
        "most",
        "encode s",
        "vectors/s",
        "error",
        "in collisions",
        "peak MiB",
        "train to peer",
        "encode to peer",
    ];
    report.table(
        "seconds; squared error to squared length; items that share their codes",
        &columns,
        &rows,
    )
}

/// The vectors of Beauty's texts by MiniLM.
fn beauty() -> Result<(Vec<f32>, String)> {
    let bytes = std::fs::read(data("beauty/minilm_f16.safetensors"))?;
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("a file without a header")?;
    let numbers = rest.get(u64::from_le_bytes(*length) as usize..).ok_or("a header cut off")?;
    let (halves, _) = numbers.as_chunks::<2>();
    let vectors: Vec<f32> = halves.iter().map(|half| widened(u16::from_le_bytes(*half))).collect();
    let what = format!("{} texts of Beauty by MiniLM", vectors.len() / COMPONENTS);
    Ok((vectors, what))
}

/// A number of 16 bits as one of 32.
fn widened(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023) / 1024.0);
    match exponent {
        0 => sign * fraction * 2f32.powi(-14),
        _ => sign * (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}
