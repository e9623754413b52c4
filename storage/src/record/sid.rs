//! Semantic IDs: 1 to 64 levels of codes, ordered, small.

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use crate::error::Error;

/// The most levels a SID can have.
pub const MAX_LEVELS: usize = 64;
/// SIDs of up to this many levels need no allocation.
const INLINE_LEVELS: usize = 8;

/// A Semantic ID, or a prefix of one: 1 to 64 codes, ordered like words in a dictionary.
///
/// ```
/// use sidql_storage::Sid;
/// let sid: Sid = "a1.b33.c192".parse()?;
/// assert_eq!(sid.codes(), [1, 33, 192]);
/// assert!(sid.starts_with(&[1, 33]));
/// assert_eq!(sid.prefix(2).to_string(), "a1.b33");
/// # Ok::<(), sidql_storage::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    codes: SmallVec<[u16; INLINE_LEVELS]>,
}

impl Sid {
    /// A SID of these codes, of which there must be 1 to 64.
    pub fn new(codes: &[u16]) -> Result<Self, Error> {
        match codes.len() {
            0 => Err(Error::Invalid("a sid has at least one level".to_owned())),
            1..=MAX_LEVELS => Ok(Sid { codes: SmallVec::from_slice(codes) }),
            more => Err(Error::Invalid(format!(
                "a sid has at most {MAX_LEVELS} levels, this one has {more}"
            ))),
        }
    }

    /// The codes, first level first.
    pub fn codes(&self) -> &[u16] {
        &self.codes
    }

    /// The number of levels.
    pub fn levels(&self) -> usize {
        self.codes.len()
    }

    /// The first `levels` levels, at least one and at most all.
    pub fn prefix(&self, levels: usize) -> Sid {
        let levels = levels.clamp(1, self.codes.len());
        Sid { codes: SmallVec::from_slice(&self.codes[..levels]) }
    }

    /// Whether the codes begin with these. Every SID begins with no codes.
    pub fn starts_with(&self, prefix: &[u16]) -> bool {
        self.codes.starts_with(prefix)
    }
}

impl AsRef<[u16]> for Sid {
    fn as_ref(&self) -> &[u16] {
        &self.codes
    }
}

impl TryFrom<&[u16]> for Sid {
    type Error = Error;

    fn try_from(codes: &[u16]) -> Result<Self, Error> {
        Sid::new(codes)
    }
}

/// The letters of a level: `a` for level 0, `z` for 25, `aa` for 26.
pub fn level_name(level: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = level + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, code) in self.codes.iter().enumerate() {
            let dot = if level == 0 { "" } else { "." };
            write!(f, "{dot}{}{code}", level_name(level))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

/// Reads `a1.b33.c192`, `a1,b33,c192` and `<a_1><b_33><c_192>`.
impl FromStr for Sid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |what: String| Error::Invalid(format!("`{text}` is no sid: {what}"));
        let trimmed = text.trim();
        let mut codes = SmallVec::new();
        let parts: Vec<&str> = if let Some(inner) = trimmed.strip_prefix('<') {
            let inner = inner.strip_suffix('>').ok_or_else(|| bad("a `>` is missing".into()))?;
            inner.split("><").collect()
        } else {
            trimmed.split(['.', ',']).map(str::trim).collect()
        };
        if parts.len() > MAX_LEVELS {
            return Err(bad(format!("it has more than {MAX_LEVELS} levels")));
        }
        for (level, part) in parts.into_iter().enumerate() {
            let name = level_name(level);
            let code = part
                .strip_prefix(name.as_str())
                .map(|rest| {
                    if trimmed.starts_with('<') {
                        rest.strip_prefix('_').unwrap_or(rest)
                    } else {
                        rest
                    }
                })
                .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| {
                    bad(format!("level {} is written `{name}` and a number", level + 1))
                })?;
            codes.push(code.parse().map_err(|_| {
                bad(format!("the code of level {} is above {}", level + 1, u16::MAX))
            })?);
        }
        Ok(Sid { codes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn three_ways_to_write() {
        let sid = Sid::new(&[1, 33, 192]).unwrap();
        assert_eq!(sid.to_string(), "a1.b33.c192");
        for text in ["a1.b33.c192", "a1,b33,c192", "a1, b33, c192", "<a_1><b_33><c_192>"] {
            assert_eq!(text.parse::<Sid>().unwrap(), sid, "{text}");
        }
    }

    #[test]
    fn what_is_no_sid() {
        for text in [
            "",
            "a",
            "b1",
            "a1.c2",
            "a65536",
            "a-1",
            "a1..b2",
            "<a_1",
            "<a_1><b_2",
            "a1.b2.",
            "a_1",
        ] {
            assert!(text.parse::<Sid>().is_err(), "{text}");
        }
        assert!(Sid::new(&[]).is_err());
        assert!(Sid::new(&[0; 65]).is_err());
    }

    #[test]
    fn all_levels_round_trip() {
        let codes: Vec<u16> = (0..64).map(|level| level * 1000).collect();
        let sid = Sid::new(&codes).unwrap();
        assert!(sid.to_string().ends_with("bk62000.bl63000"), "{sid}");
        assert_eq!(sid.to_string().parse::<Sid>().unwrap(), sid);
    }

    #[test]
    fn order_is_that_of_words() {
        let short = Sid::new(&[1]).unwrap();
        let long = Sid::new(&[1, 0]).unwrap();
        assert!(short < long && long < Sid::new(&[2]).unwrap());
        assert_eq!(long.prefix(0), short);
        assert_eq!(long.prefix(9), long);
    }
}
