//! SIDs of a generation in both directions: item to SID in blocks, SID to items in posting lists.

use std::ops::{Bound, Range};

use super::posting::{self, HEAD, LIST_LIMIT, List};
use super::{Table, generations, rows};
use crate::codec::pack::{Damage, Reader, u16_at};
use crate::codec::{frame, key};
use crate::error::{Error, Result};
use crate::record::{GenerationNo, ItemNo, MAX_LEVELS, Sid};
use crate::txn::Write;
use crate::view::{Rows, Stream, View};

/// The items in one block: with four levels a full block is just under 8 KiB.
const SLOTS: u64 = 960;
/// Shows a slot without a SID in the column of lengths.
const NONE: u8 = 0;

/// The SID of an item.
pub fn get(view: &dyn View, generation: GenerationNo, item: ItemNo) -> Result<Option<Sid>> {
    let row_key = key::pair(generation, item / SLOTS);
    let Some(value) = view.get(Table::Sids, &row_key)? else { return Ok(None) };
    open(&row_key, &value)?.sid((item % SLOTS) as usize)
}

/// The items whose SIDs begin with these codes (none: all items), in the order of SID and item.
pub fn items_under<'v>(
    view: &'v dyn View,
    generation: GenerationNo,
    prefix: &[u16],
) -> Result<Stream<'v, (Sid, ItemNo)>> {
    let rows = lists(view, generation, prefix)?;
    let prefix = prefix.to_vec();
    Ok(Box::new(rows.flat_map(move |row| {
        let entries = row.and_then(|(key, value)| {
            let list = List::open(&key, &value)?;
            list.range_entries(list.under(&prefix))
        });
        match entries {
            Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    })))
}

/// As `items_under`, but appends the bare item numbers to `items`: the fastest way.
pub fn collect_under(
    view: &dyn View,
    generation: GenerationNo,
    prefix: &[u16],
    items: &mut Vec<ItemNo>,
) -> Result<()> {
    visit(view, generation, prefix, |list| {
        items.extend(list.under(prefix).map(|at| list.item(at)));
    })
}

/// The number of items whose SIDs begin with these codes.
pub fn count_under(view: &dyn View, generation: GenerationNo, prefix: &[u16]) -> Result<u64> {
    if prefix.is_empty() {
        return Ok(generations::must(view, generation)?.items);
    }
    let mut count = 0;
    visit(view, generation, prefix, |list| count += list.under(prefix).len() as u64)?;
    Ok(count)
}

/// The items that have exactly this SID, in ascending order.
pub fn bucket(view: &dyn View, generation: GenerationNo, sid: &Sid) -> Result<Vec<ItemNo>> {
    let mut items = Vec::new();
    if sid.levels() < HEAD {
        let row_key = key::list(generation, sid.codes(), HEAD);
        for row in rows::under(view, Table::Postings, &row_key)? {
            let (row_key, value) = row?;
            let list = List::open(&row_key, &value)?;
            items.extend((0..list.count()).map(|at| list.item(at)));
        }
        return Ok(items);
    }
    visit(view, generation, sid.codes(), |list| {
        items.extend(list.exactly(sid.codes()).map(|at| list.item(at)));
    })?;
    Ok(items)
}

/// All items of a generation that have a SID, in the order of SID and item.
pub fn scan(view: &dyn View, generation: GenerationNo) -> Result<Stream<'_, (Sid, ItemNo)>> {
    items_under(view, generation, &[])
}

/// All SIDs of a generation in the order of the items.
pub fn by_item(view: &dyn View, generation: GenerationNo) -> Result<Stream<'_, (ItemNo, Sid)>> {
    let rows = rows::under(view, Table::Sids, &generation.to_be_bytes())?;
    Ok(Box::new(rows.flat_map(|row| {
        let entries = row.and_then(|(key, value)| decode(&key, &value));
        match entries {
            Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    })))
}

