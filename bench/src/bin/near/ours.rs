//! sidql's side: statements with a vector for parameter.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sidql::{Database, Session, Value};
use sidql_bench::child::{tell, tell_peak};
use sidql_bench::{Result, needed, percentile};
use sidql_storage::{
    FieldType, FieldValue, Item, OpenOptions, Space, Store, embeddings, fields, items, spaces,
};

use super::{COMPONENTS, K, MARKS, SHARES};

/// Vectors that are written together.
const BATCH: usize = 10_000;
/// The seed of the numbers that predicates ask of.
const SEED: u64 = 7;

/// Writes items with these vectors into a new file, each with a number below 1000 that says nothing of its vector.
pub(crate) fn fill(database: &Path, vectors: &[f32], components: usize) -> Result {
    Database::open(database)?.close()?;
    let store = Store::open(database, &OpenOptions::default())?;
    let write = store.write()?;
    let field = fields::add(&write, "n", FieldType::Int)?;
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
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for (batch, rows) in vectors.chunks(BATCH * components).enumerate() {
        let write = store.write()?;
        let mut numbered = Vec::with_capacity(BATCH);
        for (at, vector) in rows.chunks_exact(components).enumerate() {
            let id = format!("v{}", batch * BATCH + at);
            let fields = vec![(field, FieldValue::Int(random.random_range(0..1000)))];
            numbered.push((items::insert(&write, &Item { id, fields })?, vector));
        }
        embeddings::put_many(&write, "text", numbered)?;
        write.commit()?;
    }
    Ok(store.close()?)
}

/// Asks all questions by all ways, and tells.
pub(crate) fn run() -> Result {
    let folder = PathBuf::from(needed("--folder")?);
    let lists = needed("--lists")?;
    let db = Database::builder().vector_bytes(8 << 30).open(folder.join("near.sidql"))?;
    let bytes = std::fs::read(folder.join("queries.f32"))?;
    let floats: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    let mut asker = Asker {
        session: db.session(),
        queries: floats.chunks_exact(COMPONENTS).map(<[f32]>::to_vec).collect(),
    };
    let built = |statement: &str, name: &str| -> Result {
        let began = Instant::now();
        db.execute(statement, ())?;
        tell(name, began.elapsed().as_secs_f64());
        Ok(())
    };
    let exact = asker.flat()?;
    db.execute("CREATE CODEBOOK c USING rq_kmeans ON text WITH (levels = 3, codes = 256)", ())?;
    built("REBUILD CODEBOOK c", "build sid")?;
    // Prefixes of two codes, and four candidates for each at least.
    let effort = |nprobe: usize| format!("nprobe = {nprobe}, rerank = {}", (nprobe * 2).max(200));
    let sweep: Vec<usize> = (5..=15).map(|power| 1 << power).collect();
    asker.sweep("sid", "sid", &sweep, effort, &exact)?;
    if sidql::WITH_FAISS {
        let create =
            format!("CREATE INDEX fast ON text USING faiss WITH (factory = 'IVF{lists},Flat')");
        db.execute(&create, ())?;
        built("REBUILD INDEX fast", "build faiss")?;
        let sweep: Vec<usize> = (0..=9).map(|power| 1 << power).collect();
        asker.sweep("faiss", "fast", &sweep, |nprobe| format!("nprobe = {nprobe}"), &exact)?;
    }
    tell_peak()
}

/// What was found for each question.
type Found = Vec<Vec<String>>;

struct Asker {
    session: Session,
    queries: Vec<Vec<f32>>,
}

