//! Prefix lookups: sidql beside redb alone, LMDB and SQLite, and beside a sorted array in memory, which is the limit.

mod array;
mod contender;
mod load;
mod stores;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use sidql::{Database, Tree};
use sidql_bench::{LEVELS, Report, Result, SIZE, World, clock_cost, option, percentile, timed};
use sidql_storage::{Read, Store};

use array::Array;
use contender::Contender;
use load::{load_sidql, load_sqlite, open_sqlite, read_only};
use stores::{Lmdb, Redb};

const SEED: u64 = 20_261;
/// Lookups of one contender before the next has its turn.
const TURN: usize = 250;
/// Turns of each contender that count; one more before them warms up.
const TURNS: usize = 40;
/// Items of the large catalogues.
const LARGE: [usize; 2] = [1_000_000, 10_000_000];

fn main() -> Result {
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(usize::MAX), |text| text.parse())?;
    report.say(format!(
        "prefix lookups, {LEVELS} levels x {SIZE} codes, seed {SEED}, one thread, microseconds\n\
         {} lookups of each in {TURNS} turns of {TURN}; looking at the clock costs {} ns of each",
        TURN * TURNS,
        clock_cost(),
    ));
    let folder = tempfile::tempdir()?;
    small(&mut report, folder.path())?;
    for items in LARGE.into_iter().filter(|items| *items <= most) {
        let bench = Bench::new(folder.path(), items, 2, false)?;
        report.say(bench.describe());
        bench.run(&mut report, "item numbers or ids", &mut bench.ids()?)?;
    }
    Ok(())
}

/// Twelve thousand items with metadata, prefixes of one code.
fn small(report: &mut Report, folder: &Path) -> Result {
    let bench = Bench::new(folder, 12_000, 1, true)?;
    report.say(bench.describe());
    bench.run(report, "item numbers or ids", &mut bench.ids()?)?;
    bench.run(report, "whole items (id, title, brand, price, SID)", &mut bench.whole()?)
}

/// The catalogue in all its forms.
struct Bench {
    world: World,
    metadata: bool,
    queries: Vec<Vec<u16>>,
    generation: u32,
    /// Who was loaded, how many seconds it took, and where it lies.
    loaded: Vec<(&'static str, f64, PathBuf)>,
    held: Held,
    array: Array,
}

/// What stays open.
struct Held {
    read: Read,
    database: Database,
    tree: Tree,
    redb: Redb,
    lmdb: Lmdb,
    snapshot: Connection,
    plain: Connection,
}

impl Bench {
    fn new(folder: &Path, count: usize, codes: usize, metadata: bool) -> Result<Self> {
        let world = World::new(count, SEED);
        let file = folder.join(format!("{count}.sidql"));
        let sqlite = folder.join(format!("{count}.sqlite"));
        let redb = folder.join(format!("{count}.redb"));
        let lmdb = folder.join(format!("{count}.lmdb"));
        let (generation, first) = timed(|| load_sidql(&file, &world, metadata))?;
        let ((), second) = timed(|| load_sqlite(&sqlite, &world, metadata))?;
        let keys = stores::keys(&world);
        let ((), third) = timed(|| Redb::load(&redb, &keys))?;
        let ((), fourth) = timed(|| Lmdb::load(&lmdb, &keys))?;
        drop(keys);
        let array = Array::new(&world);
        let store = Store::open(&file, &read_only())?;
        let database = Database::builder().read_only(true).open(&file)?;
        let held = Held {
            read: store.read()?,
            tree: database.tree("full")?,
            database,
            redb: Redb::open(&redb)?,
            lmdb: Lmdb::open(&lmdb)?,
            snapshot: open_sqlite(&sqlite)?,
            plain: open_sqlite(&sqlite)?,
        };
        held.snapshot.execute_batch("BEGIN")?;
        Ok(Bench {
            queries: world.prefixes(codes, TURN * (TURNS + 1), SEED + 1),
            world,
            metadata,
            generation,
            loaded: vec![
                ("sidql", first.as_secs_f64(), file),
                ("SQLite", second.as_secs_f64(), sqlite),
                ("redb, SIDs alone", third.as_secs_f64(), redb),
                ("LMDB, SIDs alone", fourth.as_secs_f64(), lmdb.join("data.mdb")),
            ],
            held,
            array,
        })
    }

