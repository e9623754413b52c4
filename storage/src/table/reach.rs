//! Sets of SIDs that are more than one prefix, reached by skipping through the posting lists.
//!
//! A [`SidRange`] bounds the codes of each level. Lists lie in the order of the first codes, so those that no range
//! can want are stepped over by seeking (a *skip scan*): `*.b3` costs two seeks for each first code, whatever lies
//! between. Within a list the codes of the levels below are found by binary search as far as they are fixed.

use std::ops::Bound;

use super::posting::{HEAD, List};
use super::{Table, sids};
use crate::codec::key::{self, Key};
use crate::error::Result;
use crate::record::{GenerationNo, ItemNo, Sid};
use crate::view::{Bytes, Rows, Stream, View};

/// SIDs whose codes lie, level by level, between two bounds, both included; the levels below are any.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SidRange {
    /// The least and the greatest code of each level, from the root.
    pub levels: Vec<(u16, u16)>,
}

impl SidRange {
    /// What lies under a prefix.
    pub fn under(prefix: &[u16]) -> Self {
        SidRange { levels: prefix.iter().map(|code| (*code, *code)).collect() }
    }

    /// Whether a SID begins so.
    pub fn holds(&self, codes: &[u16]) -> bool {
        codes.len() >= self.levels.len() && self.admits(codes)
    }

    /// Whether the codes that are there lie within the bounds, so that something below them may.
    pub fn admits(&self, codes: &[u16]) -> bool {
        self.levels.iter().zip(codes).all(|((from, to), code)| from <= code && code <= to)
    }

    /// The codes of the leading levels that are one code.
    pub fn fixed(&self) -> Vec<u16> {
        let fixed = self.levels.iter().take_while(|(from, to)| from == to);
        fixed.map(|(code, _)| *code).collect()
    }

    /// Whether every level is one code.
    pub fn is_prefix(&self) -> bool {
        self.levels.iter().all(|(from, to)| from == to)
    }

    /// What lies in both; nothing where they have nothing in common.
    pub fn and(&self, other: &SidRange) -> Option<SidRange> {
        let (long, short) =
            if self.levels.len() < other.levels.len() { (other, self) } else { (self, other) };
        let mut levels = long.levels.clone();
        for ((from, to), (least, most)) in levels.iter_mut().zip(&short.levels) {
            (*from, *to) = ((*from).max(*least), (*to).min(*most));
            if from > to {
                return None;
            }
        }
        Some(SidRange { levels })
    }

    /// The bounds of a level.
    fn level(&self, level: usize) -> (u16, u16) {
        self.levels.get(level).copied().unwrap_or((0, u16::MAX))
    }

    /// The first head, at or behind this one, of a list that may hold something of the range.
    fn seek(&self, (first, second): Head) -> Option<Head> {
        let ((least, most), (from, to)) = (self.level(0), self.level(1));
        if first < least {
            return Some((least, from));
        }
        if first > most {
            return None;
        }
        if second <= to {
            return Some((first, second.max(from)));
        }
        let next = first.checked_add(1).filter(|next| *next <= most);
        next.map(|next| (next, from))
    }
}

/// The first two codes of a list.
type Head = (u16, u16);

/// The items whose SIDs lie in any of these ranges, each once, in the order of SID and item.
pub fn items_within(
    view: &dyn View,
    generation: GenerationNo,
    ranges: Vec<SidRange>,
) -> Result<Stream<'_, (Sid, ItemNo)>> {
    if let [range] = ranges.as_slice()
        && range.is_prefix()
    {
        return sids::items_under(view, generation, &range.fixed());
    }
    let lists = Lists::new(view, generation, ranges);
    Ok(Box::new(lists.flat_map(|found| match found.and_then(|found| found.entries()) {
        Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    })))
}

