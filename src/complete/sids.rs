//! Completion of SIDs: the codes below what is typed, with how many items they hold, the fullest first.

use sidql_grammar::Expected;
use sidql_grammar::pattern::letters;
use sidql_storage::View;

use super::statement::Before;
use super::{Candidate, Completion};
use crate::cache::Cache;
use crate::count::counted;
use crate::index::Trie;

/// How many codes are offered where nothing is typed yet.
const FULLEST: usize = 12;

/// The codes that a SID can go on with whose beginning stands at the end of the text; none where it ends with no SID.
pub(super) fn complete(view: &dyn View, cache: &Cache, text: &str) -> Option<Completion> {
    let belongs = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let start = text
        .rfind(|letter| !belongs(letter))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let typed = text[start..].to_lowercase();
    let mut parts: Vec<&str> = typed.split('.').collect();
    let last = parts.pop()?;
    let prefix: Vec<u16> = parts
        .iter()
        .enumerate()
        .map(|(level, part)| part.strip_prefix(letters(level).as_str())?.parse().ok())
        .collect::<Option<_>>()?;
    let letter = letters(prefix.len());
    // One letter alone may begin a column as well; with a number or a dot it is a SID.
    let begun = last.strip_prefix(letter.as_str()).is_some_and(|code| {
        code.chars().all(|digit| digit.is_ascii_digit()) && !(code.is_empty() && prefix.is_empty())
    });
    let begins =
        begun || last.is_empty() && !prefix.is_empty() || last == letter && !prefix.is_empty();
    if !begins || !sidql_grammar::expected_at(text, start).contains(&Expected::Sid) {
        return None;
    }
    let generation = Before::new(view, text, start).generation()?;
    let index = cache.index(view, generation).ok()?;
    let mut node = Trie::ROOT;
    for code in &prefix {
        node = index.trie.child(node, *code)?;
    }
    let before = &typed[..typed.len() - last.len()];
    let codes = below(&index.trie, node, prefix.len());
    let candidates = codes
        .into_iter()
        .filter(|(name, _)| name.starts_with(last))
        .map(|(name, count)| candidate(&format!("{before}{name}"), count));
    Some(Completion { start, candidates: candidates.collect() })
}

/// The first codes that hold most items.
pub(super) fn fullest(view: &dyn View, cache: &Cache, before: &Before<'_>) -> Vec<Candidate> {
    let index = before.generation().and_then(|generation| cache.index(view, generation).ok());
    let codes = index.map(|index| below(&index.trie, Trie::ROOT, 0)).unwrap_or_default();
    codes.into_iter().take(FULLEST).map(|(name, count)| candidate(&name, count)).collect()
}

fn candidate(name: &str, count: usize) -> Candidate {
    Candidate { text: name.to_owned(), detail: counted(count, "item") }
}

/// The codes below a node and how many items they hold, the fullest first.
fn below(trie: &Trie, node: u32, level: usize) -> Vec<(String, usize)> {
    if level >= trie.levels() {
        return Vec::new();
    }
    let (codes, first) = trie.children(node);
    let letter = letters(level);
    let named = codes.iter().enumerate();
    let mut named: Vec<(String, usize)> = named
        .map(|(at, code)| (format!("{letter}{code}"), trie.count(first + at as u32)))
        .collect();
    named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    named
}
