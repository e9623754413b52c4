//! What lies between a statement and an endpoint: requests a second at 64 at a time, and memory by the number of items.
//!
//! The endpoint is in this process and answers at once; who asks it is a child. Beside `ENRICH … BY intent`
//! stand as many plain threads that send the same bytes over sockets and have no database.

mod ask;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sidql::Database;
use sidql_bench::child::{Child, PEAK, again};
use sidql_bench::{Report, Result, Samples, child, option};

use ask::SECONDS;
use server::Server;

/// Requests at the same time.
const CONCURRENCY: usize = 64;
/// Items of each catalogue.
const SIZES: [usize; 3] = [2_000, 20_000, 100_000];
/// Rounds of each catalogue; the children of a round take turns.
const ROUNDS: usize = 3;
/// MiB of the file that are kept in memory: by default, and as few as make its growth show.
const CACHES: [usize; 2] = [256, 8];

fn main() -> Result {
    match child::role().as_deref() {
        None => {}
        Some("scan") => return ask::scan(),
        Some("enrich") => return ask::enrich(CONCURRENCY),
        Some("plain") => return ask::plain(CONCURRENCY),
        Some(other) => return Err(format!("no role is called `{other}`").into()),
    }
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(usize::MAX), |text| text.parse())?;
    report.say(format!(
        "ENRICH items BY intent, {CONCURRENCY} requests at a time to an endpoint on this machine that answers at \
         once;\nmade-up items, each asked about once; {ROUNDS} rounds, each child in a process of its own"
    ));
    let (mut rates, mut memory) = (Vec::new(), Vec::new());
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let catalogue = Catalogue::new(size)?;
        let turns = catalogue.turns()?;
        rates.extend(turns.rates(size)?);
        memory.extend(turns.memory(size)?);
        report.say(turns.told(size));
    }
    let columns = ["", "median", "least", "most", "of plain", "connections"];
    report.table("requests a second", &columns, &rates)?;
    let columns = ["", "scan", "ENRICH", "more"];
    let title = "peak memory of a process in MiB: one that reads every item, one that enriches them (medians)";
    report.table(title, &columns, &memory)
}

/// A file of items that nobody has been asked about.
struct Catalogue {
    folder: tempfile::TempDir,
    file: PathBuf,
    size: usize,
    server: Server,
}

/// What the children of all rounds told.
#[derive(Default)]
struct Turns {
    plain: Vec<Child>,
    /// By size of the cache.
    enrich: [Vec<Child>; 2],
    scan: [Vec<Child>; 2],
    /// Connections of the last round: plain, and of the statement.
    connections: [usize; 2],
    /// Bytes of one request.
    bytes: usize,
}

impl Catalogue {
    fn new(size: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("items.sidql");
        let lines = folder.path().join("items.jsonl");
        let item = |at| {
            let title =
                format!("Thing {at} of a catalogue, with a title of the length that shops give");
            let words = "It is made of several words, as descriptions are. ".repeat(8);
            serde_json::json!({"id": format!("i{at}"), "title": title, "description": words})
        };
        let text: Vec<String> = (0..size).map(|at| item(at).to_string()).collect();
        std::fs::write(&lines, text.join("\n"))?;
        let db = Database::open(&file)?;
        db.execute(&format!("COPY items FROM '{}'", lines.display()), ())?;
        db.close()?;
        Ok(Catalogue { folder, file, size, server: Server::start()? })
    }

    fn turns(&self) -> Result<Turns> {
        let mut turns = Turns::default();
        for _ in 0..ROUNDS {
            for (at, cache) in CACHES.into_iter().enumerate() {
                turns.scan[at].push(self.child("scan", cache)?);
                turns.enrich[at].push(self.child("enrich", cache)?);
                turns.connections[1] = self.served()?;
            }
            let request = self.server.first().ok_or("nothing was asked")?;
            turns.bytes = request.len();
            turns.plain.push(self.plain(&request)?);
            turns.connections[0] = self.served()?;
        }
        Ok(turns)
    }

    /// A child over a copy of the file.
    fn child(&self, role: &str, cache: usize) -> Result<Child> {
        let copy = self.folder.path().join("copy.sidql");
        std::fs::copy(&self.file, &copy)?;
        let mut command = again(role)?;
        command.args(["--url", &self.server.url(), "--cache", &cache.to_string()]);
        Child::run(command.arg("--file").arg(&copy).args(["--items", &self.size.to_string()]))
    }

    fn plain(&self, request: &[u8]) -> Result<Child> {
        let file: &Path = &self.folder.path().join("request");
        std::fs::write(file, request)?;
        let mut command = again("plain")?;
        command.args(["--address", &self.server.address(), "--items", &self.size.to_string()]);
        Child::run(command.arg("--request").arg(file))
    }

    /// How many connections there were since the last look; every item must have been asked about, once.
    fn served(&self) -> Result<usize> {
        let (requests, connections) = self.server.count();
        if requests != self.size {
            return Err(format!("{requests} requests for {} items", self.size).into());
        }
        Ok(connections)
    }
}

impl Turns {
    /// Requests a second, the plain threads and the statement.
    fn rates(&self, size: usize) -> Result<Vec<Vec<String>>> {
        let rate = |child: &Child| Ok(size as f64 / child.figure(SECONDS)?);
        let sides = [("plain threads", &self.plain), ("ENRICH", &self.enrich[0])];
        let mut rows = Vec::new();
        let mut limit = f64::NAN;
        for ((name, side), connections) in sides.into_iter().zip(self.connections) {
            let rates = Samples::new(side.iter().map(rate).collect::<Result<_>>()?);
            // The plain threads come first.
            limit = if rows.is_empty() { rates.median() } else { limit };
            let mut row = vec![format!("{size} items, {name}")];
            row.extend(rates.cells(0));
            row.push(format!("{:.2}", rates.median() / limit));
            row.push(connections.to_string());
            rows.push(row);
        }
        Ok(rows)
    }

    /// Peaks by size of the cache.
    fn memory(&self, size: usize) -> Result<Vec<Vec<String>>> {
        let peak = |side: &[Child]| -> Result<f64> {
            let peaks = side.iter().map(|child| child.figure(PEAK)).collect::<Result<_>>()?;
            Ok(Samples::new(peaks).median())
        };
        let rows = CACHES.iter().zip(self.scan.iter().zip(&self.enrich));
        rows.map(|(cache, (scan, enrich))| {
            let (scan, enrich) = (peak(scan)?, peak(enrich)?);
            let cells = [scan, enrich, enrich - scan].map(|mib| format!("{mib:.1}"));
            let name = format!("{size} items, {cache} MiB of cache");
            Ok(std::iter::once(name).chain(cells).collect())
        })
        .collect()
    }

    /// What was sent, and how long a statement took.
    fn told(&self, size: usize) -> String {
        let longest = self.enrich.iter().flatten().map(|child| child.wall).fold(0.0, f64::max);
        let longest = Duration::from_secs_f64(longest);
        format!("{size} items: {} bytes a request, at most {longest:.1?} a process", self.bytes)
    }
}