/// The first `levels` codes of the SIDs in these ranges with how many items have them, in the order of the codes. Only
/// the sizes of lists are read where the groups are no finer than the lists.
pub fn tally_within(
    view: &dyn View,
    generation: GenerationNo,
    ranges: Vec<SidRange>,
    levels: usize,
) -> Result<Vec<(Vec<u16>, u64)>> {
    let mut groups: Vec<(Vec<u16>, u64)> = Vec::new();
    let mut add = |codes: &[u16], count: u64| match groups.last_mut() {
        Some((last, total)) if last == codes => *total += count,
        _ => groups.push((codes.to_vec(), count)),
    };
    for found in Lists::new(view, generation, ranges) {
        let found = found?;
        let list = List::open(&found.row_key, &found.value)?;
        if found.is_whole() && levels <= HEAD {
            add(&found.head[..levels.min(found.head.len())], list.count() as u64);
            continue;
        }
        for at in found.places(&list) {
            let sid = list.sid(at)?;
            add(&sid.codes()[..levels.min(sid.levels())], 1);
        }
    }
    groups.retain(|(_, count)| *count > 0);
    Ok(groups)
}

/// A list that may hold SIDs of some ranges.
struct Found {
    row_key: Bytes,
    value: Bytes,
    head: Vec<u16>,
    /// The bounds of the levels below the head, of each range that admits the head.
    wanted: Vec<Vec<(u16, u16)>>,
}

impl Found {
    /// Whether every entry is wanted.
    fn is_whole(&self) -> bool {
        self.wanted.iter().any(Vec::is_empty)
    }

    /// The places of the entries that are wanted.
    fn places(&self, list: &List<'_>) -> Vec<usize> {
        let whole = 0..list.count();
        match self.wanted.as_slice() {
            _ if self.is_whole() => whole.collect(),
            [one] => {
                let fixed = one.iter().take_while(|(from, to)| from == to).map(|(code, _)| *code);
                let prefix: Vec<u16> = self.head.iter().copied().chain(fixed).collect();
                list.under(&prefix).filter(|at| list.within(*at, one)).collect()
            }
            several => {
                let wanted = |at: &usize| several.iter().any(|one| list.within(*at, one));
                whole.filter(wanted).collect()
            }
        }
    }

    fn entries(&self) -> Result<Vec<(Sid, ItemNo)>> {
        let list = List::open(&self.row_key, &self.value)?;
        self.places(&list).into_iter().map(|at| Ok((list.sid(at)?, list.item(at)))).collect()
    }
}

/// The lists that may hold SIDs of some ranges, in order.
struct Lists<'v> {
    view: &'v dyn View,
    generation: GenerationNo,
    ranges: Vec<SidRange>,
    rows: Option<Rows<'v>>,
    done: bool,
}

impl<'v> Lists<'v> {
    fn new(view: &'v dyn View, generation: GenerationNo, ranges: Vec<SidRange>) -> Self {
        Lists { view, generation, ranges, rows: None, done: false }
    }

    /// Goes on with the first list at or behind this head that a range wants; `behind` is the first code of the list
    /// that was looked at last.
    fn seek(&mut self, head: Head, behind: Option<u16>) -> Result<()> {
        let Some((first, second)) = self.ranges.iter().filter_map(|range| range.seek(head)).min()
        else {
            self.done = true;
            return Ok(());
        };
        // The list of SIDs of one level lies before those of more.
        let short = second == 0 && behind != Some(first);
        let head = [first, second];
        let from: Key = key::codes(self.generation, if short { &head[..1] } else { &head });
        let after = key::after(&self.generation.to_be_bytes());
        let to = key::upper(after.as_ref());
        self.rows = Some(self.view.scan(Table::Postings, Bound::Included(&from), to)?);
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Found>> {
        if self.rows.is_none() && !self.done {
            self.seek((0, 0), None)?;
        }
        while let Some(row) = self.rows.as_mut().filter(|_| !self.done).and_then(Iterator::next) {
            let (row_key, value) = row?;
            let (_, mut head) = key::read_codes(Table::Postings, &row_key)?;
            head.truncate(HEAD);
            let admitted = self.ranges.iter().filter(|range| {
                // A SID of one level has no second one that could lie within bounds.
                range.admits(&head) && (head.len() == HEAD || range.levels.len() <= head.len())
            });
            let below = |range: &SidRange| range.levels.get(HEAD..).unwrap_or_default().to_vec();
            let wanted: Vec<_> = admitted.map(below).collect();
            if !wanted.is_empty() {
                return Ok(Some(Found { row_key, value, head, wanted }));
            }
            let first = head.first().copied().unwrap_or_default();
            self.seek((first, head.get(1).copied().unwrap_or_default()), Some(first))?;
        }
        Ok(None)
    }
}

impl Iterator for Lists<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.step().transpose();
        self.done |= matches!(found, None | Some(Err(_)));
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::record::{Codebook, Generation};
    use crate::store::Store;
    use crate::table::{codebooks, generations};

