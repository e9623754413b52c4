//! The catalogue into a file of sidql and into one of SQLite.

use std::path::Path;

use rusqlite::{Connection, params};
use sidql_bench::{LEVELS, Result, SIZE, World};
use sidql_storage::{
    Codebook, FieldType, FieldValue, Generation, Item, OpenOptions, Sid, Store, codebooks, fields,
    generations, items, sids,
};

/// Opens a file that others read at the same time.
pub(crate) fn read_only() -> OpenOptions {
    OpenOptions { read_only: true, create: false, ..OpenOptions::default() }
}

/// Makes a file of sidql; gives the number of the published generation.
pub(crate) fn load_sidql(file: &Path, world: &World, metadata: bool) -> Result<u32> {
    let store = Store::create(file, &OpenOptions::default())?;
    let write = store.write()?;
    if metadata {
        fields::add(&write, "title", FieldType::Text)?;
        fields::add(&write, "brand", FieldType::Text)?;
        fields::add(&write, "price", FieldType::Float)?;
    }
    let mut numbered = Vec::with_capacity(world.sids.len());
    for (at, codes) in world.sids.iter().enumerate() {
        let fields = if metadata {
            vec![
                (0, FieldValue::Text(World::title(at))),
                (1, FieldValue::Text(World::brand(at))),
                (2, FieldValue::Float(World::price(at))),
            ]
        } else {
            Vec::new()
        };
        let number = items::insert(&write, &Item { id: World::id(at), fields })?;
        if number != at as u64 {
            return Err("items are not numbered from 0 on".into());
        }
        numbered.push((number, Sid::new(codes)?));
    }
    let name = "full".to_owned();
    let kind = "rq_kmeans".to_owned();
    let codebook = Codebook { name: name.clone(), kind: kind.clone(), ..Codebook::default() };
    codebooks::create(&write, &codebook)?;
    let generation = generations::begin(
        &write,
        &Generation {
            codebook: name,
            kind,
            levels: LEVELS as u8,
            sizes: vec![u32::from(SIZE); LEVELS],
            ..Generation::default()
        },
    )?;
    sids::load_many(&write, generation.number, numbered)?;
    generations::publish(&write, generation.number)?;
    write.commit()?;
    store.close()?;
    Ok(generation.number)
}

/// A cache as large as that of sidql, so that neither reads the file again.
pub(crate) fn open_sqlite(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA cache_size = -262144; PRAGMA mmap_size = 1073741824;")?;
    Ok(connection)
}

/// Makes a file of SQLite: the items by number, the SIDs in a table that is its own index.
pub(crate) fn load_sqlite(path: &Path, world: &World, metadata: bool) -> Result {
    let mut connection = open_sqlite(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE items (item INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, brand TEXT, price REAL);
         CREATE TABLE sids (c0 INTEGER, c1 INTEGER, c2 INTEGER, item INTEGER,
                            PRIMARY KEY (c0, c1, c2, item)) WITHOUT ROWID;",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO items VALUES (?, ?, ?, ?, ?)")?;
        for at in 0..world.sids.len() {
            let (title, brand, price) = if metadata {
                (Some(World::title(at)), Some(World::brand(at)), Some(World::price(at)))
            } else {
                (None, None, None)
            };
            insert.execute(params![at as i64, World::id(at), title, brand, price])?;
        }
        let mut sorted: Vec<_> = (0_i64..).zip(&world.sids).map(|(no, sid)| (sid, no)).collect();
        sorted.sort_unstable();
        let mut insert = transaction.prepare("INSERT INTO sids VALUES (?, ?, ?, ?)")?;
        for ([a, b, c], item) in sorted {
            insert.execute(params![a, b, c, item])?;
        }
    }
    transaction.commit()?;
    Ok(connection.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);")?)
}
