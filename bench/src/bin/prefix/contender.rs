//! Who answers lookups, and how.

use std::hint::black_box;

use sidql::{Outcome, Session, Value};
use sidql_bench::{LEVELS, Result, World};
use sidql_storage::{FieldValue, Item, ItemNo, Sid, items, sids};

use crate::Bench;

/// Title, brand, price and SID.
pub(crate) type Data = (String, String, f64, Vec<u16>);

/// One row of a result: an item, and its metadata where they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) item: u64,
    pub(crate) data: Option<Data>,
}

/// Looks a prefix up and counts what it finds.
pub(crate) type Look<'a> = Box<dyn FnMut(&[u16]) -> Result<usize> + 'a>;
/// Looks a prefix up and gives what it finds.
pub(crate) type Check<'a> = Box<dyn FnMut(&[u16]) -> Result<Vec<Found>> + 'a>;

/// What answers lookups: rows in the order of SID and item. The second function does the same work and gives
/// its result in a comparable form, so that all can be checked to agree.
pub(crate) struct Contender<'a> {
    /// As the table calls it.
    pub(crate) name: &'static str,
    /// Looks a prefix up; tells how many rows it has.
    pub(crate) look: Look<'a>,
    /// Gives the rows.
    pub(crate) check: Check<'a>,
}

