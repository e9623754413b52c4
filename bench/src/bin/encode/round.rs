//! One round: a process that makes the vectors of a file of titles, by the statement or by the peer.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use sidql::Database;
use sidql_bench::child::{self, Child};
use sidql_bench::{Result, needed, timed};

/// Threads of each side.
pub(crate) const THREADS: usize = 2;
/// The script of the peer.
const PEER: &str = "bench/peers/python/encode.py";
/// The crates and packages that read the number of threads from the environment.
const THREADED: [&str; 3] = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"];

/// The files of a round.
pub(crate) struct Round {
    /// JSON Lines of ids and titles.
    pub(crate) texts: PathBuf,
    /// Where the statement leaves its vectors.
    pub(crate) database: PathBuf,
    /// Where the peer leaves its vectors.
    pub(crate) vectors: PathBuf,
    weights: PathBuf,
    python: OsString,
}

impl Round {
    /// A round in a folder of its own.
    pub(crate) fn new(folder: &Path, python: &OsStr, weights: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Round {
            texts: folder.join("texts.jsonl"),
            database: folder.join("texts.sidql"),
            vectors: folder.join("peer.f32"),
            weights: weights.to_owned(),
            python: python.to_owned(),
        })
    }

    /// So many rounds of each side, turn and turn about.
    pub(crate) fn turns(&self, count: usize) -> Result<[Vec<Child>; 2]> {
        let mut told = [Vec::new(), Vec::new()];
        for _ in 0..count {
            if self.database.exists() {
                std::fs::remove_file(&self.database)?;
            }
            let mut ours = child::again("statement")?;
            ours.arg("--database").arg(&self.database);
            told[0].push(Child::run(self.given(&mut ours))?);
            let mut theirs = Command::new(&self.python);
            theirs.arg(PEER).arg("--vectors").arg(&self.vectors);
            theirs.args(["--threads", &THREADS.to_string()]);
            theirs.envs([("HF_HUB_OFFLINE", "1"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1")]);
            told[1].push(Child::run(self.given(&mut theirs))?);
        }
        Ok(told)
    }

    /// What both sides are given.
    fn given<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let threads = THREADED.map(|name| (name, THREADS.to_string()));
        let command = command.arg("--texts").arg(&self.texts);
        command.arg("--weights").arg(&self.weights).envs(threads)
    }

    /// The versions of the peer's packages.
    pub(crate) fn versions(&self) -> Result<String> {
        let asked = "from importlib.metadata import version\n\
                     print(*(f'{p} {version(p)}' for p in \
                     ['sentence-transformers', 'transformers', 'torch']), sep=', ')";
        let output = Command::new(&self.python).args(["-c", asked]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// The statement, in this process.
pub(crate) fn ours() -> Result {
    let db = Database::open(needed("--database")?)?;
    db.execute(&format!("COPY items FROM '{}'", needed("--texts")?), ())?;
    let weights = needed("--weights")?;
    db.execute(&format!("CREATE MODEL minilm USING bert WITH (path = '{weights}')"), ())?;
    let enrich = "ENRICH items BY text USING minilm WITH (parts = ['title'])";
    let (_, took) = timed(|| Ok(db.execute(enrich, ())?))?;
    child::tell("enrich", took.as_secs_f64());
    child::tell_peak()?;
    Ok(db.close()?)
}