    fn describe(&self) -> String {
        let mut sizes: Vec<u64> =
            self.queries.iter().map(|query| self.array.under(query).len() as u64).collect();
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<u64>() as f64 / sizes.len() as f64;
        let mib = |path: &Path| {
            std::fs::metadata(path).map_or(f64::NAN, |file| file.len() as f64 / f64::from(1 << 20))
        };
        let loaded: Vec<String> = self
            .loaded
            .iter()
            .map(|(name, seconds, path)| format!("{name} {seconds:.1} s, {:.1} MiB", mib(path)))
            .collect();
        format!(
            "\n{} items{}; prefixes of {} code(s) hold {mean:.1} items on average, {} at p99\n\
             loading: {}",
            self.world.sids.len(),
            if self.metadata { " with metadata" } else { " without metadata" },
            self.queries[0].len(),
            percentile(&sizes, 0.99),
            loaded.join("; "),
        )
    }

    /// Turn and turn about, each time another one first, and every other time in the opposite order: who always came
    /// after the same one would find its pages warm.
    fn run(&self, report: &mut Report, what: &str, contenders: &mut [Contender<'_>]) -> Result {
        self.agree(contenders)?;
        let mut samples: Vec<Vec<u64>> = vec![Vec::new(); contenders.len()];
        for (turn, queries) in self.queries.chunks(TURN).enumerate() {
            for nth in 0..contenders.len() {
                let nth = if turn % 2 == 0 { nth } else { contenders.len() - 1 - nth };
                let at = (nth + turn / 2) % contenders.len();
                for query in queries {
                    let started = Instant::now();
                    let count = (contenders[at].look)(query)?;
                    let nanoseconds = started.elapsed().as_nanos() as u64;
                    black_box(count);
                    if turn > 0 {
                        samples[at].push(nanoseconds);
                    }
                }
            }
        }
        for samples in &mut samples {
            samples.sort_unstable();
        }
        let p50 = |at: usize| percentile(&samples[at], 0.5) as f64 / 1000.0;
        let p99 = |at: usize| percentile(&samples[at], 0.99) as f64 / 1000.0;
        let named = |name: &str| contenders.iter().position(|one| one.name == name).unwrap_or(0);
        // Who parses a text is compared with who parses one.
        let (limit, prepared, text) = (0, named("SQLite, prepared"), named("SQLite, text"));
        let rows: Vec<Vec<String>> = (0..contenders.len())
            .map(|at| {
                let parses = contenders[at].name.ends_with(", text");
                let peer = if parses { text } else { prepared };
                vec![
                    contenders[at].name.to_owned(),
                    format!("{:.2}", p50(at)),
                    format!("{:.2}", p99(at)),
                    format!("{:.2}", p50(at) / p50(peer)),
                    format!("{:.2}", p99(at) / p99(peer)),
                    format!("{:.1}", p50(at) / p50(limit)),
                ]
            })
            .collect();
        let title = format!("{} items: {what}", self.world.sids.len());
        let columns = ["", "p50", "p99", "p50 : SQLite", "p99 : SQLite", "p50 : array"];
        report.table(&title, &columns, &rows)
    }

    /// A lookup that finds something else than the others is not worth timing.
    fn agree(&self, contenders: &mut [Contender<'_>]) -> Result {
        for query in self.queries.iter().take(TURN) {
            let expected = (contenders[0].check)(query)?;
            for contender in contenders.iter_mut().skip(1) {
                if (contender.check)(query)? != expected {
                    return Err(format!("{}: another answer to {query:?}", contender.name).into());
                }
            }
        }
        Ok(())
    }
}