impl Asker {
    /// The answers without and with predicates by comparing all, told.
    fn flat(&mut self) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        // The first question reads the vectors into memory.
        self.ask("", "index = 'flat'", 1)?;
        let (found, ms) = self.ask("", "index = 'flat'", usize::MAX)?;
        tell("flat ms", ms);
        all.push(found);
        for share in SHARES {
            all.push(self.under("flat", share, "index = 'flat'", None)?);
        }
        Ok(all)
    }

    /// Looks farther and farther until the marks are passed, then asks under predicates.
    fn sweep(
        &mut self,
        name: &str,
        index: &str,
        sweep: &[usize],
        effort: impl Fn(usize) -> String,
        exact: &[Found],
    ) -> Result {
        let mut marks = MARKS.iter().peekable();
        let mut enough = None;
        for nprobe in sweep {
            let options = format!("index = '{index}', {}", effort(*nprobe));
            self.ask("", &options, 1)?;
            let (found, ms) = self.ask("", &options, usize::MAX)?;
            let reached = recall(&found, &exact[0]);
            while let Some(mark) = marks.peek()
                && reached >= mark.parse::<f64>()? / 100.0
            {
                told(name, mark, reached, ms);
                tell(&format!("{name} {mark} effort"), *nprobe as f64);
                enough.get_or_insert_with(|| options.clone());
                marks.next();
            }
            if marks.peek().is_none() {
                break;
            }
        }
        let Some(options) = enough else { return Ok(()) };
        for (share, exact) in SHARES.iter().zip(&exact[1..]) {
            self.under(name, *share, &options, Some(exact))?;
        }
        Ok(())
    }

    /// The answers under a predicate, told as they are once it has been asked under for a while. What the predicate
    /// accepts is then remembered, unless asking it of the nearest alone stayed cheaper.
    fn under(
        &mut self,
        name: &str,
        share: u64,
        options: &str,
        exact: Option<&Found>,
    ) -> Result<Found> {
        // The same numbers, but no filter that was met before.
        let filter = format!("WHERE n < {share} AND '{name}' = '{name}'");
        let (first, before) = self.ask(&filter, options, usize::MAX)?;
        let (found, ms) = self.ask(&filter, options, usize::MAX)?;
        let exact = exact.unwrap_or(&first);
        told(name, &share.to_string(), recall(&found, exact), ms);
        tell(&format!("{name} {share} first recall"), recall(&first, exact));
        tell(&format!("{name} {share} first ms"), before);
        tell(&format!("{name} {share} rows"), rows(&found));
        Ok(found)
    }

    /// The answers to the first questions, and the median time of one in milliseconds.
    fn ask(&mut self, filter: &str, options: &str, most: usize) -> Result<(Found, f64)> {
        let text =
            format!("SELECT id FROM items NEAR ? IN text {filter} LIMIT {K} WITH ({options})");
        let (mut found, mut times) = (Vec::new(), Vec::new());
        for query in self.queries.iter().take(most) {
            let began = Instant::now();
            let outcome = self.session.execute(&text, [Value::Vector(query.clone())])?;
            times.push(began.elapsed().as_nanos() as u64);
            let sidql::Outcome::Rows(rows) = outcome else { return Err("no rows".into()) };
            found.push(rows.into_iter().map(|row| row[0].to_string()).collect());
        }
        times.sort_unstable();
        Ok((found, percentile(&times, 0.5) as f64 / 1e6))
    }
}

fn told(name: &str, what: &str, recall: f64, ms: f64) {
    tell(&format!("{name} {what} recall"), recall);
    tell(&format!("{name} {what} ms"), ms);
}

/// The mean share of the exact answers that was found.
fn recall(found: &Found, exact: &Found) -> f64 {
    let share = |(found, exact): (&Vec<String>, &Vec<String>)| {
        let known: HashSet<&String> = exact.iter().collect();
        found.iter().filter(|id| known.contains(id)).count() as f64 / exact.len().max(1) as f64
    };
    found.iter().zip(exact).map(share).sum::<f64>() / found.len().max(1) as f64
}

fn rows(found: &Found) -> f64 {
    found.iter().map(Vec::len).sum::<usize>() as f64 / found.len().max(1) as f64
}
