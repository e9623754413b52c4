//! One pass over the items of ENRICH … BY text | image: what is out of date is encoded and written, batch by batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sidql_storage::{Field, Item, ItemNo, Read, Space, failures, fields, items, stamps};

use super::{PAGE, Spec, Tally, failure};
use crate::derive::fresh::source;
use crate::derive::recipe::Recipe;
use crate::derive::subject::photo;
use crate::derive::vectors::{self, Row};
use crate::derive::{self, BATCH};
use crate::enrich::image::{Reference, Where};
use crate::error::{Error, Result};
use crate::job::Context;
use crate::model::picture::Picture;
use crate::model::{Encoder, ImageEncoder};

/// Vectors are committed after this time at the latest, or when there are this many.
const COMMIT_EVERY: Duration = Duration::from_secs(2);
const COMMIT_ROWS: usize = 8 * BATCH;
/// Texts that are encoded between two looks at the time, photos that are in memory together, and how many are got
/// at the same time.
const TEXTS: usize = 256;
const PICTURES: usize = 32;
const GETTERS: usize = 16;

/// What makes the vectors.
pub(super) enum Tool {
    /// Vectors of texts.
    Text(Arc<dyn Encoder>),
    /// Vectors of photos, and where these are.
    Image(Arc<dyn ImageEncoder>, Where),
}

impl Tool {
    /// Components of a vector.
    pub(super) fn dim(&self) -> Result<usize> {
        match self {
            Tool::Text(encoder) => encoder.dim(),
            Tool::Image(encoder, _) => Ok(encoder.dim()),
        }
    }
}

/// One pass over the items.
pub(super) struct Pass<'a, 'c> {
    context: &'a Context<'c>,
    spec: &'a Spec,
    space: &'a Space,
    recipe: &'a Recipe,
    tool: &'a Tool,
    /// Whether the space is in use, so that fusions and codes follow.
    live: bool,
    since: Instant,
    rows: Vec<Row>,
    gone: Vec<ItemNo>,
    failed: Vec<(ItemNo, Error)>,
    pub(super) tally: Tally,
}