/// The SIDs of a generation as two columns, in the order of SID and item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The item of each row.
    pub items: Vec<ItemNo>,
    /// The codes of each row, row-major.
    pub codes: Vec<u16>,
}

/// All SIDs of a generation whose SIDs have so many levels, as columns: much faster than row by row.
///
/// # Errors
/// A SID has another number of levels.
pub fn columns(view: &dyn View, generation: GenerationNo, levels: usize) -> Result<Columns> {
    let expected = generations::must(view, generation)?.items as usize;
    let mut columns = Columns {
        items: Vec::with_capacity(expected),
        codes: Vec::with_capacity(expected * levels),
    };
    for row in lists(view, generation, &[])? {
        let (row_key, value) = row?;
        let list = List::open(&row_key, &value)?;
        if !list.append_to(levels, &mut columns.items, &mut columns.codes) {
            let what = format!("a sid that has not {levels} levels");
            return Err(Error::corrupt(Table::Postings.name(), &row_key, what));
        }
    }
    Ok(columns)
}

/// Gives an item its SID, in place of the one it had.
pub fn insert(write: &Write, generation: GenerationNo, item: ItemNo, sid: &Sid) -> Result<()> {
    generations::must(write, generation)?;
    let mut block = Block::load(write, generation, item)?;
    let slot = (item % SLOTS) as usize;
    let old = block.set(slot, Some(sid.clone()));
    if old.as_ref() == Some(sid) {
        return Ok(());
    }
    block.store(write)?;
    if let Some(old) = &old {
        edit(write, generation, old, item, false)?;
    }
    edit(write, generation, sid, item, true)?;
    write.touch(generation, i64::from(old.is_none()));
    Ok(())
}

/// Takes the SID of an item away; tells which it was.
pub fn remove(write: &Write, generation: GenerationNo, item: ItemNo) -> Result<Option<Sid>> {
    let mut block = Block::load(write, generation, item)?;
    let Some(old) = block.set((item % SLOTS) as usize, None) else { return Ok(None) };
    block.store(write)?;
    edit(write, generation, &old, item, false)?;
    write.touch(generation, -1);
    Ok(Some(old))
}

/// Gives a generation all its SIDs at once, in place of those it had.
pub fn load_many(
    write: &Write,
    generation: GenerationNo,
    sids: impl IntoIterator<Item = (ItemNo, Sid)>,
) -> Result<()> {
    let mut entries: Vec<(Sid, ItemNo)> = sids.into_iter().map(|(item, sid)| (sid, item)).collect();
    entries.sort_unstable_by_key(|(_, item)| *item);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].1 == pair[1].1) {
        return Err(Error::Invalid(format!("item number {} has two sids", pair[0].1)));
    }
    clear(write, generation)?;
    let blocks = entries.chunk_by(|a, b| a.1 / SLOTS == b.1 / SLOTS).map(|run| {
        let at = run[0].1 / SLOTS;
        let mut block = Block { row_key: key::pair(generation, at), slots: Vec::new() };
        for (sid, item) in run {
            block.set((item % SLOTS) as usize, Some(sid.clone()));
        }
        Ok((block.row_key, block.encode()?))
    });
    write.put_all(Table::Sids, blocks)?;
    entries.sort_unstable();
    let same_list = |a: &(Sid, ItemNo), b: &(Sid, ItemNo)| head(&a.0) == head(&b.0);
    let lists = entries.chunk_by(same_list).flat_map(|run| {
        run.chunks(LIST_LIMIT).enumerate().map(move |(part, entries)| {
            let (sid, item) = &entries[0];
            let row_key = match part {
                0 => key::list(generation, sid.codes(), HEAD),
                _ => key::posting(generation, sid.codes(), *item),
            };
            Ok((row_key, posting::encode(entries, part == 0 && run.len() > LIST_LIMIT)?))
        })
    });
    write.put_all(Table::Postings, lists)?;
    write.touch(generation, entries.len() as i64);
    Ok(())
}

