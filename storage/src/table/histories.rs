//! Histories: what each user did, in time order, packed into blocks.

use std::iter::Peekable;
use std::ops::Bound;

use super::{Table, rows};
use crate::codec::pack::{Damage, Reader, u16_at, u32_at, u64_at};
use crate::codec::{frame, key};
use crate::error::{Error, Result};
use crate::record::{Interaction, ItemNo, UserNo};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::{Bytes, Rows, Stream, View};

/// The most interactions in one block.
pub const BLOCK_LIMIT: usize = 256;

/// A weight other than 1 occurs, so there is a column of weights.
const WEIGHTS: u8 = 1;
/// An item number above 32 bits occurs, so the column of items is twice as wide.
const WIDE: u8 = 2;

/// What a user did, oldest first.
pub fn of(view: &dyn View, user: UserNo) -> Result<Vec<Interaction>> {
    let mut history = Vec::new();
    for row in rows::under(view, Table::Histories, &key::number(user))? {
        let (key, value) = row?;
        decode(&key, &value, &mut history)?;
    }
    Ok(history)
}

/// The number of interactions of a user.
pub fn count_of(view: &dyn View, user: UserNo) -> Result<u64> {
    let mut count = 0;
    for row in rows::under(view, Table::Histories, &key::number(user))? {
        let (key, value) = row?;
        count += columns(&key, &value)?.count as u64;
    }
    Ok(count)
}

/// The number of interactions of all users.
pub fn count(view: &dyn View) -> Result<u64> {
    view.counter(Counter::Interactions)
}

/// All users from a number on that have a history, with it.
pub fn scan(view: &dyn View, from: UserNo) -> Result<Stream<'_, (UserNo, Vec<Interaction>)>> {
    let start = key::number(from);
    let rows = view.scan(Table::Histories, Bound::Included(&start), Bound::Unbounded)?;
    Ok(Box::new(Users { rows: rows.peekable() }))
}

/// Puts the blocks of one user together.
struct Users<'v> {
    rows: Peekable<Rows<'v>>,
}

impl Users<'_> {
    fn gather(&mut self, first: (Bytes, Bytes)) -> Result<(UserNo, Vec<Interaction>)> {
        let (user, _) = key::read_parted(Table::Histories, &first.0)?;
        let mut history = Vec::new();
        decode(&first.0, &first.1, &mut history)?;
        let prefix = key::number(user);
        let same = |row: &Result<(Bytes, Bytes)>| {
            row.as_ref().is_ok_and(|(key, _)| key.starts_with(&prefix))
        };
        while let Some(row) = self.rows.next_if(same) {
            let (key, value) = row?;
            decode(&key, &value, &mut history)?;
        }
        Ok((user, history))
    }
}

impl Iterator for Users<'_> {
    type Item = Result<(UserNo, Vec<Interaction>)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.next()?.and_then(|first| self.gather(first)))
    }
}

/// Adds to a history. Interactions of the same time stay in the order in which they came.
pub fn append(write: &Write, user: UserNo, new: &[Interaction]) -> Result<()> {
    let Some(earliest) = new.iter().map(|one| one.time).min() else { return Ok(()) };
    check(new)?;
    let mut first_block = 0;
    let mut history = Vec::new();
    if let Some((row_key, value)) = write.floor(Table::Histories, &key::parted(user, u32::MAX))?
        && row_key.starts_with(&key::number(user))
    {
        first_block = key::read_parted(Table::Histories, &row_key)?.1;
        decode(&row_key, &value, &mut history)?;
        if history.last().is_some_and(|last| last.time > earliest) {
            first_block = 0;
            history = of(write, user)?;
        }
    }
    history.extend_from_slice(new);
    history.sort_by_key(|one| one.time);
    store(write, user, first_block, &history)?;
    write.tally(Counter::Interactions, new.len() as i64)
}

/// Replaces a history; an empty one takes no room.
pub fn replace(write: &Write, user: UserNo, history: &[Interaction]) -> Result<()> {
    check(history)?;
    let before = count_of(write, user)?;
    write.remove_prefix(Table::Histories, &key::number(user))?;
    let mut history = history.to_vec();
    history.sort_by_key(|one| one.time);
    store(write, user, 0, &history)?;
    write.tally(Counter::Interactions, history.len() as i64 - before as i64)
}

/// Removes all interactions with these items from all histories; tells how many there were.
pub fn remove_items(write: &Write, items: &[ItemNo]) -> Result<u64> {
    let mut items = items.to_vec();
    items.sort_unstable();
    let mut users = Vec::new();
    for row in write.scan(Table::Histories, Bound::Unbounded, Bound::Unbounded)? {
        let (key, value) = row?;
        let columns = columns(&key, &value)?;
        if (0..columns.count).any(|at| items.binary_search(&columns.item(at)).is_ok()) {
            let (user, _) = key::read_parted(Table::Histories, &key)?;
            if users.last() != Some(&user) {
                users.push(user);
            }
        }
    }
    let mut removed = 0;
    for user in users {
        let mut history = of(write, user)?;
        let before = history.len();
        history.retain(|one| items.binary_search(&one.item).is_err());
        removed += (before - history.len()) as u64;
        replace(write, user, &history)?;
    }
    Ok(removed)
}

fn check(new: &[Interaction]) -> Result<()> {
    if new.iter().any(|one| !one.weight.is_finite()) {
        return Err(Error::Invalid("the weight of an interaction is not finite".to_owned()));
    }
    if new.iter().any(|one| one.kind.as_ref().is_some_and(|kind| kind.len() > u8::MAX.into())) {
        return Err(Error::Invalid(
            "the kind of an interaction is longer than 255 bytes".to_owned(),
        ));
    }
    Ok(())
}

