//! The codes of a SID as others write them.

use serde_json::Value as Json;
use sidql_storage::{MAX_LEVELS, level_name};

use crate::error::{Error, Result};

/// Codes as a list of tokens or numbers, or as a text: numbers with blanks between, or a SID.
pub(super) fn codes_of(json: &Json) -> Result<Vec<u32>> {
    let tokens: Vec<String> = match json {
        Json::Array(list) => list
            .iter()
            .map(|one| match one {
                Json::String(text) => Ok(text.clone()),
                Json::Number(number) => Ok(number.to_string()),
                other => Err(bad(format!("{other} is no code"))),
            })
            .collect::<Result<_>>()?,
        Json::String(text) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            let spaced = inner.replace("><", "> <");
            let between = |c: char| c.is_whitespace() || matches!(c, ',' | '.' | '\'' | '"');
            spaced.split(between).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        }
        other => return Err(bad(format!("expected the codes of a sid, found {other}"))),
    };
    match tokens.len() {
        0 => Err(bad("there is no code".to_owned())),
        1..=MAX_LEVELS => tokens.iter().enumerate().map(|(at, text)| token(at, text)).collect(),
        more => Err(bad(format!("a sid has at most {MAX_LEVELS} levels, this one has {more}"))),
    }
}

/// `<b_3>`, `b3` or `3`: a code of a level, counted from 0.
fn token(level: usize, text: &str) -> Result<u32> {
    let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    let letters = inner.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(inner.len());
    let (letters, digits) = inner.split_at(letters);
    let digits = if letters.is_empty() { digits } else { digits.trim_start_matches('_') };
    let wanted = level_name(level);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!(
            "`{text}` is no code of level {}; it is written 3, {wanted}3 or <{wanted}_3>",
            level + 1
        );
        return Err(bad(message));
    }
    if !letters.is_empty() && !letters.eq_ignore_ascii_case(&wanted) {
        let message = format!("`{text}` stands at level {}, whose letter is `{wanted}`", level + 1);
        return Err(bad(message));
    }
    let code = digits.parse::<u16>().ok().map(u32::from);
    code.ok_or_else(|| bad(format!("code {digits} of level {} is over {}", level + 1, u16::MAX)))
}

/// The error of codes that are none.
pub(super) fn bad(message: String) -> Error {
    Error::input("bad-codes", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_written_in_many_ways() {
        for text in [
            "1 33 192",
            "a1.b33.c192",
            "a1,b33,c192",
            "<a_1><b_33><c_192>",
            "[1, 33, 192]",
            "<A_1> <B_33> <C_192>",
        ] {
            assert_eq!(codes_of(&json!(text)).unwrap(), [1, 33, 192], "{text}");
        }
        assert_eq!(codes_of(&json!(["<a_1>", "<b_33>"])).unwrap(), [1, 33]);
        assert_eq!(codes_of(&json!([1, 33])).unwrap(), [1, 33]);
        for wrong in [
            json!(""),
            json!("x"),
            json!("1 70000"),
            json!(["<b_1>"]),
            json!([-1]),
            json!(7),
            json!(["<a_>"]),
        ] {
            assert!(codes_of(&wrong).is_err(), "{wrong}");
        }
        assert!(codes_of(&json!(vec![1; 65])).is_err());
    }
}