/// Takes all SIDs of a generation away.
pub(crate) fn clear(write: &Write, generation: GenerationNo) -> Result<()> {
    let items = generations::must(write, generation)?.items;
    write.remove_prefix(Table::Sids, &generation.to_be_bytes())?;
    write.remove_prefix(Table::Postings, &generation.to_be_bytes())?;
    write.touch(generation, -(items as i64));
    Ok(())
}

/// What tells the list of a SID from others: its first codes, and whether there are enough of them.
fn head(sid: &Sid) -> &[u16] {
    &sid.codes()[..sid.levels().min(HEAD)]
}

/// The rows of the lists that hold the SIDs beginning with these codes, and perhaps others.
fn lists<'v>(view: &'v dyn View, generation: GenerationNo, prefix: &[u16]) -> Result<Rows<'v>> {
    let start = key::codes(generation, prefix);
    if prefix.len() <= HEAD {
        return rows::under(view, Table::Postings, &start);
    }
    let first = key::list(generation, prefix, HEAD);
    let from = match view.floor(Table::Postings, &start)? {
        Some((row_key, _)) if row_key.starts_with(&first) => row_key.to_vec(),
        _ => first.to_vec(),
    };
    let after = key::after(&start);
    view.scan(Table::Postings, Bound::Included(&from), key::upper(after.as_ref()))
}

/// Calls `look` with each list that may hold SIDs beginning with these codes.
fn visit(
    view: &dyn View,
    generation: GenerationNo,
    prefix: &[u16],
    mut look: impl FnMut(&List<'_>),
) -> Result<()> {
    if prefix.len() >= HEAD {
        let row_key = key::list(generation, prefix, HEAD);
        let Some(value) = view.get(Table::Postings, &row_key)? else { return Ok(()) };
        let list = List::open(&row_key, &value)?;
        if !list.more() {
            look(&list);
            return Ok(());
        }
    }
    for row in lists(view, generation, prefix)? {
        let (row_key, value) = row?;
        look(&List::open(&row_key, &value)?);
    }
    Ok(())
}

/// Puts an item into the list of its SID, or takes it out.
fn edit(
    write: &Write,
    generation: GenerationNo,
    sid: &Sid,
    item: ItemNo,
    present: bool,
) -> Result<()> {
    let first = key::list(generation, sid.codes(), HEAD);
    let mut row_key = first.clone();
    let mut entries = Vec::new();
    let mut more = false;
    if let Some(value) = write.get(Table::Postings, &first)? {
        let list = List::open(&first, &value)?;
        more = list.more();
        entries = list.entries()?;
    }
    if more {
        let place = key::posting(generation, sid.codes(), item);
        if let Some((found, value)) = write.floor(Table::Postings, &place)?
            && found.starts_with(&first)
            && *found != *first
        {
            entries = List::open(&found, &value)?.entries()?;
            row_key = key::Key::from_slice(&found);
            more = false;
        }
    }
    let is_at = entries.binary_search_by(|(other, no)| (other, no).cmp(&(sid, &item)));
    match (is_at, present) {
        (Err(at), true) => entries.insert(at, (sid.clone(), item)),
        (Ok(at), false) => {
            entries.remove(at);
        }
        _ => return Ok(()),
    }
    if entries.is_empty() && !more {
        return write.remove(Table::Postings, &row_key).map(|_| ());
    }
    if entries.len() > LIST_LIMIT {
        let right = entries.split_off(entries.len() / 2);
        let (sid, item) = &right[0];
        let place = key::posting(generation, sid.codes(), *item);
        write.put(Table::Postings, &place, &posting::encode(&right, false)?)?;
        more |= row_key == first;
    }
    write.put(Table::Postings, &row_key, &posting::encode(&entries, more)?)
}

/// A stored block: one length for each slot, then the codes of all slots at the width of the longest.
struct Slots<'b> {
    width: usize,
    lengths: &'b [u8],
    codes: &'b [u8],
}