impl Bench {
    /// Who finds items alone. The storage floors give numbers, the languages the ids that users type.
    pub(crate) fn ids(&self) -> Result<Vec<Contender<'_>>> {
        Ok(vec![
            self.array(false),
            self.tree(),
            self.postings(),
            self.held.redb.contender(),
            self.held.lmdb.contender(),
            self.sqlite_numbers()?,
            self.prepared("SELECT id FROM items WHERE prefix = ?", false)?,
            self.language("SELECT id FROM items WHERE", false),
            self.sqlite_text("s.item, i.id", false),
        ])
    }

    /// Who finds items with their metadata.
    pub(crate) fn whole(&self) -> Result<Vec<Contender<'_>>> {
        const COLUMNS: &str = "s.item, i.id, i.title, i.brand, i.price, s.c0, s.c1, s.c2";
        Ok(vec![
            self.array(true),
            self.records(),
            self.sqlite_items(COLUMNS)?,
            self.prepared("SELECT id, title, brand, price, sid FROM items WHERE prefix = ?", true)?,
            self.language("SELECT id, title, brand, price, sid FROM items WHERE", true),
            self.sqlite_text(COLUMNS, true),
        ])
    }

    fn array(&self, whole: bool) -> Contender<'_> {
        // Metadata in memory: what a program without a database would hold.
        let records: Vec<Data> = if whole {
            (0_u64..).zip(&self.world.sids).map(|(no, sid)| metadata(no, sid)).collect()
        } else {
            Vec::new()
        };
        let mut numbers: Vec<u64> = Vec::new();
        Contender {
            name: "sorted array in memory",
            look: Box::new(move |prefix| {
                let range = self.array.under(prefix);
                if whole {
                    let rows: Vec<_> =
                        range.iter().map(|no| records[*no as usize].clone()).collect();
                    return Ok(black_box(rows).len());
                }
                numbers.clear();
                numbers.extend_from_slice(range);
                Ok(black_box(&numbers).len())
            }),
            check: Box::new(move |prefix| {
                let of = |item: &u64| {
                    let data = whole.then(|| metadata(*item, &self.world.sids[*item as usize]));
                    Found { item: *item, data }
                };
                Ok(self.array.under(prefix).iter().map(of).collect())
            }),
        }
    }

    /// The ids themselves, where the others give numbers.
    fn tree(&self) -> Contender<'_> {
        let tree = &self.held.tree;
        let mut ids: Vec<&str> = Vec::new();
        Contender {
            name: "sidql tree in memory, ids",
            look: Box::new(move |prefix| {
                ids.clear();
                ids.extend(tree.ids(prefix)?);
                Ok(black_box(&ids).len())
            }),
            check: Box::new(move |prefix| {
                Ok(tree.ids(prefix)?.map(|id| Found { item: number(id), data: None }).collect())
            }),
        }
    }

    fn postings(&self) -> Contender<'_> {
        let find = move |prefix: &[u16], numbers: &mut Vec<ItemNo>| -> Result {
            numbers.clear();
            Ok(sids::collect_under(&self.held.read, self.generation, prefix, numbers)?)
        };
        let mut numbers = Vec::new();
        Contender {
            name: "sidql storage",
            look: Box::new(move |prefix| {
                find(prefix, &mut numbers)?;
                Ok(black_box(&numbers).len())
            }),
            check: Box::new(move |prefix| {
                let mut numbers = Vec::new();
                find(prefix, &mut numbers)?;
                Ok(numbers.into_iter().map(|item| Found { item, data: None }).collect())
            }),
        }
    }

    fn records(&self) -> Contender<'_> {
        let find = move |prefix: &[u16]| -> Result<Vec<(ItemNo, Sid, Item)>> {
            let read = &self.held.read;
            let rows = sids::items_under(read, self.generation, prefix)?;
            rows.map(|row| {
                let (sid, number) = row?;
                let item = items::get(read, number)?.ok_or("an item is missing")?;
                Ok((number, sid, item))
            })
            .collect()
        };
        Contender {
            name: "sidql storage",
            look: Box::new(move |prefix| Ok(black_box(find(prefix)?).len())),
            check: Box::new(move |prefix| {
                let row = |(item, sid, record): (ItemNo, Sid, Item)| {
                    let text = |no| match record.field(no) {
                        Some(FieldValue::Text(text)) => text.clone(),
                        _ => String::new(),
                    };
                    let price = match record.field(2) {
                        Some(FieldValue::Float(price)) => *price,
                        _ => f64::NAN,
                    };
                    let data = (text(0), text(1), price, sid.codes().to_vec());
                    Found { item, data: Some(data) }
                };
                Ok(find(prefix)?.into_iter().map(row).collect())
            }),
        }
    }

    fn language(&self, head: &'static str, whole: bool) -> Contender<'_> {
        let mut session = self.held.database.session();
        let mut checked = self.held.database.session();
        Contender {
            name: "sidql language, text",
            look: Box::new(move |prefix| Ok(black_box(ask(&mut session, head, prefix)?).len())),
            check: Box::new(move |prefix| {
                let rows = ask(&mut checked, head, prefix)?;
                Ok(rows.into_iter().map(|row| from_row(&row, whole)).collect())
            }),
        }
    }

    fn prepared(&self, text: &str, whole: bool) -> Result<Contender<'_>> {
        let look = self.held.database.prepare(text)?;
        let check = look.clone();
        Ok(Contender {
            name: "sidql language, prepared",
            look: Box::new(move |prefix| {
                Ok(black_box(look.query([Sid::new(prefix)?.into()])?).len())
            }),
            check: Box::new(move |prefix| {
                let rows = check.query([Sid::new(prefix)?.into()])?;
                Ok(rows.into_iter().map(|row| from_row(&row, whole)).collect())
            }),
        })
    }

    fn sqlite_numbers(&self) -> Result<Contender<'_>> {
        let sql = format!("SELECT item FROM sids s WHERE {}", bound(self.queries[0].len()));
        let mut look = self.held.snapshot.prepare(&sql)?;
        let mut check = self.held.snapshot.prepare(&sql)?;
        let mut numbers: Vec<u64> = Vec::new();
        Ok(Contender {
            name: "SQLite, prepared",
            look: Box::new(move |prefix| {
                numbers.clear();
                let mut rows = look.query(rusqlite::params_from_iter(prefix))?;
                while let Some(row) = rows.next()? {
                    numbers.push(row.get::<_, i64>(0)? as u64);
                }
                Ok(black_box(&numbers).len())
            }),
            check: Box::new(move |prefix| {
                let rows = check.query_map(rusqlite::params_from_iter(prefix), |row| {
                    Ok(Found { item: row.get::<_, i64>(0)? as u64, data: None })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }),
        })
    }

    fn sqlite_items(&self, columns: &str) -> Result<Contender<'_>> {
        let sql = joined(columns, &bound(self.queries[0].len()));
        let mut look = self.held.snapshot.prepare(&sql)?;
        let mut check = self.held.snapshot.prepare(&sql)?;
        Ok(Contender {
            name: "SQLite, prepared",
            look: Box::new(move |prefix| {
                let rows = look.query_map(rusqlite::params_from_iter(prefix), whole_row)?;
                Ok(black_box(rows.collect::<rusqlite::Result<Vec<_>>>()?).len())
            }),
            check: Box::new(move |prefix| {
                let rows = check.query_map(rusqlite::params_from_iter(prefix), whole_row)?;
                let rows: Vec<WholeRow> = rows.collect::<rusqlite::Result<_>>()?;
                Ok(rows.into_iter().map(from_whole).collect())
            }),
        })
    }

    /// As the language: the text is parsed and planned for every lookup, in a transaction of its own.
    fn sqlite_text(&self, columns: &'static str, whole: bool) -> Contender<'_> {
        let sql = move |prefix: &[u16]| joined(columns, &literal(prefix));
        Contender {
            name: "SQLite, text",
            look: Box::new(move |prefix| {
                let mut statement = self.held.plain.prepare(&sql(prefix))?;
                if whole {
                    let rows = statement.query_map((), whole_row)?;
                    return Ok(black_box(rows.collect::<rusqlite::Result<Vec<_>>>()?).len());
                }
                let rows = statement.query_map((), |row| row.get::<_, String>(1))?;
                Ok(black_box(rows.collect::<rusqlite::Result<Vec<_>>>()?).len())
            }),
            check: Box::new(move |prefix| {
                let mut statement = self.held.plain.prepare(&sql(prefix))?;
                if whole {
                    let rows = statement.query_map((), whole_row)?;
                    let rows: Vec<WholeRow> = rows.collect::<rusqlite::Result<_>>()?;
                    return Ok(rows.into_iter().map(from_whole).collect());
                }
                let rows = statement.query_map((), |row| {
                    Ok(Found { item: row.get::<_, i64>(0)? as u64, data: None })
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            }),
        }
    }
}

type WholeRow = (i64, String, String, String, f64, [u16; LEVELS]);

fn whole_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<WholeRow> {
    let sid = [row.get(5)?, row.get(6)?, row.get(7)?];
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, sid))
}

