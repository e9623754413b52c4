//! The tables: one module each, and the list of them all.

pub mod blobs;
pub mod changes;
pub mod codebooks;
pub(crate) mod counters;
pub mod embeddings;
pub mod evaluations;
pub mod evidence;
pub mod failures;
pub mod fields;
pub mod generations;
pub mod histories;
pub mod indexes;
pub mod items;
pub mod jobs;
pub mod models;
pub mod origins;
pub mod policies;
pub(crate) mod posting;
pub mod reach;
pub(crate) mod rows;
pub mod settings;
pub mod sids;
pub mod spaces;
pub mod stamps;
pub mod users;

/// One table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Table {
    /// Magic and format number.
    Meta = 1,
    /// Running numbers and tallies.
    Counters,
    /// Settings of the file.
    Settings,
    /// The schema of the items' metadata.
    Fields,
    /// Items by number.
    Items,
    /// Item numbers by id.
    ItemIds,
    /// Users by number.
    Users,
    /// User numbers by id.
    UserIds,
    /// Interactions by user, in blocks.
    Histories,
    /// Embedding spaces by name.
    Spaces,
    /// Vectors by space and item, in blocks.
    Embeddings,
    /// Codebooks by name.
    Codebooks,
    /// Generations by number.
    Generations,
    /// SIDs by generation and item, in blocks.
    Sids,
    /// Items by generation and SID, in lists.
    Postings,
    /// Policies by name.
    Policies,
    /// Jobs by number.
    Jobs,
    /// Evaluations by number.
    Evaluations,
    /// Blobs by number.
    Blobs,
    /// The chunks of the blobs.
    Chunks,
    /// Models by name.
    Models,
    /// Origins by number.
    Origins,
    /// What models said of the items, by kind and item.
    Evidence,
    /// Stamps of the vectors, by space and item.
    Stamps,
    /// Failures by job and item.
    Failures,
    /// Vector indexes by name.
    Indexes,
    /// Revisions of vectors, by space and block.
    Changes,
}

/// What is to be known of a table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TableInfo {
    /// The table.
    pub table: Table,
    /// Its name in the file.
    pub name: &'static str,
    /// What its keys are made of.
    pub key: &'static str,
    /// What its values are.
    pub value: &'static str,
    /// The format in which it first appeared.
    pub since: u32,
}

const fn info(
    table: Table,
    name: &'static str,
    key: &'static str,
    value: &'static str,
) -> TableInfo {
    TableInfo { table, name, key, value, since: 1 }
}

const fn since(format: u32, info: TableInfo) -> TableInfo {
    TableInfo { since: format, ..info }
}

/// Every table of the file, in the order of their kinds.
pub const TABLES: [TableInfo; 27] = [
    info(Table::Meta, "meta", "name", "magic and format number"),
    info(Table::Counters, "counters", "counter u8", "u64"),
    info(Table::Settings, "settings", "name", "text"),
    info(Table::Fields, "fields", "field u16", "Field"),
    info(Table::Items, "items", "item u64", "Item"),
    info(Table::ItemIds, "item_ids", "id", "item u64"),
    info(Table::Users, "users", "user u64", "User"),
    info(Table::UserIds, "user_ids", "id", "user u64"),
    info(Table::Histories, "histories", "user u64, block u32", "packed interactions"),
    info(Table::Spaces, "spaces", "name", "Space"),
    info(Table::Embeddings, "embeddings", "space u32, block u64", "packed vectors"),
    info(Table::Codebooks, "codebooks", "name", "Codebook"),
    info(Table::Generations, "generations", "generation u32", "Generation"),
    info(Table::Sids, "sids", "generation u32, block u64", "packed codes"),
    info(Table::Postings, "postings", "generation u32, codes", "packed suffixes and items"),
    info(Table::Policies, "policies", "name", "PolicyCard"),
    info(Table::Jobs, "jobs", "job u64", "JobRecord"),
    info(Table::Evaluations, "evaluations", "evaluation u64", "EvaluationRecord"),
    info(Table::Blobs, "blobs", "blob u64", "length, checksum, chunks"),
    info(Table::Chunks, "chunks", "blob u64, chunk u32", "bytes"),
    since(2, info(Table::Models, "models", "name", "Model")),
    since(2, info(Table::Origins, "origins", "origin u32", "Origin")),
    since(2, info(Table::Evidence, "evidence", "kind u8, item u64", "Evidence")),
    since(2, info(Table::Stamps, "stamps", "space u32, item u64", "Stamp")),
    since(2, info(Table::Failures, "failures", "job u64, item u64", "Failure")),
    since(3, info(Table::Indexes, "indexes", "name", "Index")),
    since(3, info(Table::Changes, "changes", "space u32, perhaps block u64", "revision u64")),
];

impl Table {
    /// What is to be known of it.
    pub fn info(self) -> &'static TableInfo {
        &TABLES[self.index()]
    }

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Its place in `TABLES`.
    pub(crate) fn index(self) -> usize {
        self as usize - 1
    }

    /// The kind that frames of its values bear.
    pub(crate) fn kind(self) -> u8 {
        self as u8
    }

    /// The table of a name.
    pub fn named(name: &str) -> Option<Table> {
        TABLES.iter().find(|info| info.name == name).map(|info| info.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        for (at, info) in TABLES.iter().enumerate() {
            assert_eq!(info.table.index(), at, "{}", info.name);
            assert_eq!(Table::named(info.name), Some(info.table));
        }
    }
}
