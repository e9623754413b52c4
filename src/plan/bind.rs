//! Names of the catalogue to what they stand for, with the nearest known name in every error.

use std::sync::Arc;

use sidql_storage::{
    Codebook, EvidenceKind, Field, FieldNo, Generation, GenerationState, Model, PolicyCard, Space,
    View, codebooks, evidence, generations, models, policies, spaces,
};

use crate::cache::Words;
use crate::derive::recipe::{Recipe, Stage, is_building};
use crate::error::{Error, Result};
use crate::params::Params;
use crate::settings::Settings;

/// What a statement can name, as one snapshot sees it.
pub(crate) struct Catalog<'a> {
    /// The snapshot or transaction.
    pub(crate) view: &'a dyn View,
    /// The settings of the session.
    pub(crate) settings: &'a Settings,
    /// The parameters of the statement.
    pub(crate) params: &'a Params,
    words: Arc<Words>,
}

impl<'a> Catalog<'a> {
    /// What a view has; `words` are those of the same view.
    pub(crate) fn new(
        view: &'a dyn View,
        words: Arc<Words>,
        settings: &'a Settings,
        params: &'a Params,
    ) -> Self {
        Catalog { view, settings, params, words }
    }

    /// The metadata fields of the items, by number.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.words.fields
    }

    /// A metadata field by name; an exact match is preferred to one in another case.
    pub(crate) fn field(&self, name: &str) -> Option<(FieldNo, &Field)> {
        let exact = self.words.fields.iter().position(|field| field.name == name);
        let loose =
            || self.words.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name));
        exact.or_else(loose).map(|at| (at as FieldNo, &self.words.fields[at]))
    }

    /// Whether a bare `sid` has a meaning.
    pub(crate) fn has_published(&self) -> bool {
        self.default_codebook().is_ok()
    }

    /// The codebook that a bare `sid` or `prefix` means.
    pub(crate) fn default_codebook(&self) -> Result<&Codebook> {
        if let Some(name) = &self.settings.codebook {
            return self.words.published.iter().find(|codebook| codebook.name == *name).ok_or_else(
                || {
                    Error::input(
                        "not-published",
                        format!("codebook `{name}` has no published generation"),
                    )
                    .help("it is the setting `codebook`; choose another with SET codebook = '…'")
                },
            );
        }
        match self.words.published.as_slice() {
            [one] => Ok(one),
            [] => Err(Error::input(
                "no-codebook",
                "no codebook is published, so items have no sids yet",
            )
            .help("CREATE CODEBOOK full USING rq_kmeans ON text; REBUILD CODEBOOK full;")),
            several => {
                let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                let message = format!("several codebooks are published: {}", names.join(", "));
                Err(Error::input("ambiguous-codebook", message).help(format!(
                    "name one, as in prefix('{0}') or DESCRIBE PREFIX a1 IN {0}, or SET codebook = '{0}'",
                    names[0]
                )))
            }
        }
    }

    /// A codebook by name.
    pub(crate) fn codebook(&self, name: &str) -> Result<Codebook> {
        if let Some(codebook) = codebooks::get(self.view, name)? {
            Ok(codebook)
        } else {
            let all = codebooks::all(self.view)?;
            Err(Error::unknown("codebook", name, all.iter().map(|one| one.name.as_str())))
        }
    }

    /// A generation: of the default codebook or a named one, the published one or one by ordinal.
    pub(crate) fn generation(
        &self,
        codebook: Option<&str>,
        ordinal: Option<u32>,
    ) -> Result<Generation> {
        let codebook = match codebook {
            Some(name) => self.codebook(name)?,
            None => self.default_codebook()?.clone(),
        };
        if let Some(ordinal) = ordinal {
            return self.ready_generation(&codebook, ordinal);
        }
        let number = codebook.published.ok_or_else(|| {
            let name = &codebook.name;
            Error::input("not-published", format!("codebook `{name}` has no published generation"))
                .help(format!("REBUILD CODEBOOK {name}; or PUBLISH CODEBOOK {name} GENERATION n;"))
        })?;
        generations::get(self.view, number)?
            .ok_or_else(|| Error::internal(format!("published generation {number} is missing")))
    }

    /// A complete generation of a codebook by the ordinal that users type.
    pub(crate) fn ready_generation(&self, codebook: &Codebook, ordinal: u32) -> Result<Generation> {
        let all = generations::of(self.view, &codebook.name)?;
        let found = all.iter().find(|one| one.ordinal == ordinal);
        match found {
            Some(one) if one.state == GenerationState::Ready => Ok(one.clone()),
            Some(_) => Err(Error::input(
                "generation-building",
                format!("generation {ordinal} of codebook `{}` is still being made", codebook.name),
            )
            .help("SHOW JOBS tells how far it is")),
            None => {
                let known: Vec<String> = all.iter().map(|one| one.ordinal.to_string()).collect();
                let message = format!("codebook `{}` has no generation {ordinal}", codebook.name);
                let error = Error::input("unknown-generation", message);
                Err(if known.is_empty() {
                    error.help(format!("it has none yet: REBUILD CODEBOOK {}", codebook.name))
                } else {
                    error.help(format!("it has: {}", known.join(", ")))
                })
            }
        }
    }

    /// The published generation whose codewords lie in a space: of the codebook in use if it is over the space, else
    /// of the only one that is.
    pub(crate) fn generation_over(&self, space: &Space) -> Result<Generation> {
        let mut over = Vec::new();
        for codebook in self.words.published.iter().filter(|codebook| codebook.space == space.name)
        {
            let generation = self.generation(Some(&codebook.name), None)?;
            if generation.artefact.is_some() {
                over.push(generation);
            }
        }
        if let Some(name) = &self.settings.codebook
            && let Some(at) = over.iter().position(|generation| generation.codebook == *name)
        {
            return Ok(over.remove(at));
        }
        match over.len() {
            1 => Ok(over.remove(0)),
            0 => {
                let name = &space.name;
                let message = format!("no published codebook has codewords in space `{name}`");
                Err(Error::input("no-codebook", message).help(format!(
                    "CREATE CODEBOOK c USING rq_kmeans ON {name}; REBUILD CODEBOOK c; or search with index = 'flat'"
                )))
            }
            _ => {
                let names: Vec<&str> = over.iter().map(|one| one.codebook.as_str()).collect();
                let message =
                    format!("several codebooks are over `{}`: {}", space.name, names.join(", "));
                Err(Error::input("ambiguous-codebook", message)
                    .help(format!("SET codebook = '{}'", names[0])))
            }
        }
    }

    /// An embedding space by name.
    pub(crate) fn space(&self, name: &str) -> Result<Space> {
        if let Some(space) = spaces::get(self.view, name)? {
            Ok(space)
        } else {
            let all = spaces::all(self.view)?;
            let error =
                Error::unknown("embedding space", name, all.iter().map(|one| one.name.as_str()));
            Err(if all.is_empty() { error.help("ENRICH items BY text;") } else { error })
        }
    }

    /// The space that NEAR means without IN: `fused`, else `text`, else the only one.
    pub(crate) fn default_space(&self) -> Result<Space> {
        for name in ["fused", "text"] {
            if let Some(space) = spaces::get(self.view, name)? {
                return Ok(space);
            }
        }
        let mut all = spaces::all(self.view)?;
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(Error::input("no-embeddings", "items have no embeddings yet")
                .help("ENRICH items BY text;")),
            _ => Err(Error::input("ambiguous-space", "several embedding spaces exist")
                .help(format!("name one: NEAR … IN {}", all[0].name))),
        }
    }

    /// A model by name.
    pub(crate) fn model(&self, name: &str) -> Result<Model> {
        if let Some(model) = models::get(self.view, name)? {
            Ok(model)
        } else {
            let all = models::all(self.view)?;
            Err(Error::unknown("model", name, all.iter().map(|one| one.name.as_str())))
        }
    }

    /// Whether any item has evidence of a kind.
    pub(crate) fn has_evidence(&self, kind: EvidenceKind) -> Result<bool> {
        Ok(evidence::count(self.view, kind)? > 0)
    }

    /// The space of photos that NEAR IMAGE means without IN: `image`, else the only one that photos made.
    pub(crate) fn photo_space(&self) -> Result<Space> {
        let mut of_photos = Vec::new();
        for space in spaces::all(self.view)? {
            if !is_building(&space) && Recipe::of(&space)?.stage == Stage::Image {
                of_photos.push(space);
            }
        }
        if let Some(at) = of_photos.iter().position(|space| space.name == "image") {
            return Ok(of_photos.remove(at));
        }
        match of_photos.len() {
            1 => Ok(of_photos.remove(0)),
            0 => Err(Error::input("no-embeddings", "items have no vectors of photos yet").help(
                "CREATE MODEL m USING resnet WITH (path = '…'); ENRICH items BY image USING m;",
            )),
            _ => Err(Error::input("ambiguous-space", "several spaces are of photos")
                .help(format!("name one: NEAR IMAGE … IN {}", of_photos[0].name))),
        }
    }

    /// A policy by name.
    pub(crate) fn policy(&self, name: &str) -> Result<PolicyCard> {
        if let Some(policy) = policies::get(self.view, name)? {
            Ok(policy)
        } else {
            let all = policies::all(self.view)?;
            Err(Error::unknown("policy", name, all.iter().map(|one| one.name.as_str())))
        }
    }

    /// The policy that RECOMMEND means without USING: the setting, else the only trained one.
    pub(crate) fn default_policy(&self) -> Result<PolicyCard> {
        if let Some(name) = &self.settings.policy {
            return self.policy(name);
        }
        let mut all = policies::all(self.view)?;
        all.retain(|policy| policy.trained_ms.is_some());
        match all.len() {
            1 => Ok(all.remove(0)),
            0 => Err(Error::input("no-policy", "no policy is trained yet")
                .help("CREATE POLICY graph USING item_graph; TRAIN POLICY graph;")),
            _ => {
                let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
                let message = format!("several policies are trained: {}", names.join(", "));
                Err(Error::input("ambiguous-policy", message).help(format!(
                    "name one, as in USING {}, or SET policy = '{}'",
                    names[0], names[0]
                )))
            }
        }
    }
}
