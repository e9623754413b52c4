//! Posting lists: the items under the first codes of their SIDs, packed and sorted by SID and item.
//!
//! All SIDs that share their first `HEAD` codes stand in one list. A list that passes `LIST_LIMIT` is
//! split: the first part keeps the key and says that more follow, each other part has the place of its
//! first entry for a key. The first part stays, even if empty, for as long as it says so.

use std::cmp::Ordering;
use std::ops::Range;

use super::Table;
use crate::codec::pack::{Damage, Reader, u16_at, u32_at, u64_at};
use crate::codec::{frame, key};
use crate::error::{Error, Result};
use crate::record::{ItemNo, Sid};

/// The number of leading codes that stand in the key of a list.
pub(crate) const HEAD: usize = 2;
/// The most entries of one list.
pub(crate) const LIST_LIMIT: usize = 1024;

/// The SIDs differ in length, so there is a column of lengths.
const VARYING: u8 = 1;
/// An item number above 32 bits occurs, so the column of items is twice as wide.
const WIDE: u8 = 2;
/// Other lists with the same first codes may follow.
const MORE: u8 = 4;

/// A stored list.
pub(crate) struct List<'b> {
    head: Key,
    count: usize,
    width: usize,
    flags: u8,
    lengths: &'b [u8],
    suffixes: &'b [u8],
    items: &'b [u8],
}

type Key = smallvec::SmallVec<[u16; HEAD]>;

impl<'b> List<'b> {
    /// The list of a row.
    pub(crate) fn open(row_key: &[u8], framed: &'b [u8]) -> Result<Self> {
        let (_, mut codes) = key::read_codes(Table::Postings, row_key)?;
        codes.truncate(HEAD);
        let payload = frame::open(Table::Postings, row_key, framed)?;
        Self::parse(&codes, payload)
            .map_err(|what| Error::corrupt(Table::Postings.name(), row_key, what))
    }

    fn parse(head: &[u16], payload: &'b [u8]) -> Result<Self, Damage> {
        let mut reader = Reader::new(payload);
        let count = reader.u32()? as usize;
        let width = usize::from(reader.u8()?);
        let flags = reader.u8()?;
        if count > LIST_LIMIT || flags & !(VARYING | WIDE | MORE) != 0 {
            return Err(format!("{count} entries with flags {flags}"));
        }
        if width + head.len() > crate::record::MAX_LEVELS || (width > 0 && head.len() < HEAD) {
            return Err(format!("{width} codes after the first {}", head.len()));
        }
        let lengths = reader.cells(if flags & VARYING != 0 { count } else { 0 }, 1)?;
        if lengths.iter().any(|length| usize::from(*length) > width) {
            return Err("a sid longer than its list".to_owned());
        }
        let suffixes = reader.cells(count, 2 * width)?;
        let items = reader.cells(count, if flags & WIDE != 0 { 8 } else { 4 })?;
        reader.end()?;
        let head = Key::from_slice(head);
        Ok(List { head, count, width, flags, lengths, suffixes, items })
    }

    /// The number of entries.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether other lists with the same first codes may follow.
    pub(crate) fn more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// The item of an entry.
    pub(crate) fn item(&self, at: usize) -> ItemNo {
        if self.flags & WIDE != 0 {
            u64_at(self.items, at)
        } else {
            u64::from(u32_at(self.items, at))
        }
    }

    fn length(&self, at: usize) -> usize {
        self.lengths.get(at).map_or(self.width, |length| usize::from(*length))
    }

    fn code(&self, at: usize, level: usize) -> u16 {
        u16_at(self.suffixes, at * self.width + level)
    }

    /// The SID of an entry.
    pub(crate) fn sid(&self, at: usize) -> Result<Sid> {
        let mut codes = smallvec::SmallVec::<[u16; 16]>::from_slice(&self.head);
        codes.extend((0..self.length(at)).map(|level| self.code(at, level)));
        Sid::new(&codes)
    }

