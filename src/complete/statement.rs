//! What the words of a statement say about a place in it: which kinds, options and columns are meant there.

use documented::DocumentedFieldsOpt;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use sidql_storage::{View, codebooks, policies};

use super::Named;
use crate::enrich::STAGES;
use crate::error::Result;
use crate::job::import;
use crate::kind::{Kind, find};
use crate::options::{Meanings, fields_of, meanings};
use crate::plan::{copy, recommend, relation::Relation};

/// The statement around a place.
pub(super) struct Before<'a> {
    /// The file.
    pub(super) view: &'a dyn View,
    /// Its words up to the place, without marks.
    words: Vec<&'a str>,
    /// Its words behind the place.
    after: Vec<&'a str>,
}

impl<'a> Before<'a> {
    pub(super) fn new(view: &'a dyn View, text: &'a str, start: usize) -> Self {
        let words = |text: &'a str| -> Vec<&'a str> {
            let marks = |letter: char| !(letter.is_alphanumeric() || letter == '_');
            text.split(marks).filter(|word| !word.is_empty()).collect()
        };
        let begin = text[..start].rfind(';').map_or(0, |at| at + 1);
        let end = text[start..].find(';').map_or(text.len(), |at| start + at);
        Before { view, words: words(&text[begin..start]), after: words(&text[start..end]) }
    }

    /// Whether the statement begins with these words.
    fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len()
            && self.words.iter().zip(words).all(|(word, wanted)| word.eq_ignore_ascii_case(wanted))
    }

    /// The word behind one of the words before the place.
    fn behind(&self, word: &str) -> Option<&'a str> {
        let at = self.words.iter().position(|known| known.eq_ignore_ascii_case(word))?;
        self.words.get(at + 1).copied()
    }

    /// Whether a word is among those before the place.
    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known.eq_ignore_ascii_case(word))
    }

    /// The relation that the statement is about.
    pub(super) fn relation(&self) -> Option<Relation> {
        let all: Vec<&str> = self.words.iter().chain(&self.after).copied().collect();
        let from = all.iter().rposition(|word| word.eq_ignore_ascii_case("FROM"));
        Relation::find(all.get(from? + 1)?).ok()
    }

    /// The kinds that can stand here.
    pub(super) fn kinds(&self) -> Vec<Named> {
        fn of<K: Kind>(kinds: &'static [&'static K]) -> Vec<Named> {
            kinds.iter().map(|kind| (kind.name().to_owned(), kind.summary().to_owned())).collect()
        }
        match () {
            () if self.begins(&["CREATE", "CODEBOOK"]) => of(crate::quantize::KINDS),
            () if self.begins(&["CREATE", "POLICY"]) => of(crate::policy::KINDS),
            () if self.begins(&["CREATE", "MODEL"]) => of(crate::model::KINDS),
            () if self.begins(&["CREATE", "INDEX"]) => of(crate::index::KINDS),
            () if self.begins(&["TRAIN"]) => {
                let taught = self.policy().map(|kind| kind.objectives);
                let mut kinds = of(crate::train::OBJECTIVES);
                kinds.retain(|(name, _)| taught.is_none_or(|all| all.contains(&name.as_str())));
                kinds
            }
            () => [
                of(crate::model::KINDS),
                of(STAGES),
                of(crate::quantize::KINDS),
                of(crate::index::KINDS),
                of(crate::policy::KINDS),
                of(crate::train::OBJECTIVES),
                of(crate::reward::KINDS),
                of(crate::metric::METRICS),
                of(crate::format::FORMATS),
                of(crate::job::KINDS),
            ]
            .concat(),
        }
    }

    /// The kind of the policy that is trained.
    fn policy(&self) -> Option<&'static crate::policy::Kind> {
        let card = policies::get(self.view, self.behind("POLICY")?).ok().flatten()?;
        find(crate::policy::KINDS, "policy", &card.kind).ok()
    }

    /// The options that can stand here and were not given yet, with their defaults and meanings.
    pub(super) fn options(&self) -> Vec<Named> {
        let (fields, meanings) = self.config().unwrap_or_default();
        let given = self.words.iter().rposition(|word| word.eq_ignore_ascii_case("WITH"));
        let given = given.map_or(&[][..], |at| &self.words[at + 1..]);
        let fields = fields.into_iter().filter(|(name, _)| !given.contains(&name.as_str()));
        fields
            .map(|(name, default)| {
                let meaning = meanings.iter().find(|(known, _)| *known == name);
                let meaning = meaning.map_or(String::new(), |(_, meaning)| format!(": {meaning}"));
                let detail = format!("option, {default}{meaning}");
                (name, detail)
            })
            .collect()
    }

    fn config(&self) -> Result<Config> {
        let using = self.behind("USING").unwrap_or_default();
        match () {
            () if self.begins(&["CREATE", "CODEBOOK"]) => quantizer(using),
            () if self.begins(&["REBUILD", "CODEBOOK"]) => {
                let name = self.words.get(2).copied().unwrap_or_default();
                let (mut fields, mut meanings) =
                    quantizer(&codebooks::must(self.view, name)?.kind)?;
                fields.extend(REBUILD.iter().map(|(name, _)| ((*name).to_owned(), Json::Null)));
                meanings.extend(REBUILD.iter().map(|(name, what)| (*name, (*what).to_owned())));
                Ok((fields, meanings))
            }
            () if self.begins(&["CREATE", "POLICY"]) => {
                let kind = find(crate::policy::KINDS, "policy", using)?;
                Ok((kind.defaults()?, kind.meanings()))
            }
            () if self.begins(&["CREATE", "MODEL"]) => {
                let kind = find(crate::model::KINDS, "model", using)?;
                Ok((kind.defaults()?, kind.meanings()))
            }
            () if self.begins(&["CREATE", "INDEX"]) => {
                let kind = find(crate::index::KINDS, "index", using)?;
                Ok((kind.defaults()?, kind.meanings()))
            }
            () if self.begins(&["TRAIN"]) => {
                let first = self.policy().and_then(|kind| kind.objectives.first().copied());
                let name = if self.has("USING") { using } else { first.unwrap_or_default() };
                let objective = find(crate::train::OBJECTIVES, "objective", name)?;
                Ok((objective.defaults()?, objective.meanings()))
            }
            () if self.begins(&["ENRICH"]) => {
                let stage = find(STAGES, "stage", self.behind("BY").unwrap_or_default())?;
                Ok((stage.defaults()?, stage.meanings()))
            }
            () if self.begins(&["RECOMMEND"]) => of::<recommend::Options>(),
            () if self.begins(&["COPY"]) => self.copied(),
            () => Ok(Config::default()),
        }
    }

    fn copied(&self) -> Result<Config> {
        match self.words.get(1).copied().unwrap_or_default().to_lowercase().as_str() {
            _ if self.has("TO") => of::<copy::ExportOptions>(),
            "codes" => of::<import::codes::Options>(),
            "embeddings" => of::<import::embeddings::Options>(),
            _ => of::<import::Options>(),
        }
    }
}