fn store(write: &Write, user: UserNo, first_block: u32, history: &[Interaction]) -> Result<()> {
    let blocks = history.chunks(BLOCK_LIMIT).zip(first_block..);
    write.put_all(
        Table::Histories,
        blocks.map(|(block, at)| Ok((key::parted(user, at), encode(block)?))),
    )
}

fn encode(block: &[Interaction]) -> Result<Vec<u8>> {
    let mut kinds: Vec<&str> = Vec::new();
    let mut marks: Vec<u16> = Vec::with_capacity(block.len());
    for one in block {
        let mark = one.kind.as_deref().map_or(0, |kind| {
            let at = kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            at + 1
        });
        marks.push(mark as u16);
    }
    let wide = block.iter().any(|one| u32::try_from(one.item).is_err());
    let weights = block.iter().any(|one| one.weight != 1.0);
    let flags = if weights { WEIGHTS } else { 0 } | if wide { WIDE } else { 0 };
    let mut framed = frame::begin(Table::Histories, 8 + block.len() * 22);
    framed.extend_from_slice(&(block.len() as u16).to_le_bytes());
    framed.extend_from_slice(&(kinds.len() as u16).to_le_bytes());
    framed.push(flags);
    for kind in &kinds {
        framed.push(kind.len() as u8);
        framed.extend_from_slice(kind.as_bytes());
    }
    for one in block {
        let item = one.item.to_le_bytes();
        framed.extend_from_slice(if wide { &item } else { &item[..4] });
    }
    for one in block {
        framed.extend_from_slice(&one.time.to_le_bytes());
    }
    if !kinds.is_empty() {
        framed.extend(marks.iter().flat_map(|mark| mark.to_le_bytes()));
    }
    if weights {
        framed.extend(block.iter().flat_map(|one| one.weight.to_le_bytes()));
    }
    frame::seal(framed)
}

/// The columns of a stored block.
struct Columns<'b> {
    count: usize,
    wide: bool,
    kinds: Vec<&'b str>,
    items: &'b [u8],
    times: &'b [u8],
    marks: &'b [u8],
    weights: &'b [u8],
}

impl Columns<'_> {
    fn item(&self, at: usize) -> ItemNo {
        if self.wide { u64_at(self.items, at) } else { u64::from(u32_at(self.items, at)) }
    }

    fn time(&self, at: usize) -> i64 {
        u64_at(self.times, at) as i64
    }

    fn weight(&self, at: usize) -> f32 {
        if self.weights.is_empty() { 1.0 } else { f32::from_bits(u32_at(self.weights, at)) }
    }

    fn kind(&self, at: usize) -> Result<Option<&str>, Damage> {
        if self.marks.is_empty() {
            return Ok(None);
        }
        match usize::from(u16_at(self.marks, at)) {
            0 => Ok(None),
            mark => match self.kinds.get(mark - 1) {
                Some(kind) => Ok(Some(kind)),
                None => Err(format!("kind {mark} of {}", self.kinds.len())),
            },
        }
    }
}

fn columns<'b>(row_key: &[u8], framed: &'b [u8]) -> Result<Columns<'b>> {
    let payload = frame::open(Table::Histories, row_key, framed)?;
    parse(payload).map_err(|what| damage(row_key, what))
}

fn parse(payload: &[u8]) -> Result<Columns<'_>, Damage> {
    let mut reader = Reader::new(payload);
    let count = usize::from(reader.u16()?);
    let named = reader.u16()?;
    let flags = reader.u8()?;
    if count == 0 || count > BLOCK_LIMIT || flags & !(WEIGHTS | WIDE) != 0 {
        return Err(format!("{count} interactions with flags {flags}"));
    }
    let mut kinds = Vec::with_capacity(usize::from(named));
    for _ in 0..named {
        let length = reader.u8()?;
        let kind = reader.take(length.into())?;
        kinds.push(std::str::from_utf8(kind).map_err(|_| "a kind is not text")?);
    }
    let wide = flags & WIDE != 0;
    let columns = Columns {
        count,
        wide,
        items: reader.cells(count, if wide { 8 } else { 4 })?,
        times: reader.cells(count, 8)?,
        marks: reader.cells(if kinds.is_empty() { 0 } else { count }, 2)?,
        weights: reader.cells(if flags & WEIGHTS != 0 { count } else { 0 }, 4)?,
        kinds,
    };
    reader.end()?;
    Ok(columns)
}

/// Appends the interactions of a stored block, which must be in time order.
pub(crate) fn decode(row_key: &[u8], framed: &[u8], history: &mut Vec<Interaction>) -> Result<()> {
    let columns = columns(row_key, framed)?;
    history.reserve(columns.count);
    for at in 0..columns.count {
        let time = columns.time(at);
        let weight = columns.weight(at);
        if history.last().is_some_and(|last| last.time > time) {
            return Err(damage(row_key, "interactions out of time order"));
        }
        if !weight.is_finite() {
            return Err(damage(row_key, "a weight that is not finite"));
        }
        let kind = columns.kind(at).map_err(|what| damage(row_key, what))?.map(str::to_owned);
        history.push(Interaction { item: columns.item(at), time, kind, weight });
    }
    Ok(())
}

fn damage(row_key: &[u8], what: impl Into<String>) -> Error {
    Error::corrupt(Table::Histories.name(), row_key, what)
}
