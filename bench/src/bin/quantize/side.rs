//! One side: a process that trains a codebook and encodes all vectors, by the statement or by a peer.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sidql::{Database, Outcome};
use sidql_bench::child::{self, Child};
use sidql_bench::{Result, needed};
use sidql_storage::{
    Item, OpenOptions, Space, Store, View, embeddings, generations, items, spaces,
};

/// Threads of each side.
pub(crate) const THREADS: usize = 2;
/// The script of the peers.
const PEER: &str = "bench/peers/python/quantize.py";
/// The crates and packages that read the number of threads from the environment.
const THREADED: [&str; 3] = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"];
/// How often the progress of a build is looked at.
const TICK: Duration = Duration::from_millis(1);
/// Vectors that are written together.
const BATCH: usize = 10_000;

/// One side of the measurement.
pub(crate) struct Side {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// The side that it is compared with.
    pub(crate) peer: &'static str,
    /// The kind and the options of a statement, or the side of the script.
    does: Does,
}

enum Does {
    Statement(&'static str, &'static str),
    Peer(&'static str),
}

/// All sides. `rq_vae` is trained as the peer is; the last one as by itself.
pub(crate) const SIDES: &[Side] = &[
    Side {
        name: "faiss ResidualQuantizer, beam 1",
        peer: "",
        does: Does::Peer("residual_quantizer"),
    },
    Side { name: "faiss.Kmeans, level by level", peer: "", does: Does::Peer("kmeans") },
    Side {
        name: "rq_kmeans",
        peer: "faiss.Kmeans, level by level",
        does: Does::Statement("rq_kmeans", ""),
    },
    Side {
        name: "rq_kmeans, tolerance 1e-3",
        peer: "faiss.Kmeans, level by level",
        does: Does::Statement("rq_kmeans", "tolerance = 1e-3"),
    },
    Side {
        name: "rq_kmeans, 8 passes",
        peer: "faiss.Kmeans, level by level",
        does: Does::Statement("rq_kmeans", "iterations = 8"),
    },
    Side { name: "PyTorch RQ-VAE", peer: "", does: Does::Peer("rq_vae") },
    Side {
        name: "rq_vae, the same",
        peer: "PyTorch RQ-VAE",
        does: Does::Statement(
            "rq_vae",
            "ema = 0, dead = 0, warmup = 0, cosine = false, keep = 'last', evaluate = 1000000, epochs = {epochs}",
        ),
    },
    Side {
        name: "rq_vae",
        peer: "PyTorch RQ-VAE",
        does: Does::Statement("rq_vae", "epochs = {epochs}"),
    },
];

impl Side {
    /// Runs it once, on a file of floats and a database that holds the same.
    pub(crate) fn run(
        &self,
        (vectors, database): (&Path, &Path),
        components: usize,
        epochs: usize,
        python: &OsStr,
    ) -> Result<Child> {
        let threads = THREADED.map(|name| (name, THREADS.to_string()));
        let mut command = match self.does {
            Does::Peer(side) => {
                let mut command = Command::new(python);
                command.args([PEER, "--side", side, "--threads", &THREADS.to_string()]);
                command.args(["--components", &components.to_string()]);
                command.args(["--epochs", &epochs.to_string()]).arg("--vectors").arg(vectors);
                command
            }
            Does::Statement(kind, options) => {
                let mut command = child::again("statement")?;
                command.args(["--kind", kind]);
                command.args(["--options", &options.replace("{epochs}", &epochs.to_string())]);
                command.arg("--database").arg(database);
                command
            }
        };
        Child::run(command.envs(threads))
    }
}

/// Writes items with these vectors into a new file.
pub(crate) fn fill(database: &Path, vectors: &[f32], components: usize) -> Result {
    Database::open(database)?.close()?;
    let store = Store::open(database, &OpenOptions::default())?;
    let write = store.write()?;
    spaces::create(
        &write,
        &Space {
            name: "text".to_owned(),
            dim: components as u32,
            encoder: "hash".to_owned(),
            config: r#"{"stage":"text","parts":null,"options":{},"made_from":[]}"#.to_owned(),
            source_hash: 1,
            ..Space::default()
        },
    )?;
    write.commit()?;
    for (batch, rows) in vectors.chunks(BATCH * components).enumerate() {
        let write = store.write()?;
        let mut numbered = Vec::with_capacity(BATCH);
        for (at, vector) in rows.chunks_exact(components).enumerate() {
            let id = format!("v{}", batch * BATCH + at);
            numbered.push((items::insert(&write, &Item { id, ..Item::default() })?, vector));
        }
        embeddings::put_many(&write, "text", numbered)?;
        write.commit()?;
    }
    Ok(store.close()?)
}

/// The statement, in this process.
pub(crate) fn ours() -> Result {
    let database = needed("--database")?;
    let (kind, options) = (needed("--kind")?, needed("--options")?);
    let db = Database::open(&database)?;
    let options = if options.is_empty() { String::new() } else { format!(" WITH ({options})") };
    db.execute(&format!("CREATE CODEBOOK b USING {kind} ON text{options}"), ())?;
    let started = db.execute("REBUILD CODEBOOK b IN BACKGROUND", ())?;
    let Outcome::Started { job } = started else { return Err("the build is no job".into()) };
    let handle = db.job(job).ok_or("the build has vanished")?;
    let (began, mut encoding, mut encoded) = (Instant::now(), None, None);
    while encoded.is_none() {
        match handle.snapshot().stage.as_str() {
            "assigning codes" => {
                encoding.get_or_insert_with(Instant::now);
            }
            "resolving collisions" | "measuring" | "writing the generation" => {
                encoded = Some(Instant::now());
            }
            _ if db.job(job).is_none() => break,
            _ => {}
        }
        std::thread::sleep(TICK);
    }
    handle.wait()?;
    let (Some(encoding), Some(encoded)) = (encoding, encoded) else {
        return Err("the build was not seen to encode".into());
    };
    child::tell("train", (encoding - began).as_secs_f64());
    child::tell("encode", (encoded - encoding).as_secs_f64());
    child::tell_peak()?;
    db.close()?;
    health(&database)?;
    let db = Database::open(&database)?;
    db.execute("DROP CODEBOOK b", ())?;
    Ok(db.close()?)
}

/// Tells the error and the collisions of the nearest codes.
fn health(database: &str) -> Result {
    let store = Store::open(database, &OpenOptions::default())?;
    let read = store.read()?;
    let view: &dyn View = &read;
    let newest = generations::of(view, "b")?.pop().ok_or("no generation was built")?;
    let health: serde_json::Value = serde_json::from_str(&newest.health)?;
    let levels = health["levels"].as_array().ok_or("health without levels")?;
    let error = levels.iter().filter_map(|level| level["error"].as_f64()).next_back();
    child::tell("error", error.ok_or("health without errors")?);
    child::tell("collisions", health["native"]["share"].as_f64().ok_or("health without figures")?);
    drop(read);
    Ok(store.close()?)
}
