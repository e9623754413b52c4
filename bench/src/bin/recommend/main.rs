//! Recommendations: one user at a time, all of them, and under a predicate; beside Hugging Face's `generate` behind
//! a trie, where `PYTHON` names an interpreter with `bench/peers/python/requirements.txt`.
//!
//! Weights are trained for a moment only: what is measured does not depend on how good they are. Histories have twenty
//! items, beams are twenty, answers ten.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sidql::{Database, Outcome};
use sidql_bench::child::Child;
use sidql_bench::{LEVELS, Report, Result, SIZE, Samples, World, option};

// As the shell has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: u64 = 20_261;
/// Items of each catalogue.
const SIZES: [usize; 2] = [12_101, 1_000_000];
/// Users, and the items in the history of each.
const USERS: usize = 1_000;
const HISTORY: usize = 20;
/// Users asked one by one.
const ASKED: usize = 200;
/// Beams of either side.
const BEAM: usize = 20;
/// Threads of either side.
const THREADS: usize = 2;
/// What qualifies under the predicate: one item in so many.
const SELECTIVE: usize = 100;
/// The policies and their options; the first has the shape that the peer is given.
const POLICIES: [(&str, &str); 2] = [
    ("tiger", "width = 128, hidden = 1024, heads = 6, head_width = 64, layers = 4"),
    ("decoder", ""),
];

fn main() -> Result {
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(usize::MAX), |text| text.parse())?;
    report.say(format!(
        "{USERS} users of {HISTORY} items, {LEVELS} levels x {SIZE} codes, beam {BEAM}, answers of 10, {THREADS} threads"
    ));
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let folder = tempfile::tempdir()?;
        let db = filled(folder.path(), size)?;
        let mut rows = Vec::new();
        let peer = peer(folder.path())?;
        if let Some(peer) = &peer {
            rows.push(peer.row("T5 by Hugging Face's generate, a dictionary as trie", None));
        }
        for (at, (kind, options)) in POLICIES.iter().enumerate() {
            let own = measured(&db, folder.path(), kind, options)?;
            // Only the first has the shape of the peer.
            let beside = peer.as_ref().filter(|_| at == 0);
            rows.push(own.row(kind, beside));
        }
        let columns = [
            "",
            "p50 ms",
            "p99 ms",
            "p50 to peer",
            "statement p50 ms",
            "with WHERE, p50 ms",
            "WHERE to none",
            "first WHERE ms",
            "users/s in bulk",
        ];
        report.table(&format!("{size} items"), &columns, &rows)?;
    }
    Ok(())
}

/// What one side took.
struct Side {
    /// One user by the open policy, milliseconds: in the middle, and all but one in a hundred.
    alone: [f64; 2],
    /// The same by a statement, without a predicate, with one, and the first time that it was seen.
    stated: Option<(Samples, Samples, f64)>,
    /// Users in a second, asked together.
    bulk: f64,
}

impl Side {
    fn row(&self, name: &str, peer: Option<&Side>) -> Vec<String> {
        let ms = |samples: &Samples| format!("{:.2}", samples.median());
        let mut row = vec![name.to_owned()];
        row.extend(self.alone.map(|ms| format!("{ms:.2}")));
        row.push(
            peer.map_or_else(String::new, |peer| format!("{:.3}", self.alone[0] / peer.alone[0])),
        );
        row.extend(match &self.stated {
            None => ["", "", "", ""].map(str::to_owned),
            Some((plain, under, first)) => [
                ms(plain),
                ms(under),
                format!("{:.2}", under.median() / plain.median()),
                format!("{first:.1}"),
            ],
        });
        row.push(format!("{:.0}", self.bulk));
        row
    }
}

