//! Completion: what the parser expects at a place, with names from the catalogue and the registries. What the words
//! before the place say about it is in `statement.rs`; the codes of a SID are in `sids.rs`.

mod sids;
mod statement;

use sidql_grammar::Expected;
use sidql_storage::{View, codebooks, fields, indexes, models, policies, spaces};

use crate::cache::Cache;
use crate::enrich::STAGES;
use crate::enrich::prompt::PROMPTS;
use crate::plan::relation::Relation;
use crate::settings::MEANINGS;
use statement::Before;

/// What could stand at a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the word begins that a candidate replaces.
    pub start: usize,
    /// The candidates, the likely ones first.
    pub candidates: Vec<Candidate>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What to type.
    pub text: String,
    /// What it is, for example `field` or `keyword`.
    pub detail: String,
}

/// What could stand at the cursor.
pub(crate) fn complete(view: &dyn View, cache: &Cache, text: &str, cursor: usize) -> Completion {
    let mut cursor = cursor.min(text.len());
    while !text.is_char_boundary(cursor) {
        cursor -= 1;
    }
    if let Some(completion) = sids::complete(view, cache, &text[..cursor]) {
        return completion;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start = text[..cursor]
        .rfind(|c: char| !is_word(c))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let typed = text[start..cursor].to_lowercase();
    let mut candidates: Vec<Candidate> = Vec::new();
    let before = Before::new(view, text, start);
    for expected in sidql_grammar::expected_at(text, start) {
        for (name, detail) in names(&before, expected) {
            let fits = name.to_lowercase().starts_with(&typed);
            if fits && !candidates.iter().any(|known| known.text == name) {
                candidates.push(Candidate { text: name, detail });
            }
        }
        if matches!(expected, Expected::Sid) && typed.is_empty() {
            candidates.extend(sids::fullest(view, cache, &before));
        }
    }
    candidates.sort_by_key(|candidate| candidate.detail == "keyword");
    Completion { start, candidates }
}

/// A name and what it is.
type Named = (String, String);

fn all(names: impl IntoIterator<Item = impl Into<String>>, detail: &str) -> Vec<Named> {
    names.into_iter().map(|name| (name.into(), detail.to_owned())).collect()
}

/// The names that a class of words stands for. A catalogue that cannot be read completes nothing.
fn names(before: &Before<'_>, expected: Expected) -> Vec<Named> {
    let view = before.view;
    match expected {
        Expected::Keyword(word) => all([word], "keyword"),
        Expected::Relation => all(Relation::ALL.iter().map(|one| one.name()), "relation"),
        Expected::Column => columns(before),
        Expected::Codebook => {
            let known = codebooks::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name), "codebook")
        }
        Expected::Policy => {
            let known = policies::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name), "policy")
        }
        Expected::Space => {
            let known = spaces::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name), "space")
        }
        Expected::Index => {
            let known = indexes::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name), "index")
        }
        Expected::Model => {
            let known = models::all(view).unwrap_or_default();
            [all(known.into_iter().map(|one| one.name), "model"), all(["hash"], "model")].concat()
        }
        Expected::Prompt => all(PROMPTS.iter().map(|prompt| prompt.name), "prompt"),
        Expected::Kind => before.kinds(),
        Expected::Option => before.options(),
        Expected::Stage => all(STAGES.iter().map(|stage| stage.name), "stage"),
        Expected::Reward => {
            let sums = crate::reward::SUMS.iter().map(|(name, _)| *name);
            all(sums.chain(crate::reward::KINDS.iter().map(|kind| kind.name)), "reward")
        }
        Expected::Split => all(["test", "validation"], "split"),
        Expected::Setting => {
            MEANINGS.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// The columns of the relation that the statement reads; those of items where it does not say yet.
fn columns(before: &Before<'_>) -> Vec<Named> {
    match before.relation() {
        None | Some(Relation::Items) => {
            let fields = fields::all(before.view).unwrap_or_default();
            let own = ["id", "sid", "prefix", "caption", "descriptors", "quality"];
            [all(fields.into_iter().map(|field| field.name), "field"), all(own, "column")].concat()
        }
        Some(other) => all(other.columns().iter().map(|(name, _)| *name), "column"),
    }
}
