//! Stores of keys and values: one row for each item, its SID and number in the key, nothing in the value.

use std::hint::black_box;
use std::path::Path;

use heed::types::{Bytes, Unit};
use redb::{ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, TableDefinition};
use sidql_bench::{LEVELS, Result, World};

use crate::contender::{Contender, Found};

const TABLE: TableDefinition<'static, &[u8], ()> = TableDefinition::new("sids");
/// Bytes of a key: the codes, then the item.
const KEY: usize = LEVELS * 2 + 8;
/// Address space that LMDB may map.
const MAP_BYTES: usize = 8 << 30;

/// The keys of a catalogue, ascending.
pub(crate) fn keys(world: &World) -> Vec<[u8; KEY]> {
    let mut keys: Vec<[u8; KEY]> = (0_u64..)
        .zip(&world.sids)
        .map(|(item, codes)| {
            let mut key = [0; KEY];
            key[..LEVELS * 2].copy_from_slice(&prefix_bytes(codes));
            key[LEVELS * 2..].copy_from_slice(&item.to_be_bytes());
            key
        })
        .collect();
    keys.sort_unstable();
    keys
}

fn prefix_bytes(codes: &[u16]) -> Vec<u8> {
    codes.iter().flat_map(|code| code.to_be_bytes()).collect()
}

/// The item that a key ends with.
fn item_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// redb alone.
pub(crate) struct Redb {
    table: ReadOnlyTable<&'static [u8], ()>,
}

impl Redb {
    /// Loads the keys into a file, in their order.
    pub(crate) fn load(path: &Path, keys: &[[u8; KEY]]) -> Result {
        let database = redb::Database::create(path)?;
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(TABLE)?;
            for key in keys {
                table.insert(key.as_slice(), ())?;
            }
        }
        Ok(write.commit()?)
    }

    /// The file, on a held snapshot.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let database = ReadOnlyDatabase::open(path)?;
        Ok(Redb { table: database.begin_read()?.open_table(TABLE)? })
    }

    fn find(&self, prefix: &[u16], items: &mut Vec<u64>) -> Result {
        let first = prefix_bytes(prefix);
        let after = following(&first);
        items.clear();
        for row in self.table.range(first.as_slice()..after.as_slice())? {
            items.push(item_of(row?.0.value()));
        }
        Ok(())
    }

    /// It as a contender.
    pub(crate) fn contender(&self) -> Contender<'_> {
        contender("redb, a row an item", |prefix, items| self.find(prefix, items))
    }
}

/// LMDB.
pub(crate) struct Lmdb {
    table: heed::Database<Bytes, Unit>,
    read: heed::RoTxn<'static, heed::WithoutTls>,
}

impl Lmdb {
    #[allow(
        unsafe_code,
        reason = "a mapped file; nobody else touches it while the measurement runs"
    )]
    fn env(folder: &Path) -> Result<heed::Env<heed::WithoutTls>> {
        std::fs::create_dir_all(folder)?;
        let options = heed::EnvOpenOptions::new().read_txn_without_tls();
        let mut options = options;
        options.map_size(MAP_BYTES);
        Ok(unsafe { options.open(folder)? })
    }

    /// Loads the keys into a folder, in their order.
    pub(crate) fn load(folder: &Path, keys: &[[u8; KEY]]) -> Result {
        let env = Self::env(folder)?;
        let mut write = env.write_txn()?;
        let table: heed::Database<Bytes, Unit> = env.create_database(&mut write, None)?;
        for key in keys {
            table.put_with_flags(&mut write, heed::PutFlags::APPEND, key, &())?;
        }
        write.commit()?;
        env.prepare_for_closing().wait();
        Ok(())
    }

    /// The folder, on a held snapshot.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let env = Self::env(folder)?;
        let read = env.clone().static_read_txn()?;
        let table = env.open_database(&read, None)?.ok_or("LMDB has lost its table")?;
        Ok(Lmdb { table, read })
    }

    fn find(&self, prefix: &[u16], items: &mut Vec<u64>) -> Result {
        items.clear();
        for row in self.table.prefix_iter(&self.read, &prefix_bytes(prefix))? {
            items.push(item_of(row?.0));
        }
        Ok(())
    }

    /// It as a contender.
    pub(crate) fn contender(&self) -> Contender<'_> {
        contender("LMDB, a row an item", |prefix, items| self.find(prefix, items))
    }
}

/// The first bytes after all that begin with these.
fn following(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            break;
        }
    }
    after
}

fn contender<'a>(
    name: &'static str,
    find: impl Fn(&[u16], &mut Vec<u64>) -> Result + Copy + 'a,
) -> Contender<'a> {
    let mut items = Vec::new();
    Contender {
        name,
        look: Box::new(move |prefix| {
            find(prefix, &mut items)?;
            Ok(black_box(&items).len())
        }),
        check: Box::new(move |prefix| {
            let mut items = Vec::new();
            find(prefix, &mut items)?;
            Ok(items.into_iter().map(|item| Found { item, data: None }).collect())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::following;

    #[test]
    fn what_follows_a_prefix() {
        assert_eq!(following(&[0, 1]), [0, 2]);
        assert_eq!(following(&[0, 255]), [1]);
        assert_eq!(following(&[255, 255]), [] as [u8; 0]);
    }
}
