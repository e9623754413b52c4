//! Blanks out what is not code, so that a search finds code only. Offsets and lines stay.

/// Blanks comments and the insides of literals.
pub(crate) fn literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = piece_end(text, at);
        if let Some((from, to)) = end.hidden {
            for byte in &mut code[from..to] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end.next;
    }
    // Whole characters are blanked to as many ASCII blanks as they have bytes.
    String::from_utf8(code).unwrap_or_default()
}

/// Where a piece of text ends, and the part of it that is not code.
struct End {
    next: usize,
    hidden: Option<(usize, usize)>,
}

fn piece_end(text: &str, at: usize) -> End {
    let bytes = text.as_bytes();
    let rest = &text.as_bytes()[at..];
    let hide = |from: usize, to: usize, next: usize| End { next, hidden: Some((from, to)) };
    if rest.starts_with(b"//") {
        let to = find(bytes, at, b"\n");
        return hide(at, to, to);
    }
    if rest.starts_with(b"/*") {
        let to = comment_end(bytes, at);
        return hide(at, to, to);
    }
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    if begins_word && let Some((hashes, open)) = raw_string(rest) {
        let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let to = find(bytes, at + open, &close);
        return hide(at + open, to, (to + close.len()).min(bytes.len()));
    }
    match rest[0] {
        b'"' => {
            let to = quoted_end(bytes, at + 1, b'"');
            hide(at + 1, to, (to + 1).min(bytes.len()))
        }
        b'\'' if is_char(text, at) => {
            let to = quoted_end(bytes, at + 1, b'\'');
            hide(at + 1, to, (to + 1).min(bytes.len()))
        }
        _ => End { next: at + 1, hidden: None },
    }
}

/// The number of `#` and the length of the opening of a raw string that begins here.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix =
        [b"br".as_slice(), b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix.len() + hashes;
    (rest.get(open) == Some(&b'"')).then_some((hashes, open + 1))
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(text: &str, at: usize) -> bool {
    let mut after = text[at + 1..].chars();
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let from = from.min(bytes.len());
    let found = bytes[from..].windows(end.len()).position(|window| window == end);
    found.map_or(bytes.len(), |at| from + at)
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    let mut at = from;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Blanks every item under `#[cfg(test)]`, its attribute included, in code without literals.
pub(crate) fn tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut blanked = code.to_owned();
    let mut from = 0;
    while let Some(found) = blanked[from..].find(MARK) {
        let start = from + found;
        let end = item_end(&blanked, start + MARK.len());
        let hidden: String =
            blanked[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        blanked.replace_range(start..end, &hidden);
        from = start + hidden.len();
    }
    blanked
}

/// Where the item that begins here ends: behind its `;` or its closing brace.
fn item_end(code: &str, from: usize) -> usize {
    let opening = code[from..].find(['{', ';']).map(|at| from + at);
    match opening {
        Some(at) if code.as_bytes()[at] == b'{' => closing_brace(code, at) + 1,
        Some(at) => at + 1,
        None => code.len(),
    }
}

/// The offset of the brace that closes the one at `open`; the last byte where none does.
pub(crate) fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// The offsets at which a word or path stands as a whole.
pub(crate) fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].bytes().next_back();
        let after = code[at + word.len()..].bytes().next();
        let open = |byte: Option<u8>| byte.is_none_or(|byte| !is_word(byte));
        let starts = word.bytes().next().is_some_and(is_word);
        let ends = word.bytes().next_back().is_some_and(is_word);
        (!starts || open(before)) && (!ends || open(after))
    })
}