impl Slots<'_> {
    fn sid(&self, slot: usize) -> Result<Option<Sid>> {
        let length = match self.lengths.get(slot) {
            None | Some(&NONE) => return Ok(None),
            Some(length) => usize::from(*length),
        };
        let mut codes = smallvec::SmallVec::<[u16; 8]>::new();
        codes.extend((0..length).map(|level| u16_at(self.codes, slot * self.width + level)));
        Sid::new(&codes).map(Some)
    }
}

fn open<'b>(row_key: &[u8], framed: &'b [u8]) -> Result<Slots<'b>> {
    let payload = frame::open(Table::Sids, row_key, framed)?;
    parse(payload).map_err(|what| Error::corrupt(Table::Sids.name(), row_key, what))
}

fn parse(payload: &[u8]) -> Result<Slots<'_>, Damage> {
    let mut reader = Reader::new(payload);
    let used = usize::from(reader.u16()?);
    let width = usize::from(reader.u8()?);
    if used == 0 || used as u64 > SLOTS || width == 0 || width > MAX_LEVELS {
        return Err(format!("{used} slots of {width} codes"));
    }
    let lengths = reader.cells(used, 1)?;
    let codes = reader.cells(used, 2 * width)?;
    reader.end()?;
    if lengths.iter().any(|length| usize::from(*length) > width) {
        return Err("a sid longer than its block".to_owned());
    }
    Ok(Slots { width, lengths, codes })
}

/// The items of a stored row with their SIDs.
pub(crate) fn decode(row_key: &[u8], framed: &[u8]) -> Result<Vec<(ItemNo, Sid)>> {
    let (_, block) = key::read_pair(Table::Sids, row_key)?;
    let slots = open(row_key, framed)?;
    let first = block.checked_mul(SLOTS).ok_or_else(|| {
        Error::corrupt(Table::Sids.name(), row_key, "the block number is too large")
    })?;
    let used: Range<usize> = 0..slots.lengths.len();
    used.filter_map(|slot| match slots.sid(slot) {
        Ok(Some(sid)) => Some(Ok((first + slot as u64, sid))),
        Ok(None) => None,
        Err(error) => Some(Err(error)),
    })
    .collect()
}

/// A block that is being changed.
struct Block {
    row_key: [u8; 12],
    slots: Vec<Option<Sid>>,
}

impl Block {
    fn load(write: &Write, generation: GenerationNo, item: ItemNo) -> Result<Self> {
        let row_key = key::pair(generation, item / SLOTS);
        let mut slots = Vec::new();
        if let Some(value) = write.get(Table::Sids, &row_key)? {
            let stored = open(&row_key, &value)?;
            for slot in 0..stored.lengths.len() {
                slots.push(stored.sid(slot)?);
            }
        }
        Ok(Block { row_key, slots })
    }

    /// Sets a slot and gives what was there.
    fn set(&mut self, slot: usize, sid: Option<Sid>) -> Option<Sid> {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        std::mem::replace(&mut self.slots[slot], sid)
    }

    fn store(mut self, write: &Write) -> Result<()> {
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.slots.truncate(used);
        if used == 0 {
            return write.remove(Table::Sids, &self.row_key).map(|_| ());
        }
        write.put(Table::Sids, &self.row_key, &self.encode()?)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let lengths = self.slots.iter().map(|sid| sid.as_ref().map_or(0, Sid::levels));
        let width = lengths.clone().max().unwrap_or(0);
        let mut framed = frame::begin(Table::Sids, 3 + self.slots.len() * (1 + 2 * width));
        framed.extend_from_slice(&(self.slots.len() as u16).to_le_bytes());
        framed.push(width as u8);
        framed.extend(lengths.map(|length| length as u8));
        for sid in &self.slots {
            let codes = sid.as_ref().map_or(&[][..], Sid::codes);
            framed.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
            framed.extend(std::iter::repeat_n(0, 2 * (width - codes.len())));
        }
        frame::seal(framed)
    }
}
