//! Completion: what the parser expects at a place, with names from the catalogue and the registries.

use sidql_grammar::Expected;
use sidql_storage::{View, codebooks, fields, indexes, models, policies, spaces};

use crate::enrich::STAGES;
use crate::enrich::prompt::PROMPTS;
use crate::kind::Kind;
use crate::plan::relation::Relation;
use crate::settings::MEANINGS;

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
pub(crate) fn complete(view: &dyn View, text: &str, cursor: usize) -> Completion {
    let mut cursor = cursor.min(text.len());
    while !text.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let start = text[..cursor]
        .rfind(|c: char| !is_word(c))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let typed = text[start..cursor].to_lowercase();
    let mut candidates: Vec<Candidate> = Vec::new();
    for expected in sidql_grammar::expected_at(text, start) {
        for (name, detail) in names(view, expected) {
            let fits = name.to_lowercase().starts_with(&typed);
            if fits && !candidates.iter().any(|known| known.text == name) {
                candidates.push(Candidate { text: name, detail: detail.to_owned() });
            }
        }
    }
    candidates.sort_by_key(|candidate| candidate.detail == "keyword");
    Completion { start, candidates }
}

/// The names that a class of words stands for. A catalogue that cannot be read completes nothing.
fn names(view: &dyn View, expected: Expected) -> Vec<(String, &'static str)> {
    let all = |names: Vec<String>, detail: &'static str| -> Vec<(String, &'static str)> {
        names.into_iter().map(|name| (name, detail)).collect()
    };
    match expected {
        Expected::Keyword(word) => vec![(word.to_owned(), "keyword")],
        Expected::Relation => {
            all(Relation::ALL.iter().map(|one| one.name().to_owned()).collect(), "relation")
        }
        Expected::Column => {
            let own = ["id", "sid", "prefix", "caption", "descriptors", "quality"]
                .map(str::to_owned)
                .to_vec();
            let fields = fields::all(view).unwrap_or_default();
            let mut names = all(fields.into_iter().map(|field| field.name).collect(), "field");
            names.extend(all(own, "column"));
            names
        }
        Expected::Codebook => {
            let known = codebooks::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name).collect(), "codebook")
        }
        Expected::Policy => {
            let known = policies::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name).collect(), "policy")
        }
        Expected::Space => {
            let known = spaces::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name).collect(), "space")
        }
        Expected::Index => {
            let known = indexes::all(view).unwrap_or_default();
            all(known.into_iter().map(|one| one.name).collect(), "index")
        }
        Expected::Model => {
            let known = models::all(view).unwrap_or_default();
            let fitted = all(vec!["hash".to_owned()], "model");
            [all(known.into_iter().map(|one| one.name).collect(), "model"), fitted].concat()
        }
        Expected::Prompt => {
            all(PROMPTS.iter().map(|prompt| prompt.name.to_owned()).collect(), "prompt")
        }
        Expected::Kind => {
            fn of<K: Kind>(
                kinds: &'static [&'static K],
                detail: &'static str,
            ) -> Vec<(String, &'static str)> {
                kinds.iter().map(|kind| (kind.name().to_owned(), detail)).collect()
            }
            [
                of(crate::quantize::KINDS, "quantizer"),
                of(crate::policy::KINDS, "policy kind"),
                of(crate::model::KINDS, "kind of model"),
                of(crate::train::OBJECTIVES, "objective"),
            ]
            .concat()
        }
        Expected::Stage => all(STAGES.iter().map(|stage| stage.name.to_owned()).collect(), "stage"),
        Expected::Reward => {
            let sums = crate::reward::SUMS.iter().map(|(name, _)| (*name).to_owned());
            let kinds = crate::reward::KINDS.iter().map(|kind| kind.name.to_owned());
            all(sums.chain(kinds).collect(), "reward")
        }
        Expected::Split => all(vec!["test".to_owned(), "validation".to_owned()], "split"),
        Expected::Setting => {
            all(MEANINGS.iter().map(|(name, _)| (*name).to_owned()).collect(), "setting")
        }
        _ => Vec::new(),
    }
}
