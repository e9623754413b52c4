//! What is stale: a derived value is compared with what would be made now from the item, the prompt and the model.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde_json::Value as Json;
use sidql_storage::{
    EvidenceKind, Field, Item, ItemNo, Origin, OriginNo, Space, View, embeddings, evidence, fields,
    models, origins, stamps,
};
use xxhash_rust::xxh3::xxh3_64;

use super::recipe::{Recipe, Stage};
use super::subject::{asked, item_text, photo, subject};
use crate::enrich::answer::{Asking, Questions};
use crate::enrich::image::Where;
use crate::enrich::{self, Makes, prompt};
use crate::error::{Error, Result};

/// How a derived value stands to the item it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// What would be made now.
    Fresh,
    /// There is none yet.
    Missing,
    /// Something has changed since; what.
    Outdated(&'static str),
    /// The item has nothing that it could be made from.
    Nothing,
}

impl State {
    /// Whether ENRICH … WHERE stale makes the value.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, State::Missing | State::Outdated(_))
    }
}

/// Compares derived values with their sources, in one snapshot.
pub(crate) struct Fresh<'a> {
    view: &'a dyn View,
    schema: Vec<Field>,
    /// How the values of an origin are made; for 0, by a stage's defaults.
    known: RefCell<HashMap<(EvidenceKind, OriginNo), Rc<Making>>>,
    spaces: HashMap<u16, (Recipe, Option<&'static str>)>,
}

/// How the values of one origin are made.
struct Making {
    questions: Box<dyn Questions>,
    asking: Asking,
    place: Where,
    /// What about the origin itself has changed.
    changed: Option<&'static str>,
}

impl<'a> Fresh<'a> {
    /// A look at what one snapshot holds.
    pub(crate) fn new(view: &'a dyn View) -> Result<Self> {
        let mut all = HashMap::new();
        for space in sidql_storage::spaces::all(view)? {
            let recipe = Recipe::of(&space)?;
            let changed = match (&recipe.model, &recipe.fingerprint) {
                (Some(model), Some(fingerprint)) => model_changed(view, model, fingerprint)?,
                _ => None,
            };
            all.insert(space.number, (recipe, changed));
        }
        Ok(Fresh { view, schema: fields::all(view)?, known: RefCell::default(), spaces: all })
    }

    /// The state of the evidence of a kind.
    pub(crate) fn evidence(
        &self,
        kind: EvidenceKind,
        number: ItemNo,
        item: &Item,
    ) -> Result<State> {
        let made = evidence::get(self.view, kind, number)?;
        let stamp = made.as_ref().map(|made| made.stamp);
        let making = self.making(kind, stamp.map(|stamp| stamp.origin))?;
        let mut subject = subject(self.view, &self.schema, number, item)?;
        subject.picture = photo(&self.schema, item, &making.place);
        let now = asked(making.questions.as_ref(), &making.asking, &subject);
        Ok(match (stamp, now) {
            (None, None) => State::Nothing,
            (None, Some(_)) => State::Missing,
            (Some(_), _) if making.changed.is_some() => {
                State::Outdated(making.changed.unwrap_or_default())
            }
            (Some(stamp), Some((_, source))) if stamp.source == source => State::Fresh,
            (Some(_), Some(_)) => State::Outdated("item changed"),
            (Some(_), None) => State::Outdated("nothing left to make it from"),
        })
    }

    /// The state of the vector in a space.
    pub(crate) fn vector(&self, space: &Space, number: ItemNo, item: &Item) -> Result<State> {
        let Some((recipe, changed)) = self.spaces.get(&space.number) else {
            return Err(Error::internal(format!("space `{}` came later", space.name)));
        };
        if recipe.stage == Stage::File {
            // Who made it is not here, so nothing that changes here makes it stale.
            let there = stamps::get(self.view, space, number)?.is_some();
            return Ok(if there { State::Fresh } else { State::Nothing });
        }
        let Some(source) = source(self.view, &self.schema, recipe, number, item)? else {
            return Ok(State::Nothing);
        };
        let stamp = stamps::get(self.view, space, number)?;
        if let (Some(changed), Some(_)) = (changed, &stamp) {
            return Ok(State::Outdated(changed));
        }
        Ok(match stamp {
            Some(stamp) if stamp.source == source => State::Fresh,
            Some(_) => State::Outdated("item changed"),
            // Vectors of a file of format 1 have no stamps; they were kept right in the item's transaction.
            None if recipe.origin.is_none()
                && embeddings::get(self.view, space, number)?.is_some() =>
            {
                State::Fresh
            }
            None => State::Missing,
        })
    }

    fn making(&self, kind: EvidenceKind, origin: Option<OriginNo>) -> Result<Rc<Making>> {
        let key = (kind, origin.unwrap_or_default());
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let stage = enrich::Kind::of(kind);
        let Makes::Answer(_, questions) = stage.makes else {
            return Err(Error::internal(format!("`{}` asks nothing", stage.name)));
        };
        let mut options = (stage.config)(&[])?;
        let mut changed = None;
        if let Some(number) = origin {
            let origin = origins::get(self.view, number)?
                .ok_or_else(|| Error::internal(format!("origin {number} is missing")))?;
            let parameters: Json = serde_json::from_str(&origin.parameters)?;
            options.extend(parameters.as_object().cloned().unwrap_or_default());
            changed = origin_changed(self.view, &origin)?;
        }
        let options = Json::Object(options);
        let making = Rc::new(Making {
            questions: questions(&options)?,
            asking: serde_json::from_value(options.clone())?,
            place: serde_json::from_value(options)?,
            changed,
        });
        self.known.borrow_mut().insert(key, Rc::clone(&making));
        Ok(making)
    }
}

/// A hash of what the vector of an item is made from; nothing where the item has nothing of it.
pub(crate) fn source(
    view: &dyn View,
    schema: &[Field],
    recipe: &Recipe,
    number: ItemNo,
    item: &Item,
) -> Result<Option<u64>> {
    Ok(match recipe.stage {
        Stage::Text => {
            let text = item_text(view, schema, (number, item), recipe.text_parts())?;
            Some(xxh3_64(text.as_bytes()))
        }
        Stage::Image => photo(schema, item, &recipe.photos()?).map(|photo| photo.hash()),
        Stage::Fused => Some(fused_source(view, recipe, number)?),
        Stage::File => None,
    })
}

/// A hash of what the parts of a fused vector are made from.
pub(crate) fn fused_source(view: &dyn View, recipe: &Recipe, number: ItemNo) -> Result<u64> {
    let mut sources = Vec::new();
    for part in recipe.parts.iter().flatten() {
        let stamp = match sidql_storage::spaces::get(view, part)? {
            Some(space) => stamps::get(view, &space, number)?,
            None => None,
        };
        sources.push(stamp.map_or(0, |stamp| stamp.source));
    }
    Ok(xxh3_64(format!("{sources:?}").as_bytes()))
}

/// What about an origin has changed: its prompt, or the weights of its model.
fn origin_changed(view: &dyn View, origin: &Origin) -> Result<Option<&'static str>> {
    if let Ok(prompt) = prompt::find(&origin.prompt)
        && prompt.words().hash != origin.prompt_hash
    {
        return Ok(Some("prompt changed"));
    }
    model_changed(view, &origin.model, &origin.fingerprint)
}

fn model_changed(view: &dyn View, model: &str, fingerprint: &str) -> Result<Option<&'static str>> {
    let changed = models::get(view, model)?.is_some_and(|now| now.fingerprint != fingerprint);
    Ok(changed.then_some("model changed"))
}
