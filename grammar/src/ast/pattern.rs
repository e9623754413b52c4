//! SID prefixes as they are typed: `a1.b33`, `a1.*.c192`, `a1.b2..b9`.

use std::fmt;

/// Levels of a SID from the root: each fixed, of a range, or any. A full SID is a pattern of fixed levels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SidPattern {
    /// The levels, at least one.
    pub levels: Vec<Level>,
}

/// One level of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// This code.
    Code(u16),
    /// The codes from one to another, both included: `b2..b9`.
    Range(u16, u16),
    /// `*`
    Any,
}

impl Level {
    /// The least and the greatest code that the level stands for.
    pub fn bounds(self) -> (u16, u16) {
        match self {
            Level::Code(code) => (code, code),
            Level::Range(from, to) => (from, to),
            Level::Any => (0, u16::MAX),
        }
    }
}

impl SidPattern {
    /// The codes of the leading levels that are fixed.
    pub fn fixed_prefix(&self) -> Vec<u16> {
        let fixed = |level: &Level| if let Level::Code(code) = level { Some(*code) } else { None };
        self.levels.iter().map_while(fixed).collect()
    }

    /// Whether every level is one code.
    pub fn is_fixed(&self) -> bool {
        self.levels.iter().all(|level| matches!(level, Level::Code(_)))
    }

    /// Whether the codes of a SID begin as the pattern says.
    pub fn matches(&self, codes: &[u16]) -> bool {
        codes.len() >= self.levels.len()
            && self.levels.iter().zip(codes).all(|(level, code)| {
                let (from, to) = level.bounds();
                (from..=to).contains(code)
            })
    }
}

/// The letters of a level: `a` for the first, `z` for the 26th, then `aa`.
pub fn letters(level: usize) -> String {
    let mut letters = Vec::new();
    let mut left = level + 1;
    while left > 0 {
        left -= 1;
        letters.push(b'a' + (left % 26) as u8);
        left /= 26;
    }
    letters.iter().rev().map(|byte| char::from(*byte)).collect()
}

impl fmt::Display for SidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, level) in self.levels.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            match level {
                Level::Code(code) => write!(f, "{}{code}", letters(at))?,
                Level::Range(from, to) => write!(f, "{0}{from}..{0}{to}", letters(at))?,
                Level::Any => f.write_str("*")?,
            }
        }
        Ok(())
    }
}
