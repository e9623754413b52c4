//! Generations: immutable makings of a codebook, published one at a time.

use super::{Table, blobs, codebooks, rows, sids};
use crate::error::{Error, Result};
use crate::record::{Generation, GenerationNo, GenerationState};
use crate::table::counters::Counter;
use crate::txn::Write;
use crate::view::{Touched, View};

fn row_key(number: GenerationNo) -> [u8; 4] {
    number.to_be_bytes()
}

/// The generation of a number.
pub fn get(view: &dyn View, number: GenerationNo) -> Result<Option<Generation>> {
    let generation = rows::get(view, Table::Generations, &row_key(number))?;
    Ok(generation.map(|generation| current(view, generation)))
}

/// The generation of a number, which must be there.
pub fn must(view: &dyn View, number: GenerationNo) -> Result<Generation> {
    get(view, number)?
        .ok_or_else(|| Error::NotFound(format!("generation number {number} does not exist")))
}

/// All generations by number.
pub fn all(view: &dyn View) -> Result<Vec<Generation>> {
    let generations: Vec<Generation> = rows::all(view, Table::Generations)?;
    Ok(generations.into_iter().map(|generation| current(view, generation)).collect())
}

/// The generations of a codebook in the order of their ordinals.
pub fn of(view: &dyn View, codebook: &str) -> Result<Vec<Generation>> {
    Ok(all(view)?.into_iter().filter(|generation| generation.codebook == codebook).collect())
}

/// The generation of a codebook that users call by an ordinal.
pub fn find(view: &dyn View, codebook: &str, ordinal: u32) -> Result<Option<Generation>> {
    Ok(of(view, codebook)?.into_iter().find(|generation| generation.ordinal == ordinal))
}

/// The generation of a codebook that queries use.
pub fn published(view: &dyn View, codebook: &str) -> Result<Option<Generation>> {
    let published = codebooks::get(view, codebook)?.and_then(|codebook| codebook.published);
    published.map(|number| must(view, number)).transpose()
}

/// The generations left unfinished.
pub fn building(view: &dyn View) -> Result<Vec<Generation>> {
    let all = all(view)?.into_iter();
    Ok(all.filter(|generation| generation.state == GenerationState::Building).collect())
}

/// Begins a generation of the codebook it names. Number, ordinal, items, revision and state are set by
/// the store; it is `Building` until it is made `ready` or published.
pub fn begin(write: &Write, generation: &Generation) -> Result<Generation> {
    let mut codebook = codebooks::must(write, &generation.codebook)?;
    check_shape(generation)?;
    let number = GenerationNo::try_from(write.next(Counter::Generation)?)
        .map_err(|_| Error::Invalid("the file has no number left for a generation".to_owned()))?;
    let generation = Generation {
        number,
        ordinal: codebook.next_ordinal,
        items: 0,
        revision: 0,
        state: GenerationState::Building,
        ..generation.clone()
    };
    codebook.next_ordinal += 1;
    codebooks::store(write, &codebook)?;
    rows::put(write, Table::Generations, &row_key(number), &generation)?;
    write.touch(number, 0);
    must(write, number)
}

/// Replaces what is known of a generation. Number, codebook, ordinal, items, revision and state stay
/// as they are; an artefact that is replaced is removed.
pub fn update(write: &Write, generation: &Generation) -> Result<()> {
    check_shape(generation)?;
    let old = stored(write, generation.number)?;
    if old.artefact != generation.artefact {
        blobs::delete_if(write, old.artefact)?;
    }
    let generation = Generation {
        codebook: old.codebook,
        ordinal: old.ordinal,
        items: old.items,
        revision: old.revision,
        state: old.state,
        ..generation.clone()
    };
    rows::put(write, Table::Generations, &row_key(generation.number), &generation)
}

/// Marks a generation as complete without publishing it.
pub fn ready(write: &Write, number: GenerationNo) -> Result<()> {
    let mut generation = stored(write, number)?;
    generation.state = GenerationState::Ready;
    rows::put(write, Table::Generations, &row_key(number), &generation)
}

/// Makes a generation complete and the one that queries of its codebook use.
pub fn publish(write: &Write, number: GenerationNo) -> Result<()> {
    ready(write, number)?;
    let generation = stored(write, number)?;
    let mut codebook = codebooks::must(write, &generation.codebook)?;
    codebook.published = Some(number);
    codebooks::store(write, &codebook)
}

/// Removes a generation with its SIDs and its artefact; tells whether it was there. If it was the
/// published one, its codebook has none afterwards.
pub fn drop(write: &Write, number: GenerationNo) -> Result<bool> {
    let Some(generation) = get(write, number)? else { return Ok(false) };
    sids::clear(write, number)?;
    write.settle(number);
    blobs::delete_if(write, generation.artefact)?;
    if let Some(mut codebook) = codebooks::get(write, &generation.codebook)?
        && codebook.published == Some(number)
    {
        codebook.published = None;
        codebooks::store(write, &codebook)?;
    }
    write.remove(Table::Generations, &row_key(number))
}

/// The record as it is stored, without what the transaction holds back.
fn stored(write: &Write, number: GenerationNo) -> Result<Generation> {
    rows::get(write, Table::Generations, &row_key(number))?
        .ok_or_else(|| Error::NotFound(format!("generation number {number} does not exist")))
}

fn current(view: &dyn View, mut generation: Generation) -> Generation {
    if let Some(touched) = view.touched(generation.number) {
        apply(&mut generation, touched);
    }
    generation
}

fn apply(generation: &mut Generation, touched: Touched) {
    generation.revision = touched.revision;
    generation.items = generation.items.saturating_add_signed(touched.items);
}

/// Stores what a transaction held back, at its end.
pub(crate) fn store_touched(write: &Write, number: GenerationNo, touched: Touched) -> Result<()> {
    let mut generation = stored(write, number)?;
    apply(&mut generation, touched);
    rows::put(write, Table::Generations, &row_key(number), &generation)
}

fn check_shape(generation: &Generation) -> Result<()> {
    let levels = usize::from(generation.levels);
    if levels == 0 || levels > crate::record::MAX_LEVELS {
        return Err(Error::Invalid(format!(
            "a sid has 1 to {} levels, not {levels}",
            crate::record::MAX_LEVELS
        )));
    }
    Ok(())
}
