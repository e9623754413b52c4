//! One item as a row of sources: only what the statement reads is fetched.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value as Json, json};
use sidql_storage::{
    Body, GenerationNo, Item, ItemNo, Space, SpaceNo, View, codebooks, embeddings, evidence,
    generations, items, origins, sids, spaces, stamps,
};

use crate::cache;
use crate::clock::format_ms;
use crate::derive::fresh::{Fresh, State};
use crate::error::{Error, Result};
use crate::plan::scope::{Derived, Piece, Source};
use crate::quantize::Artefact;
use crate::quantize::health::relative_residual;
use crate::schema;
use crate::value::{Row, Sid, Value};

/// What is already at hand about an item, so that it is not read again.
#[derive(Default)]
pub(crate) struct Known<'a> {
    /// Its record.
    pub(crate) item: Option<&'a Item>,
    /// Its SID in a generation.
    pub(crate) sid: Option<(u32, &'a Sid)>,
    /// Its score.
    pub(crate) score: Option<f32>,
}

/// Fetches rows of items for a list of sources.
pub(crate) struct Fetch<'a> {
    view: &'a dyn View,
    sources: &'a [Source],
    spaces: HashMap<SpaceNo, Space>,
    /// Rows mostly come in the order of the items, which is that of the vectors.
    vectors: RefCell<HashMap<SpaceNo, embeddings::Vectors<'a>>>,
    record: Wanted,
    fresh: Option<Fresh<'a>>,
    yardsticks: HashMap<GenerationNo, (Artefact, Space)>,
}

/// How much of an item's record the sources read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nothing,
    Id,
    Fields,
}

impl<'a> Fetch<'a> {
    /// A fetcher of these sources.
    pub(crate) fn new(view: &'a dyn View, sources: &'a [Source]) -> Result<Self> {
        let judges =
            sources.iter().any(|one| matches!(one, Source::Provenance(_) | Source::Stale(_)));
        let wants_vectors =
            judges || sources.iter().any(|source| matches!(source, Source::Embedding(_)));
        let spaces = if wants_vectors { spaces::all(view)? } else { Vec::new() };
        Ok(Fetch {
            view,
            sources,
            yardsticks: yardsticks(view, sources)?,
            spaces: spaces.into_iter().map(|space| (space.number, space)).collect(),
            vectors: RefCell::default(),
            record: sources.iter().map(wanted).max().unwrap_or(Wanted::Nothing),
            fresh: if judges { Some(Fresh::new(view)?) } else { None },
        })
    }

    /// The row of an item.
    pub(crate) fn row(&self, number: ItemNo, known: &Known<'_>) -> Result<Row> {
        let fetched;
        let item = match known.item {
            Some(item) => Some(item),
            None if self.record == Wanted::Nothing => None,
            None => {
                fetched = self.fetch(number)?.ok_or_else(|| {
                    Error::internal(format!("an index names item {number}, which is not there"))
                })?;
                Some(&fetched)
            }
        };
        self.sources.iter().map(|source| self.value(*source, number, item, known)).collect()
    }

    /// The record of an item, without its fields where only the id is wanted.
    fn fetch(&self, number: ItemNo) -> Result<Option<Item>> {
        if self.record == Wanted::Fields {
            return Ok(items::get(self.view, number)?);
        }
        let id = items::id(self.view, number)?;
        Ok(id.map(|id| Item { id, fields: Vec::new() }))
    }

    fn value(
        &self,
        source: Source,
        number: ItemNo,
        item: Option<&Item>,
        known: &Known<'_>,
    ) -> Result<Value> {
        Ok(match source {
            Source::Id => item.map(|item| item.id.as_str()).into(),
            Source::Field(field) => {
                item.and_then(|item| item.field(field)).map_or(Value::Null, schema::value_of)
            }
            Source::Sid(generation) => match known.sid {
                Some((of, sid)) if of == generation => Value::Sid(sid.clone()),
                _ => sids::get(self.view, generation, number)?.into(),
            },
            Source::Embedding(space) => match self.spaces.get(&space) {
                Some(space) => self.vector(space, number)?.into(),
                None => Value::Null,
            },
            Source::Residual(generation) => self.residual(generation, number)?.into(),
            Source::Evidence(piece, field) => match self.evidence(piece, number)? {
                Some(value) => value,
                None => {
                    field.and_then(|field| item?.field(field)).map_or(Value::Null, schema::value_of)
                }
            },
            Source::Provenance(derived) => self.provenance(derived, number, item)?.into(),
            Source::Stale(derived) => match item {
                Some(item) => self.state(derived, number, item)?.is_stale().into(),
                None => Value::Null,
            },
            Source::Score => known.score.into(),
            Source::Column(_) => Value::Null,
        })
    }

    /// The item's vector in a space.
    fn vector(&self, space: &Space, number: ItemNo) -> Result<Option<Vec<f32>>> {
        let mut readers = self.vectors.borrow_mut();
        let reader = readers
            .entry(space.number)
            .or_insert_with(|| embeddings::Vectors::new(self.view, space.clone()));
        Ok(reader.get(number)?)
    }

