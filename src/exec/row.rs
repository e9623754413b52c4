//! One item as a row of sources: only what the statement reads is fetched.

use std::collections::HashMap;

use sidql_storage::{Item, ItemNo, Space, SpaceNo, View, embeddings, items, sids, spaces};

use crate::error::{Error, Result};
use crate::plan::scope::Source;
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
    record: Wanted,
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
        let wants_vectors = sources.iter().any(|source| matches!(source, Source::Embedding(_)));
        let spaces = if wants_vectors { spaces::all(view)? } else { Vec::new() };
        Ok(Fetch {
            view,
            sources,
            spaces: spaces.into_iter().map(|space| (space.number, space)).collect(),
            record: sources.iter().map(wanted).max().unwrap_or(Wanted::Nothing),
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
                Some(space) => embeddings::get(self.view, space, number)?.into(),
                None => Value::Null,
            },
            Source::Score => known.score.into(),
            Source::Column(_) => Value::Null,
        })
    }
}

fn wanted(source: &Source) -> Wanted {
    match source {
        Source::Field(_) => Wanted::Fields,
        Source::Id => Wanted::Id,
        Source::Sid(_) | Source::Embedding(_) | Source::Score | Source::Column(_) => {
            Wanted::Nothing
        }
    }
}