fn from_whole((item, _, title, brand, price, sid): WholeRow) -> Found {
    Found { item: item as u64, data: Some((title, brand, price, sid.to_vec())) }
}

fn metadata(item: u64, sid: &[u16]) -> Data {
    let at = item as usize;
    (World::title(at), World::brand(at), World::price(at), sid.to_vec())
}

/// The rows of a statement whose predicate is a prefix.
pub(crate) fn ask(session: &mut Session, head: &str, prefix: &[u16]) -> Result<sidql::Rows> {
    let statement = format!("{head} prefix = {}", Sid::new(prefix)?);
    match session.execute(&statement, ())? {
        Outcome::Rows(rows) => Ok(rows),
        other => Err(format!("no rows but {other:?}").into()),
    }
}

/// A row of the language; its id tells the number of the item.
fn from_row(row: &[Value], whole: bool) -> Found {
    let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let item = number(&text(0));
    let sid = match row.get(4) {
        Some(Value::Sid(sid)) => sid.codes().to_vec(),
        _ => Vec::new(),
    };
    let price = row.get(3).and_then(Value::as_f64).unwrap_or(f64::NAN);
    Found { item, data: whole.then(|| (text(1), text(2), price, sid)) }
}

/// The number of the item of an id.
fn number(id: &str) -> u64 {
    id.trim_start_matches('B').parse().unwrap_or(u64::MAX)
}

fn joined(columns: &str, condition: &str) -> String {
    format!("SELECT {columns} FROM sids s JOIN items i ON i.item = s.item WHERE {condition}")
}

/// The condition of a prepared statement.
fn bound(codes: usize) -> String {
    let each: Vec<String> = (0..codes).map(|at| format!("s.c{at} = ?{}", at + 1)).collect();
    each.join(" AND ")
}

/// The condition with the codes written out.
pub(crate) fn literal(prefix: &[u16]) -> String {
    let each: Vec<String> =
        prefix.iter().enumerate().map(|(at, code)| format!("s.c{at} = {code}")).collect();
    each.join(" AND ")
}