    /// How far the item's vector lies from what its SID stands for; none where either is missing, and for SIDs that came
    /// without codewords or from vectors that have been made anew.
    fn residual(&self, generation: GenerationNo, number: ItemNo) -> Result<Option<f64>> {
        let Some((artefact, space)) = self.yardsticks.get(&generation) else { return Ok(None) };
        let vector = self.vector(space, number)?;
        let sid = sids::get(self.view, generation, number)?;
        let (Some(vector), Some(sid)) = (vector, sid) else { return Ok(None) };
        Ok(relative_residual(artefact, &vector, sid.codes()))
    }

    /// A piece of the item's evidence.
    fn evidence(&self, piece: Piece, number: ItemNo) -> Result<Option<Value>> {
        let Some(evidence) = evidence::get(self.view, piece.kind(), number)? else {
            return Ok(None);
        };
        let list = |values: Vec<Value>| Some(Value::List(values));
        Ok(match (piece, evidence.body) {
            (Piece::Caption, Body::Caption(caption)) => Some(Value::Text(caption)),
            (Piece::Descriptors, Body::Descriptors(all)) => {
                list(all.into_iter().map(|one| one.text.into()).collect())
            }
            (Piece::Confidences, Body::Descriptors(all)) => {
                list(all.into_iter().map(|one| one.confidence.into()).collect())
            }
            (Piece::Labels, Body::Quality { labels, .. }) => {
                list(labels.into_iter().map(|label| i64::from(label).into()).collect())
            }
            (Piece::Quality, Body::Quality { score, .. }) => Some(score.into()),
            (piece, _) => {
                let message = format!("the evidence of item {number} is no {}", piece.name());
                return Err(Error::internal(message));
            }
        })
    }

    fn space(&self, number: SpaceNo) -> Result<&Space> {
        let missing = || Error::internal(format!("space {number} is missing"));
        self.spaces.get(&number).ok_or_else(missing)
    }

    fn state(&self, derived: Derived, number: ItemNo, item: &Item) -> Result<State> {
        let missing = || Error::internal("nothing is known of what is stale");
        let fresh = self.fresh.as_ref().ok_or_else(missing)?;
        match derived {
            Derived::Evidence(kind) => fresh.evidence(kind, number, item),
            Derived::Vector(space) => fresh.vector(self.space(space)?, number, item),
        }
    }

    /// Who made a derived value, from what and when, as JSON; nothing where there is none.
    fn provenance(
        &self,
        derived: Derived,
        number: ItemNo,
        item: Option<&Item>,
    ) -> Result<Option<String>> {
        let stamp = match derived {
            Derived::Evidence(kind) => evidence::get(self.view, kind, number)?.map(|one| one.stamp),
            Derived::Vector(space) => stamps::get(self.view, self.space(space)?, number)?,
        };
        let (Some(stamp), Some(item)) = (stamp, item) else { return Ok(None) };
        let origin = origins::get(self.view, stamp.origin)?
            .ok_or_else(|| Error::internal(format!("origin {} is missing", stamp.origin)))?;
        let parameters: Json = serde_json::from_str(&origin.parameters)?;
        let stale = match self.state(derived, number, item)? {
            State::Outdated(why) => Json::from(why),
            _ => Json::Null,
        };
        let filled = |text: String| if text.is_empty() { Json::Null } else { Json::from(text) };
        let all = json!({
            "model": filled(origin.model),
            "kind": origin.kind,
            "fingerprint": filled(origin.fingerprint),
            "prompt": filled(origin.prompt),
            "prompt_hash": filled(origin.prompt_hash),
            "parameters": parameters,
            "source": format!("xxh3:{:016x}", stamp.source),
            "made": format_ms(stamp.made_ms),
            "stale": stale,
        });
        Ok(Some(all.to_string()))
    }
}

/// The codewords of the generations that residuals are asked of, with the spaces that they were made from.
fn yardsticks(
    view: &dyn View,
    sources: &[Source],
) -> Result<HashMap<GenerationNo, (Artefact, Space)>> {
    let mut found = HashMap::new();
    for source in sources {
        let Source::Residual(number) = source else { continue };
        let generation = generations::must(view, *number)?;
        let Some(blob) = generation.artefact else { continue };
        let codebook = codebooks::must(view, &generation.codebook)?;
        let Some(space) = spaces::get(view, &codebook.space)? else { continue };
        if space.source_hash == generation.source_hash {
            let artefact = Artefact::from_bytes(&cache::bytes(view, blob)?)?;
            found.insert(*number, (artefact, space));
        }
    }
    Ok(found)
}

fn wanted(source: &Source) -> Wanted {
    match source {
        Source::Field(_) | Source::Provenance(_) | Source::Stale(_) => Wanted::Fields,
        Source::Evidence(_, Some(_)) => Wanted::Fields,
        Source::Id => Wanted::Id,
        Source::Sid(_)
        | Source::Embedding(_)
        | Source::Residual(_)
        | Source::Evidence(_, None)
        | Source::Score
        | Source::Column(_) => Wanted::Nothing,
    }
}
