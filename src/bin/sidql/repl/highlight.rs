//! Colours of a statement while it is typed. The text itself never changes.

use sidql::grammar::keyword;

const KEYWORD: &str = "\x1b[1;34m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[36m";
const COMMENT: &str = "\x1b[90m";
const PLAIN: &str = "\x1b[0m";

/// The text with keywords, texts, numbers and comments in colours.
pub(super) fn colour(text: &str) -> String {
    let mut coloured = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, style) = piece(rest, first);
        let (now, later) = rest.split_at(length);
        match style {
            Some(style) => coloured.extend([style, now, PLAIN]),
            None => coloured.push_str(now),
        }
        rest = later;
    }
    coloured
}

/// The length of the piece that begins the text, and its colour.
fn piece(text: &str, first: char) -> (usize, Option<&'static str>) {
    let until = |end: &str, from: usize| {
        text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
    };
    match first {
        '\'' => (until("'", 1), Some(TEXT)),
        '-' if text.starts_with("--") => (text.find('\n').unwrap_or(text.len()), Some(COMMENT)),
        '/' if text.starts_with("/*") => (until("*/", 2), Some(COMMENT)),
        _ if continues_word(first) => {
            let length = text.find(|letter| !continues_word(letter)).unwrap_or(text.len());
            let word = &text[..length];
            if first.is_ascii_digit() {
                (length, Some(NUMBER))
            } else {
                (length, keyword::find(word).map(|_| KEYWORD))
            }
        }
        other => (other.len_utf8(), None),
    }
}

fn continues_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_has_its_colour() {
        let expected = format!(
            "{KEYWORD}SELECT{PLAIN} items {KEYWORD}where{PLAIN} t = {TEXT}'where ü'{PLAIN} > \
             {NUMBER}12{PLAIN} {COMMENT}-- where{PLAIN}"
        );
        assert_eq!(colour("SELECT items where t = 'where ü' > 12 -- where"), expected);
    }

    #[test]
    fn only_colours_are_added() {
        for text in ["", "'open", "/* open", "--", "é'ü", "a1.b33.*", "$name ?", "\u{1F3D0};"] {
            let mut bare = colour(text);
            for style in [KEYWORD, TEXT, NUMBER, COMMENT, PLAIN] {
                bare = bare.replace(style, "");
            }
            assert_eq!(bare, text);
        }
    }
}
