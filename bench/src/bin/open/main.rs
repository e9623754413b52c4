//! Opening a file cold: to the first answer and to the whole SID tree in memory; memory and file by a million items.

use std::path::Path;
use std::time::Instant;

use sidql::{Database, Outcome};
use sidql_bench::child::{Child, PEAK, again, role, tell, tell_peak};
use sidql_bench::{LEVELS, Report, Result, SIZE, Samples, World, needed, option, peak_mib};
use sidql_storage::{
    Codebook, Generation, Item, OpenOptions, Sid, Store, codebooks, generations, items, sids,
};

const SEED: u64 = 20_261;
/// Items of each catalogue.
const SIZES: [usize; 3] = [12_000, 1_000_000, 10_000_000];
/// How often each file is opened.
const ROUNDS: usize = 5;

fn main() -> Result {
    match role().as_deref() {
        None => {}
        Some("open") => return open(&needed("--file")?, needed("--code")?.parse()?),
        Some(other) => return Err(format!("no role is called `{other}`").into()),
    }
    let mut report = Report::from_args()?;
    let most: usize = option("--items").map_or(Ok(usize::MAX), |text| text.parse())?;
    let cold = drop_cache();
    report.say(format!(
        "opening a file, {LEVELS} levels x {SIZE} codes, seed {SEED}; items have an id alone; medians of {ROUNDS} \
         processes\nthe cache of the system is {} before each",
        if cold { "emptied" } else { "NOT emptied (that needs root)" }
    ));
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let file = folder.path().join(format!("{size}.sidql"));
        let code = load(&file, size)?;
        rows.push(measure(&file, size, code)?);
        std::fs::remove_file(&file)?;
    }
    let columns = [
        "items",
        "open ms",
        "worst",
        "first answer ms",
        "tree ms",
        "with ids ms",
        "tree MiB",
        "ids MiB",
        "file MiB",
        "file MiB a million",
    ];
    report.table("from the start of the process, each with what came before", &columns, &rows)
}

/// Opens the file again and again in fresh processes.
fn measure(file: &Path, size: usize, code: u16) -> Result<Vec<String>> {
    let mut children = Vec::new();
    for _ in 0..ROUNDS {
        drop_cache();
        let mut command = again("open")?;
        command.arg("--file").arg(file).args(["--code", &code.to_string()]);
        children.push(Child::run(&mut command)?);
    }
    let samples = |name: &str| -> Result<Samples> {
        Ok(Samples::new(children.iter().map(|one| one.figure(name)).collect::<Result<_>>()?))
    };
    let median = |name: &str| -> Result<f64> { Ok(samples(name)?.median()) };
    let mib = std::fs::metadata(file)?.len() as f64 / f64::from(1 << 20);
    Ok(vec![
        size.to_string(),
        format!("{:.1}", median("open")?),
        format!("{:.1}", samples("open")?.most()),
        format!("{:.1}", median("answer")?),
        format!("{:.0}", median("tree")?),
        format!("{:.0}", median("ids")?),
        format!("{:.0}", median("tree_mib")?),
        format!("{:.0}", median(PEAK)? - median("tree_mib")?),
        format!("{mib:.1}"),
        format!("{:.1}", mib * 1e6 / size as f64),
    ])
}

/// In a child: from nothing to the first rows, to the tree, to the tree with ids.
fn open(file: &str, code: u16) -> Result {
    let started = Instant::now();
    let since = || started.elapsed().as_secs_f64() * 1e3;
    let database = Database::open(file)?;
    tell("open", since());
    let statement = format!("SELECT id FROM items WHERE prefix = a{code} LIMIT 40");
    let Outcome::Rows(rows) = database.execute(&statement, ())? else {
        return Err("SELECT gave no rows".into());
    };
    if rows.is_empty() {
        return Err(format!("nothing lies under a{code}").into());
    }
    tell("answer", since());
    let before = peak_mib().unwrap_or(f64::NAN);
    let tree = database.tree("full")?;
    if tree.count(&[code]) < rows.len() {
        return Err("the tree misses items".into());
    }
    tell("tree", since());
    tell("tree_mib", peak_mib().unwrap_or(f64::NAN) - before);
    let ids = tree.ids(&[code])?.count();
    if ids != tree.count(&[code]) {
        return Err("the tree misses ids".into());
    }
    tell("ids", since());
    tell_peak()
}

/// Makes the file; gives a code of the first level that occurs.
fn load(file: &Path, size: usize) -> Result<u16> {
    let world = World::new(size, SEED);
    let store = Store::create(file, &OpenOptions::default())?;
    let write = store.write()?;
    let mut numbered = Vec::with_capacity(size);
    for (at, codes) in world.sids.iter().enumerate() {
        let item = Item { id: World::id(at), fields: Vec::new() };
        numbered.push((items::insert(&write, &item)?, Sid::new(codes)?));
    }
    let (name, kind) = ("full".to_owned(), "rq_kmeans".to_owned());
    let codebook = Codebook { name: name.clone(), kind: kind.clone(), ..Codebook::default() };
    codebooks::create(&write, &codebook)?;
    let shape = Generation {
        codebook: name,
        kind,
        levels: LEVELS as u8,
        sizes: vec![u32::from(SIZE); LEVELS],
        ..Generation::default()
    };
    let generation = generations::begin(&write, &shape)?.number;
    sids::load_many(&write, generation, numbered)?;
    generations::publish(&write, generation)?;
    write.commit()?;
    store.close()?;
    Ok(world.sids[0][0])
}

/// Empties the cache of the system for files; whether that was allowed.
fn drop_cache() -> bool {
    let synced = std::process::Command::new("sync").status().is_ok_and(|status| status.success());
    synced && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
