//! Any key or value as readable text.

use std::fmt::Write as _;
use std::ops::Bound;

use crate::codec::{archive, frame, key};
use crate::error::Result;
use crate::migrate;
use crate::record::{
    Codebook, EvaluationRecord, Evidence, EvidenceKind, Failure, Field, Generation, Index, Item,
    JobRecord, Model, Origin, PolicyCard, Sid, Space, Stamp, User,
};
use crate::table::counters::{self, COUNTERS};
use crate::table::posting::List;
use crate::table::{Table, blobs, embeddings, histories, settings, sids, spaces};
use crate::view::View;

/// Appends every row of a table to `out`: key, ` = `, value, one line each. A damaged value is told as
/// such, so that the rest can still be read.
pub fn table(view: &dyn View, table: Table, out: &mut String) -> Result<()> {
    for row in view.scan(table, Bound::Unbounded, Bound::Unbounded)? {
        let (key, value) = row?;
        let text = value_text(view, table, &key, &value)
            .unwrap_or_else(|error| format!("damaged: {error}"));
        let _ = writeln!(out, "{}/{} = {text}", table.name(), key_text(table.name(), &key));
    }
    Ok(())
}

/// Every table of the file.
pub fn all(view: &dyn View) -> Result<String> {
    let mut out = String::new();
    for info in &crate::table::TABLES {
        table(view, info.table, &mut out)?;
    }
    Ok(out)
}

/// A key as readable text; one that cannot be read is shown as bytes.
pub fn key_text(table: &str, key: &[u8]) -> String {
    readable(table, key).unwrap_or_else(|| {
        let mut text = String::from("0x");
        for byte in key {
            let _ = write!(text, "{byte:02x}");
        }
        text
    })
}

fn readable(table: &str, row_key: &[u8]) -> Option<String> {
    let big = |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let text = match (Table::named(table)?, row_key.len()) {
        (Table::Fields, 2) | (Table::Generations | Table::Origins | Table::Changes, 4) => {
            big(row_key).to_string()
        }
        (Table::Items | Table::Users | Table::Jobs | Table::Evaluations | Table::Blobs, 8) => {
            big(row_key).to_string()
        }
        (Table::Histories | Table::Chunks, 12) => {
            format!("{}/{}", big(&row_key[..8]), big(&row_key[8..]))
        }
        (Table::Embeddings | Table::Sids | Table::Stamps | Table::Changes, 12) => {
            format!("{}/{}", big(&row_key[..4]), big(&row_key[4..]))
        }
        (Table::Failures, 16) => format!("{}/{}", big(&row_key[..8]), big(&row_key[8..])),
        (Table::Evidence, 9) => {
            let kind = EvidenceKind::ALL.into_iter().find(|kind| *kind as u8 == row_key[0])?;
            format!("{}/{}", kind.name(), big(&row_key[1..]))
        }
        (Table::Counters, 1) => {
            COUNTERS.iter().find(|counter| counter.key() == row_key)?.name().to_owned()
        }
        (Table::Postings, _) => posting_text(row_key)?,
        (
            Table::Meta
            | Table::Settings
            | Table::ItemIds
            | Table::UserIds
            | Table::Spaces
            | Table::Codebooks
            | Table::Policies
            | Table::Models
            | Table::Indexes,
            _,
        ) => format!("{:?}", std::str::from_utf8(row_key).ok()?),
        _ => return None,
    };
    Some(text)
}

fn posting_text(row_key: &[u8]) -> Option<String> {
    let (generation, codes) = key::split_codes(row_key)?;
    let sid = Sid::new(&codes).ok()?;
    let end = key::codes(generation, &codes).len();
    Some(match row_key.get(end + 1..) {
        None => format!("{generation}/{sid}"),
        Some([]) => format!("{generation}/{sid}."),
        Some(item) => {
            let item = item.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            format!("{generation}/{sid}./{item}")
        }
    })
}

fn record<T: archive::Stored + std::fmt::Debug>(
    table: Table,
    key: &[u8],
    value: &[u8],
) -> Result<String> {
    Ok(format!("{:?}", archive::decode::<T>(table, key, value)?))
}

/// A value as readable text.
pub fn value_text(view: &dyn View, table: Table, key: &[u8], value: &[u8]) -> Result<String> {
    match table {
        Table::Meta => Ok(format!("format {}", migrate::read(value)?)),
        Table::Counters | Table::ItemIds | Table::UserIds | Table::Changes => {
            Ok(counters::decode(table, key, value)?.to_string())
        }
        Table::Settings => Ok(format!("{:?}", settings::read(key, value)?)),
        Table::Fields => record::<Field>(table, key, value),
        Table::Items => record::<Item>(table, key, value),
        Table::Users => record::<User>(table, key, value),
        Table::Spaces => record::<Space>(table, key, value),
        Table::Codebooks => record::<Codebook>(table, key, value),
        Table::Generations => record::<Generation>(table, key, value),
        Table::Policies => record::<PolicyCard>(table, key, value),
        Table::Jobs => record::<JobRecord>(table, key, value),
        Table::Evaluations => record::<EvaluationRecord>(table, key, value),
        Table::Models => record::<Model>(table, key, value),
        Table::Origins => record::<Origin>(table, key, value),
        Table::Evidence => record::<Evidence>(table, key, value),
        Table::Stamps => record::<Stamp>(table, key, value),
        Table::Failures => record::<Failure>(table, key, value),
        Table::Indexes => record::<Index>(table, key, value),
        Table::Histories => history_text(key, value),
        Table::Embeddings => block_text(view, key, value),
        Table::Sids => Ok(pairs(sids::decode(key, value)?.into_iter())),
        Table::Postings => {
            let entries = List::open(key, value)?.entries()?;
            Ok(pairs(entries.into_iter().map(|(sid, item)| (item, sid))))
        }
        Table::Blobs => Ok(format!("{:?}", blobs::decode(key, value)?)),
        Table::Chunks => {
            let bytes = frame::open(table, key, value)?;
            Ok(format!("{} bytes, crc32 {:08x}", bytes.len(), crc32fast::hash(bytes)))
        }
    }
}

fn pairs(entries: impl Iterator<Item = (u64, Sid)>) -> String {
    let texts: Vec<String> = entries.map(|(item, sid)| format!("{item}:{sid}")).collect();
    texts.join(" ")
}

fn history_text(key: &[u8], value: &[u8]) -> Result<String> {
    let mut history = Vec::new();
    histories::decode(key, value, &mut history)?;
    let mut text = String::new();
    for one in history {
        let _ = write!(text, "{}@{}", one.item, one.time);
        if let Some(kind) = one.kind {
            let _ = write!(text, "({kind})");
        }
        if one.weight != 1.0 {
            let _ = write!(text, "*{}", one.weight);
        }
        text.push(' ');
    }
    Ok(text.trim_end().to_owned())
}

fn block_text(view: &dyn View, row_key: &[u8], value: &[u8]) -> Result<String> {
    let (number, _) = key::read_pair(Table::Embeddings, row_key)?;
    let spaces = spaces::all(view)?;
    let Some(space) = spaces.iter().find(|space| u32::from(space.number) == number) else {
        return Ok("of no space".to_owned());
    };
    let block = embeddings::decode(space, row_key, value)?;
    let texts: Vec<String> =
        block.iter().map(|(item, vector)| format!("{item}:{vector:?}")).collect();
    Ok(texts.join(" "))
}
