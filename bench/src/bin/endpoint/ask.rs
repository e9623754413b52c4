//! The children: one reads all items, one enriches them, one only asks.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidql::{Database, Value};
use sidql_bench::{Result, child, needed, timed};

use crate::server::read;

/// The name of the figure that tells how long the asking took.
pub(crate) const SECONDS: &str = "seconds";

/// Opens the file and looks at every item; none of them is kept.
pub(crate) fn scan() -> Result {
    let db = open()?;
    let rows = db.query("SELECT count(*) FROM items WHERE title != ''", ())?;
    agrees(&rows.rows[0][0])?;
    child::tell_peak()?;
    Ok(db.close()?)
}

/// Opens the file and asks the endpoint about every item.
pub(crate) fn enrich(concurrency: usize) -> Result {
    let db = open()?;
    let url = needed("--url")?;
    db.execute(
        &format!(
            "CREATE MODEL m USING openai WITH (url = '{url}', name = 'toy', concurrency = {concurrency})"
        ),
        (),
    )?;
    let (_, took) = timed(|| Ok(db.execute("ENRICH items BY intent USING m", ())?))?;
    child::tell(SECONDS, took.as_secs_f64());
    child::tell_peak()?;
    let rows = db.query("SELECT count(*) FROM items WHERE descriptors IS NOT NULL", ())?;
    agrees(&rows.rows[0][0])?;
    Ok(db.close()?)
}

/// As many requests by threads that have nothing else to do: the limit.
pub(crate) fn plain(concurrency: usize) -> Result {
    let (address, request) = (needed("--address")?, std::fs::read(needed("--request")?)?);
    let (count, next) = (items()?, AtomicUsize::new(0));
    let work = || -> std::io::Result<()> {
        let stream = TcpStream::connect(&address)?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = (BufReader::new(&stream), &stream);
        let mut answer = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < count {
            writer.write_all(&request)?;
            if !read(&mut reader, &mut answer)? {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    };
    let (ends, took) = timed(|| {
        Ok(std::thread::scope(|scope| {
            let threads: Vec<_> = (0..concurrency).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        }))
    })?;
    for end in ends {
        end.map_err(|_| "a thread that asks panicked")??;
    }
    child::tell(SECONDS, took.as_secs_f64());
    child::tell_peak()
}

fn open() -> Result<Database> {
    let mib: usize = needed("--cache")?.parse()?;
    Ok(Database::builder().cache_bytes(mib << 20).open(needed("--file")?)?)
}

fn items() -> Result<usize> {
    Ok(needed("--items")?.parse()?)
}

/// A count that must be that of the items.
fn agrees(found: &Value) -> Result {
    let items = items()?;
    match found.as_i64() {
        Some(count) if count as usize == items => Ok(()),
        _ => Err(format!("{found} of {items} items").into()),
    }
}