    /// SIDs of one to four levels over few codes, so that lists are shared, split, and skipped.
    fn sids_of() -> impl Strategy<Value = Vec<Vec<u16>>> {
        prop::collection::vec(prop::collection::vec(0..4_u16, 1..5), 0..60)
    }

    fn ranges() -> impl Strategy<Value = Vec<SidRange>> {
        let bound = prop_oneof![
            (0..4_u16).prop_map(|code| (code, code)),
            (0..4_u16, 0..4_u16).prop_map(|(a, b)| (a.min(b), a.max(b))),
            Just((0, u16::MAX)),
        ];
        let range = prop::collection::vec(bound, 0..5).prop_map(|levels| SidRange { levels });
        prop::collection::vec(range, 0..4)
    }

    fn filled(sids: &[Vec<u16>], copies: u64) -> (Store, GenerationNo) {
        let store = Store::in_memory().unwrap();
        let write = store.write().unwrap();
        codebooks::create(&write, &Codebook { name: "c".into(), ..Codebook::default() }).unwrap();
        let generation = Generation { codebook: "c".into(), levels: 4, ..Generation::default() };
        let number = generations::begin(&write, &generation).unwrap().number;
        let rows = sids.iter().zip(0..).flat_map(|(sid, at)| {
            (0..copies).map(move |copy| (at * copies + copy, Sid::new(sid).unwrap()))
        });
        sids::load_many(&write, number, rows).unwrap();
        write.commit().unwrap();
        (store, number)
    }

    proptest! {
        #[test]
        fn what_is_reached_is_what_a_scan_finds(sids in sids_of(), ranges in ranges(), levels in 0..5_usize) {
            let (store, generation) = filled(&sids, 1);
            let read = store.read().unwrap();
            let wanted = |sid: &Sid| ranges.iter().any(|range| range.holds(sid.codes()));
            let all = sids::scan(&read, generation).unwrap().map(Result::unwrap);
            let expected: Vec<_> = all.filter(|(sid, _)| wanted(sid)).collect();
            let found = items_within(&read, generation, ranges.clone()).unwrap();
            let found: Vec<_> = found.map(Result::unwrap).collect();
            prop_assert_eq!(&found, &expected);

            let mut groups: Vec<(Vec<u16>, u64)> = Vec::new();
            for (sid, _) in &expected {
                let codes = &sid.codes()[..levels.min(sid.levels())];
                match groups.last_mut() {
                    Some((last, count)) if last == codes => *count += 1,
                    _ => groups.push((codes.to_vec(), 1)),
                }
            }
            prop_assert_eq!(tally_within(&read, generation, ranges, levels).unwrap(), groups);
        }
    }

    #[test]
    fn lists_that_are_split_are_reached_whole() {
        let (store, generation) = filled(&[vec![0, 1, 2], vec![0, 1, 3], vec![1, 1, 2]], 1500);
        let read = store.read().unwrap();
        let range = |levels: &[(u16, u16)]| vec![SidRange { levels: levels.to_vec() }];
        let any = (0, u16::MAX);
        let count = |ranges| items_within(&read, generation, ranges).unwrap().count();
        assert_eq!(count(range(&[any, (1, 1), (2, 2)])), 3000);
        assert_eq!(count(range(&[any, any, (3, 9)])), 1500);
        assert_eq!(count(Vec::new()), 0);
        let tally = tally_within(&read, generation, range(&[any, (1, 1)]), 1).unwrap();
        assert_eq!(tally, [(vec![0], 3000), (vec![1], 1500)]);
    }

    #[test]
    fn what_two_ranges_share() {
        let range = |levels: &[(u16, u16)]| SidRange { levels: levels.to_vec() };
        assert_eq!(range(&[(0, 5)]).and(&range(&[(3, 9), (1, 1)])), Some(range(&[(3, 5), (1, 1)])));
        assert_eq!(range(&[(0, 2)]).and(&range(&[(3, 9)])), None);
    }
}
