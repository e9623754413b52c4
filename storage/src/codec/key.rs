//! Order-preserving keys: fixed-width numbers, most significant byte first.

use std::ops::Bound;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::record::{GenerationNo, ItemNo};
use crate::table::Table;

/// A key on its way to the file; short ones need no allocation.
pub(crate) type Key = SmallVec<[u8; 32]>;

/// Stands before each code of a SID in a key, so that a longer SID sorts after its prefix.
const MORE: u8 = 1;
/// Stands after the last code of a SID in a key.
const END: u8 = 0;

/// A number as a key.
pub(crate) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Reads a key that is one number.
pub(crate) fn read_number(table: Table, key: &[u8]) -> Result<u64> {
    let bytes =
        key.try_into().map_err(|_| Error::corrupt(table.name(), key, "not a number key"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Two numbers as a key: of 4 and 8 bytes.
pub(crate) fn pair(first: u32, second: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&first.to_be_bytes());
    key[4..].copy_from_slice(&second.to_be_bytes());
    key
}

/// Reads a key made by `pair`.
pub(crate) fn read_pair(table: Table, key: &[u8]) -> Result<(u32, u64)> {
    let bad = || Error::corrupt(table.name(), key, "not a key of two numbers");
    let (first, second) = key.split_at_checked(4).ok_or_else(bad)?;
    let first = first.try_into().map_err(|_| bad())?;
    let second = second.try_into().map_err(|_| bad())?;
    Ok((u32::from_be_bytes(first), u64::from_be_bytes(second)))
}

/// Two numbers as a key: of 8 and 4 bytes.
pub(crate) fn parted(number: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Reads a key made by `parted`.
pub(crate) fn read_parted(table: Table, key: &[u8]) -> Result<(u64, u32)> {
    let bad = || Error::corrupt(table.name(), key, "not a key of a number and a part");
    let (number, part) = key.split_at_checked(8).ok_or_else(bad)?;
    let number = number.try_into().map_err(|_| bad())?;
    let part = part.try_into().map_err(|_| bad())?;
    Ok((u64::from_be_bytes(number), u32::from_be_bytes(part)))
}

/// A kind and a number as a key: of 1 and 8 bytes.
pub(crate) fn tagged(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Reads a key made by `tagged`.
pub(crate) fn read_tagged(table: Table, key: &[u8]) -> Result<(u8, u64)> {
    let bad = || Error::corrupt(table.name(), key, "not a key of a kind and a number");
    let (kind, number) = key.split_first().ok_or_else(bad)?;
    let number = number.try_into().map_err(|_| bad())?;
    Ok((*kind, u64::from_be_bytes(number)))
}

/// Two numbers as a key: of 8 bytes each.
pub(crate) fn wide(first: u64, second: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// Reads a key made by `wide`.
pub(crate) fn read_wide(table: Table, key: &[u8]) -> Result<(u64, u64)> {
    let bad = || Error::corrupt(table.name(), key, "not a key of two wide numbers");
    let (first, second) = key.split_at_checked(8).ok_or_else(bad)?;
    let first = first.try_into().map_err(|_| bad())?;
    let second = second.try_into().map_err(|_| bad())?;
    Ok((u64::from_be_bytes(first), u64::from_be_bytes(second)))
}

/// The start of all posting keys whose SIDs begin with these codes.
pub(crate) fn codes(generation: GenerationNo, codes: &[u16]) -> Key {
    let mut key = Key::new();
    key.extend_from_slice(&generation.to_be_bytes());
    for code in codes {
        key.push(MORE);
        key.extend_from_slice(&code.to_be_bytes());
    }
    key
}

/// The place of one item in the order of a generation's postings: by SID, then by item.
pub(crate) fn posting(generation: GenerationNo, sid: &[u16], item: ItemNo) -> Key {
    let mut key = codes(generation, sid);
    key.push(END);
    key.extend_from_slice(&item.to_be_bytes());
    key
}

/// The start of the list that holds a SID: the generation and up to `head` codes, ended if the SID is
/// no longer than that.
pub(crate) fn list(generation: GenerationNo, sid: &[u16], head: usize) -> Key {
    let mut key = codes(generation, &sid[..sid.len().min(head)]);
    if sid.len() < head {
        key.push(END);
    }
    key
}

/// The generation and the codes of a posting key, of which the first `HEAD` are those of the list.
pub(crate) fn read_codes(table: Table, key: &[u8]) -> Result<(GenerationNo, Vec<u16>)> {
    split_codes(key).ok_or_else(|| Error::corrupt(table.name(), key, "not a posting key"))
}

/// As `read_codes`, for those who make the texts of errors.
pub(crate) fn split_codes(key: &[u8]) -> Option<(GenerationNo, Vec<u16>)> {
    let (generation, mut rest) = key.split_first_chunk::<4>()?;
    let mut codes = Vec::new();
    while let [MORE, high, low, more @ ..] = rest {
        codes.push(u16::from_be_bytes([*high, *low]));
        rest = more;
    }
    match rest {
        [] | [END] | [END, _, _, _, _, _, _, _, _] => {
            Some((u32::from_be_bytes(*generation), codes))
        }
        _ => None,
    }
}

/// The first key after all that begin with this prefix.
pub(crate) fn after(prefix: &[u8]) -> Option<Key> {
    let mut key = Key::from_slice(prefix);
    while let Some(last) = key.pop() {
        if last < u8::MAX {
            key.push(last + 1);
            return Some(key);
        }
    }
    None
}

/// The bound of a range that ends where a prefix ends.
pub(crate) fn upper(after: Option<&Key>) -> Bound<&[u8]> {
    after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sid() -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(prop_oneof![0u16..3, Just(255), Just(256), Just(u16::MAX)], 1..5)
    }

    proptest! {
        #[test]
        fn postings_sort_by_generation_sid_and_item(
            a in (0u32..3, sid(), any::<u64>()),
            b in (0u32..3, sid(), any::<u64>()),
        ) {
            let place = |(generation, sid, item): &(u32, Vec<u16>, u64)| {
                posting(*generation, sid, *item)
            };
            prop_assert_eq!(place(&a).cmp(&place(&b)), a.cmp(&b));
            // The list of an entry does not sort after it, and before all entries of later lists.
            let start = list(a.0, &a.1, 2);
            prop_assert!(start <= place(&a));
            prop_assert_eq!(
                place(&b).starts_with(&start),
                a.0 == b.0 && a.1.iter().take(2).eq(b.1.iter().take(2))
            );
            prop_assert_eq!(split_codes(&place(&a)), Some((a.0, a.1.clone())));
            prop_assert_eq!(split_codes(&start), Some((a.0, a.1[..a.1.len().min(2)].to_vec())));
        }

        #[test]
        fn numbers_sort_as_numbers(a in any::<(u32, u64)>(), b in any::<(u32, u64)>()) {
            prop_assert_eq!(number(a.1).cmp(&number(b.1)), a.1.cmp(&b.1));
            prop_assert_eq!(pair(a.0, a.1).cmp(&pair(b.0, b.1)), a.cmp(&b));
            let parted = |(part, number)| parted(number, part);
            prop_assert_eq!(parted(a).cmp(&parted(b)), (a.1, a.0).cmp(&(b.1, b.0)));
            let kind = |(number, _): (u32, u64)| number as u8;
            prop_assert_eq!(
                tagged(kind(a), a.1).cmp(&tagged(kind(b), b.1)),
                (kind(a), a.1).cmp(&(kind(b), b.1))
            );
            let wide_of = |(first, second)| wide(u64::from(first) << 7, second);
            prop_assert_eq!(wide_of(a).cmp(&wide_of(b)), a.cmp(&b));
            prop_assert_eq!(
                read_tagged(Table::Evidence, &tagged(kind(a), a.1)).ok(),
                Some((kind(a), a.1))
            );
            prop_assert_eq!(
                read_wide(Table::Failures, &wide_of(a)).ok(),
                Some((u64::from(a.0) << 7, a.1))
            );
            prop_assert_eq!(read_pair(Table::Sids, &pair(a.0, a.1)).ok(), Some(a));
            prop_assert_eq!(read_parted(Table::Chunks, &parted(a)).ok(), Some((a.1, a.0)));
        }

        #[test]
        fn after_is_the_end_of_a_prefix(prefix in prop::collection::vec(any::<u8>(), 0..4),
                                        key in prop::collection::vec(any::<u8>(), 0..6)) {
            let end = after(&prefix);
            let within = key >= prefix && end.is_none_or(|end| key.as_slice() < end.as_slice());
            prop_assert_eq!(within, key.starts_with(&prefix));
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(key in prop::collection::vec(any::<u8>(), 0..40)) {
            for info in &crate::table::TABLES {
                crate::dump::key_text(info.name, &key);
            }
            let _ = (read_codes(Table::Postings, &key), read_pair(Table::Sids, &key));
            let _ = (read_parted(Table::Chunks, &key), read_number(Table::Items, &key));
            let _ = (read_tagged(Table::Evidence, &key), read_wide(Table::Failures, &key));
        }
    }
}
