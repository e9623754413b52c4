//! Neighbours: `flat`, `sid` and `faiss` of sidql beside faiss itself, on the same vectors, one thread each.
//!
//! Each side is a process of its own. A side sweeps how far it looks, from little to much, and tells the first setting at
//! which the mean recall of the ten nearest passes .95 and .99, with the median time of a question; then the same
//! questions under predicates that half, a twentieth and a two-hundredth of the items satisfy. `--items` says of how
//! many, `--queries` how many questions.

mod ours;

use std::path::Path;
use std::process::Command;

use sidql_bench::child::{self, Child, PEAK};
use sidql_bench::{Report, Result, option, synthetic};

/// Components of a vector.
const COMPONENTS: usize = 384;
/// The seed of the vectors.
const SEED: u64 = 42;
/// Rows that are wanted.
const K: usize = 10;
/// The marks of recall.
const MARKS: [&str; 2] = ["95", "99"];
/// Shares of the items that satisfy the predicates, in thousandths.
const SHARES: [u64; 3] = [500, 50, 5];
/// The script of the peer.
const PEER: &str = "bench/peers/python/near.py";
/// The crates and packages that read the number of threads from the environment.
const THREADED: [&str; 3] = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"];

fn main() -> Result {
    if child::role().is_some() {
        return ours::run();
    }
    let mut report = Report::from_args()?;
    let items: usize = option("--items").map_or(Ok(200_000), |text| text.parse())?;
    let queries: usize = option("--queries").map_or(Ok(200), |text| text.parse())?;
    // About as many cells as faiss advises.
    let lists =
        option("--lists").map_or(Ok(4 * (items as f64).sqrt() as usize), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let mut vectors = synthetic(items + queries, COMPONENTS, SEED);
    let asked = vectors.split_off(items * COMPONENTS);
    write(&folder.path().join("vectors.f32"), &vectors)?;
    write(&folder.path().join("queries.f32"), &asked)?;
    ours::fill(&folder.path().join("near.sidql"), &vectors, COMPONENTS)?;
    drop(vectors);
    report.say(format!(
        "{items} unit vectors of {COMPONENTS} components around 20,000 centres, seed {SEED}; {queries} questions of their kind, \
         {K} rows each, one thread, one after another; IVF of {lists} cells"
    ));
    let side = |command: &mut Command| {
        command.args(["--items", &items.to_string(), "--queries", &queries.to_string()]);
        command.args(["--lists", &lists.to_string()]).arg("--folder").arg(folder.path());
        Child::run(command.envs(THREADED.map(|name| (name, "1"))))
    };
    let mine = side(&mut child::again("ours")?)?;
    let peer = match std::env::var_os("PYTHON") {
        Some(python) => Some(side(Command::new(python).arg(PEER))?),
        None => None,
    };
    let mut sides = vec![("flat", "sidql flat", &mine), ("sid", "sidql sid", &mine)];
    if mine.tells("faiss 95 ms") {
        sides.push(("faiss", "sidql faiss, IVF Flat", &mine));
    }
    if let Some(peer) = &peer {
        sides.push(("flat", "faiss IndexFlatIP", peer));
        sides.push(("faiss", "faiss IVF Flat", peer));
    }
    recalls(&mut report, &sides, &mine)?;
    filtered(&mut report, &sides, &mine)?;
    report.say(format!("peak memory of sidql {:.0} MiB", mine.figure(PEAK)?));
    for (name, what) in [("build sid", "REBUILD CODEBOOK"), ("build faiss", "REBUILD INDEX")] {
        if mine.tells(name) {
            report.say(format!("{what} took {:.0} s", mine.figure(name)?));
        }
    }
    if let Some(peer) = &peer {
        report.say(format!("faiss itself built its IVF in {:.0} s", peer.figure("build faiss")?));
    }
    Ok(())
}

fn write(path: &Path, vectors: &[f32]) -> Result {
    Ok(std::fs::write(path, vectors.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?)
}

/// A side: what its figures are called, what it is called in the tables, and who told them.
type Side<'a> = (&'a str, &'a str, &'a Child);

fn recalls(report: &mut Report, sides: &[Side<'_>], mine: &Child) -> Result {
    let flat = mine.figure("flat ms")?;
    let mut rows = Vec::new();
    for (name, title, child) in sides {
        if *name == "flat" {
            let ms = child.figure("flat ms")?;
            rows.push(row(title, "exact", 1.0, ms, flat));
            continue;
        }
        for mark in MARKS {
            let figure = |what: &str| child.figure(&format!("{name} {mark} {what}"));
            if !child.tells(&format!("{name} {mark} ms")) {
                rows.push(vec![(*title).to_owned(), format!("recall .{mark} not reached")]);
                continue;
            }
            let effort = figure("effort")?;
            rows.push(row(title, &format!("{effort:.0}"), figure("recall")?, figure("ms")?, flat));
        }
    }
    let columns = ["", "nprobe", "recall@10", "ms p50", "questions/s", "times as fast as flat"];
    report.table("recall of the ten nearest of all items", &columns, &rows)
}

fn row(title: &str, effort: &str, recall: f64, ms: f64, flat: f64) -> Vec<String> {
    vec![
        title.to_owned(),
        effort.to_owned(),
        format!("{recall:.3}"),
        format!("{ms:.3}"),
        format!("{:.0}", 1000.0 / ms),
        format!("{:.1}", flat / ms),
    ]
}

fn filtered(report: &mut Report, sides: &[Side<'_>], mine: &Child) -> Result {
    let mut rows = Vec::new();
    for (name, title, child) in sides {
        for share in SHARES {
            let figure = |what: &str| child.figure(&format!("{name} {share} {what}"));
            if !child.tells(&format!("{name} {share} ms")) {
                continue;
            }
            let (ms, flat) = (figure("ms")?, mine.figure(&format!("flat {share} ms"))?);
            let first = |what: &str, digits: usize| -> Result<String> {
                let known = child.tells(&format!("{name} {share} first {what}"));
                let figure = known.then(|| figure(&format!("first {what}"))).transpose()?;
                Ok(figure.map_or(String::new(), |figure| format!("{figure:.digits$}")))
            };
            rows.push(vec![
                (*title).to_owned(),
                format!("{} %", share as f64 / 10.0),
                first("recall", 3)?,
                first("ms", 3)?,
                format!("{:.3}", figure("recall")?),
                format!("{:.1}", figure("rows")?),
                format!("{ms:.3}"),
                format!("{:.1}", flat / ms),
            ]);
        }
    }
    let columns = [
        "",
        "satisfy",
        "recall@10 at first",
        "ms p50 at first",
        "recall@10",
        "rows",
        "ms p50",
        "times as fast as flat",
    ];
    let title = "the same under a predicate, as far looked as for .95 without; at first, and all questions a second time";
    report.table(title, &columns, &rows)
}
