//! Prefix lookups: sidql beside SQLite and beside a sorted array in memory, which is the limit.

mod array;
mod contender;
mod load;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use sidql::Database;
use sidql_bench::{LEVELS, Report, Result, SIZE, World, clock_cost, option, percentile, timed};
use sidql_storage::{OpenOptions, Read, Store, sids};

use array::Array;
use contender::{Contender, ask, literal};
use load::{load_sidql, load_sqlite, open_sqlite, read_only};

const SEED: u64 = 20_261;
/// Lookups of one contender before the next has its turn.
const TURN: usize = 250;
/// Turns of each contender that count; one more before them warms up.
const TURNS: usize = 40;
/// How often each file is opened.
const OPENINGS: usize = 7;

fn main() -> Result {
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(1_000_000), |text| text.parse())?;
    report.say(format!(
        "prefix lookups, {LEVELS} levels x {SIZE} codes, seed {SEED}, one thread, microseconds\n\
         {} lookups of each in {TURNS} turns of {TURN}; looking at the clock costs {} ns of each",
        TURN * TURNS,
        clock_cost(),
    ));
    let folder = tempfile::tempdir()?;
    small(&mut report, folder.path())?;
    large(&mut report, folder.path(), most)
}

/// Twelve thousand items with metadata, prefixes of one code.
fn small(report: &mut Report, folder: &Path) -> Result {
    let bench = Bench::new(folder, 12_000, 1, true)?;
    report.say(bench.describe());
    bench.run(report, "item numbers or ids", &mut bench.ids()?)?;
    bench.run(report, "whole items (id, title, brand, price, SID)", &mut bench.whole()?)
}

/// A million items with an id alone, prefixes of two codes, and the time to open the file.
fn large(report: &mut Report, folder: &Path, most: usize) -> Result {
    let bench = Bench::new(folder, most, 2, false)?;
    report.say(bench.describe());
    bench.run(report, "item numbers or ids", &mut bench.ids()?)?;
    bench.openings(report)
}

/// The catalogue in all its forms.
struct Bench {
    world: World,
    metadata: bool,
    queries: Vec<Vec<u16>>,
    file: PathBuf,
    sqlite: PathBuf,
    generation: u32,
    loaded: [f64; 2],
    held: Held,
    array: Array,
}

/// What stays open.
struct Held {
    read: Read,
    database: Database,
    snapshot: Connection,
    plain: Connection,
}

impl Bench {
    fn new(folder: &Path, count: usize, codes: usize, metadata: bool) -> Result<Self> {
        let world = World::new(count, SEED);
        let file = folder.join(format!("{count}.sidql"));
        let sqlite = folder.join(format!("{count}.sqlite"));
        let (generation, first) = timed(|| load_sidql(&file, &world, metadata))?;
        let ((), second) = timed(|| load_sqlite(&sqlite, &world, metadata))?;
        let array = Array::new(&world);
        let store = Store::open(&file, &read_only())?;
        let held = Held {
            read: store.read()?,
            database: Database::builder().read_only(true).open(&file)?,
            snapshot: open_sqlite(&sqlite)?,
            plain: open_sqlite(&sqlite)?,
        };
        held.snapshot.execute_batch("BEGIN")?;
        Ok(Bench {
            queries: world.prefixes(codes, TURN * (TURNS + 1), SEED + 1),
            world,
            metadata,
            file,
            sqlite,
            generation,
            loaded: [first.as_secs_f64(), second.as_secs_f64()],
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
        format!(
            "\n{} items{}; prefixes of {} code(s) hold {mean:.1} items on average, {} at p99\n\
             loading: sidql {:.1} s, {:.1} MiB; SQLite {:.1} s, {:.1} MiB",
            self.world.sids.len(),
            if self.metadata { " with metadata" } else { " without metadata" },
            self.queries[0].len(),
            percentile(&sizes, 0.99),
            self.loaded[0],
            mib(&self.file),
            self.loaded[1],
            mib(&self.sqlite),
        )
    }

    /// Turn and turn about, each time another one first.
    fn run(&self, report: &mut Report, what: &str, contenders: &mut [Contender<'_>]) -> Result {
        self.agree(contenders)?;
        let mut samples: Vec<Vec<u64>> = vec![Vec::new(); contenders.len()];
        for (turn, queries) in self.queries.chunks(TURN).enumerate() {
            for nth in 0..contenders.len() {
                let at = (nth + turn) % contenders.len();
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
        // The peer asked by text stands last; the prepared one and the limit serve all the others.
        let [limit, prepared, text] = [0, 2, contenders.len() - 1];
        let rows: Vec<Vec<String>> = (0..contenders.len())
            .map(|at| {
                let peer = if at >= 3 { text } else { prepared };
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

    /// From a path to the first answer. The files are in the cache of the system.
    fn openings(self, report: &mut Report) -> Result {
        let query = self.queries[0].clone();
        let Bench { file, sqlite, generation, held, .. } = self;
        drop(held);
        let mut samples: Vec<Vec<u64>> = vec![Vec::new(); 3];
        for _ in 0..OPENINGS {
            let (store, took) = timed(|| {
                let store = Store::open(&file, &OpenOptions::default())?;
                black_box(sids::count_under(&store.read()?, generation, &query)?);
                Ok(store)
            })?;
            store.close()?;
            samples[0].push(took.as_nanos() as u64);
            let (database, took) = timed(|| {
                let database = Database::open(&file)?;
                ask(&mut database.session(), "SELECT id FROM items WHERE", &query)?;
                Ok(database)
            })?;
            database.close()?;
            samples[1].push(took.as_nanos() as u64);
            let ((), took) = timed(|| {
                let peer = open_sqlite(&sqlite)?;
                let sql = format!("SELECT item FROM sids s WHERE {}", literal(&query));
                let mut statement = peer.prepare(&sql)?;
                let rows = statement.query_map((), |row| row.get::<_, i64>(0))?;
                black_box(rows.collect::<rusqlite::Result<Vec<_>>>()?);
                Ok(())
            })?;
            samples[2].push(took.as_nanos() as u64);
        }
        let names = ["sidql storage", "sidql database", "SQLite"];
        let rows: Vec<Vec<String>> = names
            .iter()
            .zip(&mut samples)
            .map(|(name, samples)| {
                samples.sort_unstable();
                let ms = |share| format!("{:.2}", percentile(samples, share) as f64 / 1e6);
                vec![(*name).to_owned(), ms(0.5), ms(1.0)]
            })
            .collect();
        report.table("opening the file to the first answer, ms", &["", "p50", "worst"], &rows)
    }
}
