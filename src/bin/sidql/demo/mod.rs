//! `sidql demo`: a sample catalogue of a sports shop, and a walk through the main job.
//!
//! `shop.rs` is what the shop sells, `catalogue.rs` makes the items, `history.rs` the users, `walk.rs`
//! has the statements. Everything is seeded: the same build makes the same catalogue.

mod catalogue;
mod history;
mod shop;
mod walk;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use sidql::Database;
use tempfile::TempDir;

use crate::args::DemoArgs;
use crate::exit::{Exit, say};
use crate::repl::{Interrupts, Settings, Shell, Stop};

/// The seed of the catalogue and its users.
const SEED: u64 = 20_261;
/// How many items the shop has.
const ITEMS: usize = 2_000;
/// How many users the shop has.
const USERS: usize = 1_200;

/// Makes the catalogue and walks through the main job.
pub(crate) fn run(args: &DemoArgs) -> Exit {
    match prepare(args) {
        Ok(place) => walk_in(&place),
        Err(message) => {
            say(format_args!("error: {message}"));
            Exit::Usage
        }
    }
}

/// Where the demo works.
struct Place {
    /// Holds the two files, and the database unless it is kept.
    folder: TempDir,
    database: PathBuf,
    /// How the user calls the database that is kept.
    kept: Option<PathBuf>,
}

fn prepare(args: &DemoArgs) -> Result<Place, String> {
    let kept = args.file.clone().or_else(|| args.keep.then(|| PathBuf::from("demo.sidql")));
    if let Some(path) = kept.as_ref().filter(|path| path.exists()) {
        let path = path.display();
        return Err(format!("{path} exists already; name another file or remove it"));
    }
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    write_shop(folder.path()).map_err(|error| format!("cannot write the sample: {error}"))?;
    let database = match &kept {
        Some(path) => std::path::absolute(path)
            .map_err(|error| format!("cannot use {}: {error}", path.display()))?,
        None => folder.path().join("shop.sidql"),
    };
    Ok(Place { folder, database, kept })
}

fn write_shop(folder: &Path) -> io::Result<()> {
    let catalogue = catalogue::make(ITEMS, SEED);
    let mut items = gzip(&folder.join("items.jsonl.gz"))?;
    for item in &catalogue.items {
        writeln!(items, "{}", item.to_json())?;
    }
    items.finish()?.flush()?;
    let mut sequences = gzip(&folder.join("sequences.tsv.gz"))?;
    for (user, history) in history::make(&catalogue, USERS, SEED).iter().enumerate() {
        let ids: Vec<_> = history.iter().map(|item| catalogue.items[*item].id.as_str()).collect();
        writeln!(sequences, "u{:04}\t{}", user + 1, ids.join(" "))?;
    }
    sequences.finish()?.flush()
}

fn gzip(path: &Path) -> io::Result<GzEncoder<BufWriter<File>>> {
    Ok(GzEncoder::new(BufWriter::new(File::create(path)?), Compression::default()))
}

fn walk_in(place: &Place) -> Exit {
    let started = Instant::now();
    let opened =
        Interrupts::install(false).map_err(|error| error.to_string()).and_then(|interrupts| {
            let database = Database::open(&place.database).map_err(|error| error.to_string())?;
            // The statements name the two files without a path, so they read the same everywhere.
            std::env::set_current_dir(place.folder.path()).map_err(|error| error.to_string())?;
            Ok((interrupts, database))
        });
    let (interrupts, database) = match opened {
        Ok(opened) => opened,
        Err(message) => {
            say(format_args!("error: {message}"));
            return Exit::Usage;
        }
    };
    let settings = Settings { echo: true, timer: true, ..Settings::default() };
    let mut shell = Shell::new(&database, settings, interrupts);
    let ended = walk::walk(&mut shell).and_then(|()| farewell(&mut shell, place, started));
    let exit = shell.end(ended);
    match database.close() {
        Ok(()) => exit,
        Err(error) => {
            say(format_args!("error: {error}"));
            Exit::Failed
        }
    }
}

fn farewell(shell: &mut Shell, place: &Place, started: Instant) -> Result<(), Stop> {
    let seconds = started.elapsed().as_secs_f64();
    let size = fs::metadata(&place.database)?.len() as f64 / 1e6;
    writeln!(shell.out(), "\nThat took {seconds:.0} s and {size:.1} MB.")?;
    match &place.kept {
        Some(path) => writeln!(shell.out(), "Go on with: sidql {}", path.display())?,
        None => writeln!(shell.out(), "`sidql demo FILE` keeps the database to go on with.")?,
    }
    Ok(())
}