/// A catalogue with SIDs and histories; the files that it was made from stay for the peer.
fn filled(folder: &Path, size: usize) -> Result<Database> {
    let world = World::new(size, SEED);
    let (mut items, mut sids, mut codes) = (String::new(), String::new(), String::new());
    for (at, sid) in world.sids.iter().enumerate() {
        let [a, b, c] = sid;
        let price = at % SELECTIVE;
        writeln!(items, "{{\"id\":\"{}\",\"price\":{price}}}", World::id(at))?;
        writeln!(sids, "{}\t{a} {b} {c}", World::id(at))?;
        writeln!(codes, "{a} {b} {c}")?;
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED + 1);
    let (mut sequences, mut histories) = (String::new(), String::new());
    for user in 0..USERS {
        let items: Vec<usize> = (0..HISTORY).map(|_| random.random_range(0..size)).collect();
        let names: Vec<String> = items.iter().map(|at| World::id(*at)).collect();
        let numbers: Vec<String> = items.iter().map(ToString::to_string).collect();
        writeln!(sequences, "u{user}\t{}", names.join(" "))?;
        writeln!(histories, "{}", numbers.join(" "))?;
    }
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, text) in [
        ("items.jsonl", items),
        ("sids.tsv", sids),
        ("codes.txt", codes),
        ("sequences.tsv", sequences),
        ("histories.txt", histories),
    ] {
        std::fs::write(folder.join(name), text)?;
    }
    let db = Database::open(folder.join("shop.sidql"))?;
    db.execute(&format!("COPY items FROM '{}'", path("items.jsonl")), ())?;
    let layout = "WITH (layout = 'sequences')";
    db.execute(&format!("COPY interactions FROM '{}' {layout}", path("sequences.tsv")), ())?;
    db.execute(&format!("COPY codes FROM '{}' WITH (codebook = 'full')", path("sids.tsv")), ())?;
    Ok(db)
}

fn measured(db: &Database, folder: &Path, kind: &str, options: &str) -> Result<Side> {
    let with = if options.is_empty() { String::new() } else { format!("WITH ({options})") };
    db.execute(&format!("CREATE POLICY {kind} USING {kind} ON CODEBOOK full {with}"), ())?;
    db.execute(&format!("TRAIN POLICY {kind} WITH (epochs = 1, validation_users = 10)"), ())?;
    let recommender = db.recommender(kind)?;
    let alone = asked(|user| Ok(recommender.for_user(user, 10)?.len()))?;
    let stated = |filter: &str| {
        let tail = format!("USING {kind} {filter} WITH (beam = {BEAM})");
        asked(|user| Ok(db.query(&format!("RECOMMEND 10 FOR USER '{user}' {tail}"), ())?.len()))
    };
    let began = Instant::now();
    db.query(&format!("RECOMMEND 10 FOR USER 'u0' USING {kind} WHERE price = 7"), ())?;
    let first = began.elapsed().as_secs_f64() * 1e3;
    let (plain, under) = (stated("")?, stated("WHERE price = 7")?);
    let file = folder.join(format!("{kind}.jsonl")).display().to_string();
    let began = Instant::now();
    let all = format!("RECOMMEND 10 FOR ALL USERS USING {kind} INTO '{file}' WITH (beam = {BEAM})");
    let Outcome::Done { .. } = db.execute(&all, ())? else {
        return Err("RECOMMEND INTO gave rows".into());
    };
    let bulk = USERS as f64 / began.elapsed().as_secs_f64();
    let alone = [alone.median(), alone.at(0.99)];
    Ok(Side { alone, stated: Some((plain, under, first)), bulk })
}

/// Milliseconds of each of the first users, after a few to warm up.
fn asked(ask: impl Fn(&str) -> Result<usize>) -> Result<Samples> {
    for user in 0..3 {
        ask(&format!("u{user}"))?;
    }
    let mut samples = Vec::with_capacity(ASKED);
    for user in 0..ASKED {
        let user = format!("u{user}");
        let began = Instant::now();
        if ask(&user)? != 10 {
            return Err(format!("{user} got no ten items").into());
        }
        samples.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Samples::new(samples))
}

/// The peer over the same codes and histories; none without an interpreter.
fn peer(folder: &Path) -> Result<Option<Side>> {
    let python = std::env::var_os("PYTHON").filter(|python| !python.is_empty());
    let Some(python) = python else { return Ok(None) };
    let mut command = Command::new(python);
    command.arg("bench/peers/python/generate.py");
    command.arg("--codes").arg(folder.join("codes.txt"));
    command.arg("--histories").arg(folder.join("histories.txt"));
    for (name, number) in [
        ("--size", usize::from(SIZE)),
        ("--threads", THREADS),
        ("--beam", BEAM),
        ("--users", ASKED),
        ("--width", 128),
        ("--hidden", 1024),
        ("--heads", 6),
        ("--head-width", 64),
        ("--layers", 4),
    ] {
        command.args([name, &number.to_string()]);
    }
    let child = Child::run(&mut command)?;
    let alone = [child.figure("p50")?, child.figure("p99")?];
    Ok(Some(Side { alone, stated: None, bulk: child.figure("bulk")? }))
}
