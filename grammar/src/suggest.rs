//! The nearest known word to a misspelt one.

/// The farthest that a known word may be from the one that was written.
const MAX_DISTANCE: usize = 2;

/// The nearest known word, case ignored, if it is near enough to be what was meant.
///
/// At most two letters may be missing, added, wrong or swapped, and fewer than the words have.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let length = name.chars().count();
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in known {
        let shorter = length.min(candidate.chars().count());
        if length.max(candidate.chars().count()) - shorter > MAX_DISTANCE {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
        let near = distance <= MAX_DISTANCE && distance < shorter;
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("prefx", ["NEAR", "PREFIX"]), Some("PREFIX"));
        assert_eq!(nearest("whrer", ["WHERE", "NEAR"]), Some("WHERE"));
        assert_eq!(nearest("pirce", ["title", "price"]), Some("price"));
    }

    #[test]
    fn does_not_guess_wildly() {
        assert_eq!(nearest("x", ["id", "y"]), None);
        assert_eq!(nearest("elephant", ["WHERE", "NEAR"]), None);
        assert_eq!(nearest("", ["a"]), None);
    }
}
