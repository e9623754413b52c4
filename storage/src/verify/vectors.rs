//! The walk through embeddings, codebooks, generations and SIDs.

use std::collections::BTreeMap;

use super::Walk;
use crate::codec::key;
use crate::error::Result;
use crate::record::{Codebook, Generation, GenerationNo, GenerationState, ItemNo, Sid, Space};
use crate::table::counters::Counter;
use crate::table::posting::{HEAD, List};
use crate::table::{Table, embeddings, sids};

impl Walk<'_> {
    /// Embedding spaces.
    pub(super) fn spaces(&mut self) -> Result<()> {
        self.each_record::<Space>(Table::Spaces, |walk, row_key, space| {
            if space.name.as_bytes() != row_key {
                walk.problem(Table::Spaces, row_key, format!("it is called `{}`", space.name));
            }
            if space.dim == 0 || space.slots != embeddings::slots(space.dim) {
                walk.problem(Table::Spaces, row_key, "its blocks have no known size");
                return Ok(());
            }
            walk.names_blob(Table::Spaces, row_key, space.artefact);
            if walk.spaces.insert(space.number.into(), space).is_some() {
                walk.problem(Table::Spaces, row_key, "another space has its number");
            }
            Ok(())
        })
    }

    /// Embeddings: they belong to a space and to items, and are finite.
    pub(super) fn embeddings(&mut self) -> Result<()> {
        self.each(Table::Embeddings, |walk, row_key, value| {
            let (number, _) = key::read_pair(Table::Embeddings, row_key)?;
            let Some(space) = walk.spaces.get(&number).cloned() else {
                let what = format!("space {number} does not exist");
                walk.problem(Table::Embeddings, row_key, what);
                return Ok(());
            };
            let block = embeddings::decode(&space, row_key, value)?;
            for (item, vector) in block.iter() {
                walk.vectors.entry(number).or_default().push(item);
                if !walk.has_item(item) {
                    let what = format!("item {item} does not exist");
                    walk.problem(Table::Embeddings, row_key, what);
                }
                if vector.iter().any(|x| !x.is_finite()) {
                    let what = format!("the vector of item {item} is not finite");
                    walk.problem(Table::Embeddings, row_key, what);
                }
            }
            Ok(())
        })?;
        for (number, space) in self.spaces.clone() {
            let found = self.vectors.get(&number).map_or(0, Vec::len) as u64;
            if found != space.count {
                let what = format!("{} vectors counted, {found} found", space.count);
                self.problem(Table::Spaces, space.name.as_bytes(), what);
            }
        }
        Ok(())
    }

    /// Codebooks.
    pub(super) fn codebooks(&mut self) -> Result<()> {
        self.each_record::<Codebook>(Table::Codebooks, |walk, row_key, codebook| {
            if codebook.name.as_bytes() != row_key {
                walk.problem(
                    Table::Codebooks,
                    row_key,
                    format!("it is called `{}`", codebook.name),
                );
            }
            walk.codebooks.insert(codebook.name.clone(), codebook);
            Ok(())
        })
    }

    /// Generations, and whether codebooks and generations agree on each other.
    pub(super) fn generations(&mut self) -> Result<()> {
        let bound = self.counter(Counter::Generation)?;
        self.each_record::<Generation>(Table::Generations, |walk, row_key, made| {
            if made.number.to_be_bytes() != row_key || u64::from(made.number) >= bound {
                walk.problem(Table::Generations, row_key, format!("its number is {}", made.number));
                return Ok(());
            }
            match walk.codebooks.get(&made.codebook) {
                None => {
                    let what = format!("codebook `{}` does not exist", made.codebook);
                    walk.problem(Table::Generations, row_key, what);
                }
                Some(codebook) if made.ordinal >= codebook.next_ordinal => {
                    walk.problem(Table::Generations, row_key, "its ordinal was never given");
                }
                Some(_) => {}
            }
            walk.names_blob(Table::Generations, row_key, made.artefact);
            walk.generations.insert(made.number, made);
            Ok(())
        })?;
        for (name, codebook) in self.codebooks.clone() {
            let Some(number) = codebook.published else { continue };
            let sound = self
                .generations
                .get(&number)
                .is_some_and(|made| made.codebook == name && made.state == GenerationState::Ready);
            if !sound {
                let what = format!("generation number {number} cannot be the published one");
                self.problem(Table::Codebooks, name.as_bytes(), what);
            }
        }
        Ok(())
    }

    /// SIDs: both directions say the same, about items that exist.
    pub(super) fn sids(&mut self) -> Result<()> {
        let mut by_item: BTreeMap<GenerationNo, Vec<(Sid, ItemNo)>> = BTreeMap::new();
        self.each(Table::Sids, |walk, row_key, value| {
            let (generation, _) = key::read_pair(Table::Sids, row_key)?;
            let entries = sids::decode(row_key, value)?;
            let Some(sizes) = walk.generations.get(&generation).map(|made| made.sizes.clone())
            else {
                let what = format!("generation number {generation} does not exist");
                walk.problem(Table::Sids, row_key, what);
                return Ok(());
            };
            for (item, sid) in &entries {
                if !walk.has_item(*item) {
                    walk.problem(Table::Sids, row_key, format!("item {item} does not exist"));
                }
                if sid.codes().iter().zip(&sizes).any(|(code, size)| u32::from(*code) >= *size) {
                    let what = format!("item {item} has a code beyond its level: {sid}");
                    walk.problem(Table::Sids, row_key, what);
                }
            }
            by_item.entry(generation).or_default().extend(entries.into_iter().map(|(i, s)| (s, i)));
            Ok(())
        })?;
        let mut by_sid: BTreeMap<GenerationNo, Vec<(Sid, ItemNo)>> = BTreeMap::new();
        self.each(Table::Postings, |walk, row_key, value| {
            let (generation, codes) = key::read_codes(Table::Postings, row_key)?;
            if !walk.generations.contains_key(&generation) {
                let what = format!("generation number {generation} does not exist");
                walk.problem(Table::Postings, row_key, what);
                return Ok(());
            }
            let list = List::open(row_key, value)?;
            let entries = list.entries()?;
            let is_first = *row_key == *key::list(generation, &codes, HEAD);
            let before = by_sid.get(&generation).and_then(|all| all.last());
            let ordered = entries.is_sorted_by(|a, b| a < b)
                && before.zip(entries.first()).is_none_or(|(last, first)| last < first)
                && entries.first().is_none_or(|(sid, item)| {
                    *key::posting(generation, sid.codes(), *item) >= *row_key
                });
            if !ordered || (list.more() && !is_first) || (list.count() == 0 && !list.more()) {
                walk.problem(Table::Postings, row_key, "the list is out of order");
            }
            by_sid.entry(generation).or_default().extend(entries);
            Ok(())
        })?;
        for (generation, made) in self.generations.clone() {
            let items = by_item.remove(&generation).unwrap_or_default();
            let lists = by_sid.remove(&generation).unwrap_or_default();
            self.agree(&made, items, lists);
        }
        Ok(())
    }

    fn agree(
        &mut self,
        made: &Generation,
        mut items: Vec<(Sid, ItemNo)>,
        mut lists: Vec<(Sid, ItemNo)>,
    ) {
        let row_key = made.number.to_be_bytes();
        if items.len() as u64 != made.items {
            let what = format!("{} items counted, {} found", made.items, items.len());
            self.problem(Table::Generations, &row_key, what);
        }
        items.sort_unstable();
        lists.sort_unstable();
        let one_sided = |these: &[(Sid, ItemNo)], those: &[(Sid, ItemNo)]| {
            these.iter().find(|entry| those.binary_search(entry).is_err()).cloned()
        };
        if let Some((sid, item)) = one_sided(&items, &lists) {
            let what = format!("item {item} has {sid} but is in no posting list");
            self.problem(Table::Generations, &row_key, what);
        }
        if let Some((sid, item)) = one_sided(&lists, &items) {
            let what = format!("item {item} is listed under {sid} but does not have it");
            self.problem(Table::Generations, &row_key, what);
        }
    }
}