    /// All entries.
    pub(crate) fn entries(&self) -> Result<Vec<(Sid, ItemNo)>> {
        self.range_entries(0..self.count)
    }

    /// The entries of a range.
    pub(crate) fn range_entries(&self, range: Range<usize>) -> Result<Vec<(Sid, ItemNo)>> {
        range.map(|at| Ok((self.sid(at)?, self.item(at)))).collect()
    }

    /// Appends all entries to two columns; false, and nothing appended, where a SID has not so many levels.
    pub(crate) fn append_to(
        &self,
        levels: usize,
        items: &mut Vec<ItemNo>,
        codes: &mut Vec<u16>,
    ) -> bool {
        let fits = self.head.len() + self.width == levels;
        if self.count > 0 && (!fits || !self.lengths.is_empty()) {
            return false;
        }
        for at in 0..self.count {
            codes.extend_from_slice(&self.head);
            codes.extend((0..self.width).map(|level| self.code(at, level)));
            items.push(self.item(at));
        }
        true
    }

    /// The entries whose SIDs begin with these codes.
    pub(crate) fn under(&self, prefix: &[u16]) -> Range<usize> {
        let rest = prefix.get(HEAD..).unwrap_or_default();
        if rest.is_empty() {
            return 0..self.count;
        }
        let start = self.first_not(|at| self.against(at, rest) == Ordering::Less);
        let end = self.first_not(|at| self.against(at, rest) != Ordering::Greater);
        start..end
    }

    /// The entries whose SIDs are these codes and no more.
    pub(crate) fn exactly(&self, codes: &[u16]) -> Range<usize> {
        let under = self.under(codes);
        let rest = codes.len().saturating_sub(HEAD);
        let same = under.clone().take_while(|at| self.length(*at) == rest).count();
        under.start..under.start + same
    }

    /// How the codes after the head compare with these, `Equal` if they begin with them.
    fn against(&self, at: usize, rest: &[u16]) -> Ordering {
        let length = self.length(at);
        for (level, code) in rest.iter().enumerate() {
            if level >= length {
                return Ordering::Less;
            }
            match self.code(at, level).cmp(code) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        Ordering::Equal
    }

    /// Whether the codes behind the head lie, level by level, between these bounds.
    pub(crate) fn within(&self, at: usize, bounds: &[(u16, u16)]) -> bool {
        let within = |(level, (from, to)): (usize, &(u16, u16))| {
            (*from..=*to).contains(&self.code(at, level))
        };
        self.length(at) >= bounds.len() && bounds.iter().enumerate().all(within)
    }

    fn first_not(&self, holds: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if holds(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A framed list of entries that share their first codes.
pub(crate) fn encode(entries: &[(Sid, ItemNo)], more: bool) -> Result<Vec<u8>> {
    let suffix = |sid: &'_ Sid| sid.levels().saturating_sub(HEAD);
    let width = entries.iter().map(|(sid, _)| suffix(sid)).max().unwrap_or(0);
    let varying = entries.iter().any(|(sid, _)| suffix(sid) != width);
    let wide = entries.iter().any(|(_, item)| u32::try_from(*item).is_err());
    let flags = if varying { VARYING } else { 0 }
        | if wide { WIDE } else { 0 }
        | if more { MORE } else { 0 };
    let mut framed = frame::begin(Table::Postings, 6 + entries.len() * (9 + 2 * width));
    framed.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    framed.push(width as u8);
    framed.push(flags);
    if varying {
        framed.extend(entries.iter().map(|(sid, _)| suffix(sid) as u8));
    }
    for (sid, _) in entries {
        let codes = sid.codes().get(HEAD..).unwrap_or_default();
        framed.extend(codes.iter().flat_map(|code| code.to_le_bytes()));
        framed.extend(std::iter::repeat_n(0, 2 * (width - codes.len())));
    }
    for (_, item) in entries {
        let item = item.to_le_bytes();
        framed.extend_from_slice(if wide { &item } else { &item[..4] });
    }
    frame::seal(framed)
}
