//! The words of a title that can say what an item is, and pairs of them.

/// Words that say nothing of themselves.
const EMPTY: &str = " a all an and are as at be best brand but by can each every for from get great has high in into is \
    it its just kit less like made makes more most my new no non not of off on one only or other our out per plus pro \
    quality real re set so super that the their this to top total two up use used very via was we will with without you \
    your ";
/// Words of measures and packing, which go with numbers.
const MEASURES: &str = " bottle box bulk carton case centimeter cm count ct dozen fl fluid foot ft gallon gm gr gram inch \
    in kg kilogram lb liter litre long mg ml milliliter mm lot ounce oz pack package packaging pair pc pcs piece pint \
    pound quart qty quantity size unit value yard tube jar container assorted ";

/// The words and pairs of neighbouring words of a text, each as often as it occurs, in the singular. Words of `without`
/// are left out; numbers, measures and empty words end a pair, as a mark does.
pub(super) fn terms(text: &str, without: &str) -> Vec<String> {
    let without: Vec<String> = words(without).into_iter().flatten().collect();
    let mut terms = Vec::new();
    let mut before: Option<String> = None;
    for word in words(text) {
        let word = word.filter(|word| !without.contains(word));
        if let Some(word) = &word {
            if let Some(before) = before.as_ref().filter(|before| *before != word) {
                terms.push(format!("{before} {word}"));
            }
            terms.push(word.clone());
        }
        before = word;
    }
    terms
}

/// The words of a text in the singular; nothing stands where a pair must end.
fn words(text: &str) -> Vec<Option<String>> {
    let text = text.to_lowercase().replace(['’', '`'], "'");
    let mut pieces = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_alphanumeric() || (c == '\'' && !word.is_empty()) {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            pieces.push(telling(&std::mem::take(&mut word)));
        }
        // A hyphen and a blank join, any other mark parts.
        if c == '\n' || !(c.is_whitespace() || c == '-') {
            pieces.push(None);
        }
    }
    pieces
}

/// A word in the singular, if it can tell something.
fn telling(word: &str) -> Option<String> {
    let word = word.trim_end_matches('\'');
    let word = word.strip_suffix("'s").unwrap_or(word).replace('\'', "");
    let single = singular(&word);
    let listed = |list: &str, word: &str| list.contains(&format!(" {word} "));
    let says = single.chars().count() > 2
        && !single.bytes().any(|byte| byte.is_ascii_digit())
        && ![EMPTY, MEASURES].iter().any(|list| listed(list, &word) || listed(list, &single));
    says.then_some(single)
}

/// An English plural without its ending.
fn singular(word: &str) -> String {
    let cut = |end: &str, by: &str| word.strip_suffix(end).map(|stem| format!("{stem}{by}"));
    if word.len() > 4
        && let Some(word) = cut("ies", "y")
    {
        return word;
    }
    for end in ["sses", "shes", "ches", "xes", "zzes"] {
        if word.ends_with(end) {
            return word[..word.len() - 2].to_owned();
        }
    }
    let stays = word.len() < 4 || ["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if stays { word.to_owned() } else { cut("s", "").unwrap_or_else(|| word.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_pairs_of_a_title() {
        assert_eq!(
            terms("OPI Nail Lacquers, Simmer and Shimmer, 0.5-Fluid Ounce", "OPI"),
            ["nail", "nail lacquer", "lacquer", "simmer", "shimmer"]
        );
        assert_eq!(
            terms("Women's Full-Size Makeup Brushes (12pcs)", ""),
            ["women", "women full", "full", "makeup", "makeup brush", "brush"]
        );
        assert_eq!(terms("", "x"), Vec::<String>::new());
        assert_eq!(terms("Fußball Größe 5", ""), ["fußball", "fußball größe", "größe"]);
    }

    #[test]
    fn plurals() {
        for (many, one) in [
            ("accessories", "accessory"),
            ("lashes", "lash"),
            ("glasses", "glass"),
            ("boxes", "box"),
            ("lotions", "lotion"),
            ("citrus", "citrus"),
            ("gas", "gas"),
        ] {
            assert_eq!(singular(many), one);
        }
    }
}