impl<'a, 'c> Pass<'a, 'c> {
    pub(super) fn new(
        context: &'a Context<'c>,
        spec: &'a Spec,
        space: &'a Space,
        recipe: &'a Recipe,
        tool: &'a Tool,
        live: bool,
    ) -> Self {
        Pass {
            context,
            spec,
            space,
            recipe,
            tool,
            live,
            since: Instant::now(),
            rows: Vec::new(),
            gone: Vec::new(),
            failed: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Every item of the statement, page by page, each page in a snapshot of its own.
    pub(super) fn all(&mut self) -> Result<()> {
        self.context.progress.stage("encoding", self.spec.total(&self.context.read()?)?);
        let mut next = 0;
        loop {
            let read = self.context.read()?;
            let page = self.spec.page(&read, next)?;
            debug_assert!(page.len() <= PAGE, "a page is bounded");
            let Some((last, _)) = page.last() else { break };
            next = last + 1;
            let schema = fields::all(&read)?;
            let todo = self.sort(&read, &schema, page)?;
            match self.tool {
                Tool::Text(encoder) => self.texts(&read, &schema, encoder, &todo)?,
                Tool::Image(encoder, place) => self.pictures(&schema, encoder, place, &todo)?,
            }
        }
        self.commit()
    }

    /// The items of a page whose vectors have to be made.
    fn sort(
        &mut self,
        read: &Read,
        schema: &[Field],
        page: Vec<(ItemNo, Item)>,
    ) -> Result<Vec<(ItemNo, Item)>> {
        let mut todo = Vec::with_capacity(page.len());
        for (number, item) in page {
            let Some(source) = source(read, schema, self.recipe, number, &item)? else {
                self.gone.push(number);
                self.tally.nothing += 1;
                self.context.progress.advance(1);
                continue;
            };
            let stamp = stamps::get(read, self.space, number)?;
            let fresh = stamp.is_some_and(|stamp| stamp.source == source);
            if fresh && !(self.live && self.spec.again()) {
                self.tally.fresh += 1;
                self.context.progress.advance(1);
            } else if failures::get(read, self.context.job, number)?.is_some() {
                self.tally.failed += 1;
                self.context.progress.advance(1);
            } else {
                todo.push((number, item));
            }
        }
        Ok(todo)
    }

    fn texts(
        &mut self,
        read: &Read,
        schema: &[Field],
        encoder: &Arc<dyn Encoder>,
        todo: &[(ItemNo, Item)],
    ) -> Result<()> {
        let progress = self.context.progress;
        for batch in todo.chunks(TEXTS) {
            progress.check()?;
            let rows = vectors::texts(read, schema, self.recipe, encoder, batch, progress)?;
            self.rows.extend(rows);
            progress.advance(batch.len() as u64);
            self.commit_if_due()?;
        }
        Ok(())
    }

    fn pictures(
        &mut self,
        schema: &[Field],
        encoder: &Arc<dyn ImageEncoder>,
        place: &Where,
        todo: &[(ItemNo, Item)],
    ) -> Result<()> {
        let progress = self.context.progress;
        for batch in todo.chunks(PICTURES) {
            progress.check()?;
            let wanted: Vec<(ItemNo, Reference)> = batch
                .iter()
                .filter_map(|(number, item)| Some((*number, photo(schema, item, place)?)))
                .collect();
            let mut seen = Vec::with_capacity(batch.len());
            for ((number, reference), got) in wanted.iter().zip(self.get(place, &wanted)) {
                match got {
                    Ok(picture) => seen.push((*number, reference.hash(), picture)),
                    Err(error) if error.is_cancelled() => return Err(error),
                    Err(error) => self.failed.push((*number, error)),
                }
            }
            self.rows.extend(vectors::pictures(encoder, &seen, progress)?);
            progress.advance(batch.len() as u64);
            self.commit_if_due()?;
        }
        Ok(())
    }

    /// Gets photos, several at a time: most of the time goes by waiting.
    fn get(&self, place: &Where, wanted: &[(ItemNo, Reference)]) -> Vec<Result<Picture>> {
        let (next, progress) = (AtomicUsize::new(0), self.context.progress);
        let got: Vec<Mutex<Option<Result<Picture>>>> =
            wanted.iter().map(|_| Mutex::default()).collect();
        std::thread::scope(|scope| {
            for _ in 0..GETTERS.min(wanted.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some((_, reference)) = wanted.get(at) else { return };
                        let picture = place.load(reference, progress);
                        if let Ok(mut slot) = got[at].lock() {
                            *slot = Some(picture);
                        }
                    }
                });
            }
        });
        let missing = || Err(Error::internal("a photo was not got"));
        got.into_iter()
            .map(|slot| slot.into_inner().ok().flatten().unwrap_or_else(missing))
            .collect()
    }

    fn commit_if_due(&mut self) -> Result<()> {
        if self.rows.len() >= COMMIT_ROWS || self.since.elapsed() >= COMMIT_EVERY {
            self.commit()?;
        }
        Ok(())
    }

    /// Writes what has been made, with what follows from it where the space is in use.
    fn commit(&mut self) -> Result<()> {
        self.since = Instant::now();
        let (mut rows, gone) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.gone));
        let failed = std::mem::take(&mut self.failed);
        if rows.is_empty() && failed.is_empty() && (gone.is_empty() || !self.live) {
            return Ok(());
        }
        let write = self.context.write()?;
        // An item may have been deleted since it was read.
        let mut known = Vec::with_capacity(rows.len());
        for row in rows.drain(..) {
            if items::id(&write, row.number)?.is_some() {
                known.push(row);
            }
        }
        vectors::put(&write, self.space, self.recipe, &known)?;
        for (number, error) in failed {
            self.tally.failed += 1;
            if items::id(&write, number)?.is_some() {
                let failure = failure(&self.spec.stage, &error);
                failures::put(&write, self.context.job, number, &failure)?;
            }
        }
        self.tally.made += known.len() as u64;
        if self.live {
            vectors::forget(&write, self.space, &gone)?;
            let changed: Vec<ItemNo> = known.iter().map(|row| row.number).chain(gone).collect();
            derive::follow(&write, self.context.cache, &changed)?;
        }
        write.commit()?;
        Ok(())
    }
}