/// Options with their defaults, and what they mean.
type Config = (Map<String, Json>, Meanings);

fn of<T: Default + Serialize + DocumentedFieldsOpt>() -> Result<Config> {
    Ok((fields_of(&T::default())?, meanings::<T>()))
}

/// What REBUILD CODEBOOK takes beside the options of the quantizer.
const REBUILD: [(&str, &str); 3] = [
    ("publish", "whether queries use the new generation at once"),
    ("align_to", "a generation whose codes as many items as possible shall keep"),
    (
        "align_slack",
        "how much more error than the nearest codes old ones may have to be kept, as a share",
    ),
];

fn quantizer(name: &str) -> Result<Config> {
    let kind = find(crate::quantize::KINDS, "quantizer", name)?;
    Ok((kind.defaults()?, kind.meanings()))
}

impl Before<'_> {
    /// The codebook whose codes are meant: the one that the words name, or the only one that is published.
    pub(super) fn generation(&self) -> Option<u32> {
        let published = codebooks::all(self.view).unwrap_or_default();
        let published: Vec<_> =
            published.iter().filter_map(|one| Some((&one.name, one.published?))).collect();
        let named = published
            .iter()
            .find(|(name, _)| self.words.iter().chain(&self.after).any(|word| word == name));
        match (named, published.as_slice()) {
            (Some((_, generation)), _) | (None, [(_, generation)]) => Some(*generation),
            _ => None,
        }
    }
}
