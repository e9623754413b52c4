//! Vectors by space and item, in blocks of neighbouring items.
//!
//! A block is sized just under a power of two, because a value takes a run of pages of a power of two.

use std::ops::Bound;

use super::{Table, changes, spaces, stamps};
use crate::codec::pack::{Damage, Reader};
use crate::codec::{frame, key};
use crate::error::{Error, Result};
use crate::record::{ItemNo, Space};
use crate::txn::Write;
use crate::view::{Bytes, Stream, View};

/// A full block takes at most this many bytes, unless a single vector is larger.
const BLOCK_BYTES: usize = 1 << 16;
/// What page header, key, frame and presence bits of a block take at most.
const BLOCK_SPARE: usize = 256;
/// The most items in a block, so that the presence bits fit into the spare bytes.
const MAX_SLOTS: usize = 1024;

/// The number of items in one block of vectors of this dimension.
pub(crate) fn slots(dim: u32) -> u32 {
    let vector = dim.max(1) as usize * size_of::<f32>();
    ((BLOCK_BYTES - BLOCK_SPARE) / vector).clamp(1, MAX_SLOTS) as u32
}

/// The vectors of neighbouring items.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The item of the first slot.
    pub first: ItemNo,
    dim: usize,
    present: Vec<u8>,
    values: Vec<f32>,
}

impl Block {
    fn empty(first: ItemNo, dim: usize) -> Self {
        Block { first, dim, present: Vec::new(), values: Vec::new() }
    }

    /// The number of slots up to the last item that has a vector.
    pub fn slots(&self) -> usize {
        self.values.len() / self.dim
    }

    /// The vector in a slot, unless the item has none.
    pub fn vector(&self, slot: usize) -> Option<&[f32]> {
        self.has(slot).then(|| &self.values[slot * self.dim..(slot + 1) * self.dim])
    }

    /// The items that have a vector, with their vectors, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (ItemNo, &[f32])> {
        (0..self.slots())
            .filter_map(|slot| self.vector(slot).map(|vector| (self.first + slot as u64, vector)))
    }

    fn has(&self, slot: usize) -> bool {
        self.present.get(slot / 8).is_some_and(|bits| bits & (1 << (slot % 8)) != 0)
    }

    fn count(&self) -> i64 {
        self.present.iter().map(|bits| i64::from(bits.count_ones())).sum()
    }

    fn set(&mut self, slot: usize, vector: &[f32]) {
        if self.slots() <= slot {
            self.values.resize((slot + 1) * self.dim, 0.0);
            self.present.resize((slot + 1).div_ceil(8), 0);
        }
        self.values[slot * self.dim..(slot + 1) * self.dim].copy_from_slice(vector);
        self.present[slot / 8] |= 1 << (slot % 8);
    }

    /// Tells whether a vector was there.
    fn unset(&mut self, slot: usize) -> bool {
        if !self.has(slot) {
            return false;
        }
        self.values[slot * self.dim..(slot + 1) * self.dim].fill(0.0);
        self.present[slot / 8] &= !(1 << (slot % 8));
        let kept = (0..self.slots()).rev().find(|slot| self.has(*slot)).map_or(0, |last| last + 1);
        self.values.truncate(kept * self.dim);
        self.present.truncate(kept.div_ceil(8));
        true
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let bytes = 6 + self.present.len() + self.values.len() * size_of::<f32>();
        let mut framed = frame::begin(Table::Embeddings, bytes);
        framed.extend_from_slice(&(self.dim as u32).to_le_bytes());
        framed.extend_from_slice(&(self.slots() as u16).to_le_bytes());
        framed.extend_from_slice(&self.present);
        for value in &self.values {
            framed.extend_from_slice(&value.to_le_bytes());
        }
        frame::seal(framed)
    }
}

/// The parts of a stored block.
struct Parts<'b> {
    present: &'b [u8],
    values: &'b [u8],
}

fn parse(dim: usize, slots: u32, payload: &[u8]) -> Result<Parts<'_>, Damage> {
    let mut reader = Reader::new(payload);
    let found = reader.u32()? as usize;
    if found != dim {
        return Err(format!("vectors of {found} components, the space has {dim}"));
    }
    let used = usize::from(reader.u16()?);
    if used > slots as usize || used == 0 {
        return Err(format!("{used} slots, the space has {slots}"));
    }
    let present = reader.cells(used.div_ceil(8), 1)?;
    let values = reader.cells(used, dim * size_of::<f32>())?;
    reader.end()?;
    if used % 8 != 0 && present[used / 8] >> (used % 8) != 0 {
        return Err("presence bits beyond the last slot".to_owned());
    }
    Ok(Parts { present, values })
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (cells, _) = bytes.as_chunks::<4>();
    cells.iter().map(|cell| f32::from_le_bytes(*cell)).collect()
}

fn open<'b>(space: &Space, row_key: &[u8], framed: &'b [u8]) -> Result<Parts<'b>> {
    read(space, row_key, frame::open(Table::Embeddings, row_key, framed)?)
}

fn read<'b>(space: &Space, row_key: &[u8], payload: &'b [u8]) -> Result<Parts<'b>> {
    parse(space.dim as usize, space.slots, payload)
        .map_err(|what| Error::corrupt(Table::Embeddings.name(), row_key, what))
}

/// The block of a stored row.
pub(crate) fn decode(space: &Space, row_key: &[u8], framed: &[u8]) -> Result<Block> {
    let (_, block) = key::read_pair(Table::Embeddings, row_key)?;
    let first = block.checked_mul(u64::from(space.slots)).ok_or_else(|| {
        Error::corrupt(Table::Embeddings.name(), row_key, "the block number is too large")
    })?;
    let parts = open(space, row_key, framed)?;
    Ok(Block {
        first,
        dim: space.dim as usize,
        present: parts.present.to_vec(),
        values: floats(parts.values),
    })
}

fn place(space: &Space, item: ItemNo) -> (u64, usize) {
    let slots = u64::from(space.slots);
    (item / slots, (item % slots) as usize)
}

fn row_key(space: &Space, block: u64) -> [u8; 12] {
    key::pair(u32::from(space.number), block)
}

/// The vector of an item.
pub fn get(view: &dyn View, space: &Space, item: ItemNo) -> Result<Option<Vec<f32>>> {
    Vectors::new(view, space.clone()).get(item)
}

/// Reads the vectors of a space one by one. The block of neighbours is opened, and its checksum compared, once for all of
/// them that are read in a row; what a transaction changes there meanwhile is not seen.
pub struct Vectors<'v> {
    view: &'v dyn View,
    space: Space,
    /// The last block: its number, and its bytes where it exists, which are sound.
    held: Option<(u64, Option<Bytes>)>,
}

impl<'v> Vectors<'v> {
    /// Nothing is read yet.
    pub fn new(view: &'v dyn View, space: Space) -> Self {
        Vectors { view, space, held: None }
    }

    /// The vector of an item.
    pub fn get(&mut self, item: ItemNo) -> Result<Option<Vec<f32>>> {
        let (block, slot) = place(&self.space, item);
        let row_key = row_key(&self.space, block);
        if self.held.as_ref().is_none_or(|(held, _)| *held != block) {
            self.held = None;
            let value = self.view.get(Table::Embeddings, &row_key)?;
            if let Some(value) = &value {
                open(&self.space, &row_key, value)?;
            }
            self.held = Some((block, value));
        }
        let Some((_, Some(value))) = &self.held else { return Ok(None) };
        let parts = read(&self.space, &row_key, frame::payload(value))?;
        let has = parts.present.get(slot / 8).is_some_and(|bits| bits & (1 << (slot % 8)) != 0);
        let bytes = self.space.dim as usize * size_of::<f32>();
        Ok(has.then(|| floats(&parts.values[slot * bytes..(slot + 1) * bytes])))
    }
}

/// All blocks from the one that holds an item, in the order of the items.
pub fn scan<'v>(view: &'v dyn View, space: &Space, from: ItemNo) -> Result<Stream<'v, Block>> {
    let start = row_key(space, place(space, from).0);
    let after = key::after(&start[..4]);
    let upper = key::upper(after.as_ref());
    let rows = view.scan(Table::Embeddings, Bound::Included(&start), upper)?;
    let space = space.clone();
    Ok(Box::new(rows.map(move |row| {
        let (key, value) = row?;
        decode(&space, &key, &value)
    })))
}

/// All vectors: the items in ascending order, and their vectors one after another.
pub fn load(view: &dyn View, space: &Space) -> Result<(Vec<ItemNo>, Vec<f32>)> {
    let mut items = Vec::with_capacity(space.count as usize);
    let mut values = Vec::with_capacity(space.count as usize * space.dim as usize);
    for block in scan(view, space, 0)? {
        for (item, vector) in block?.iter() {
            items.push(item);
            values.extend_from_slice(vector);
        }
    }
    Ok((items, values))
}

/// Stores the vector of an item.
pub fn put(write: &Write, space: &str, item: ItemNo, vector: &[f32]) -> Result<()> {
    put_many(write, space, [(item, vector)])
}

/// Stores many vectors. Each block is written once if the items come in ascending order.
pub fn put_many<V: AsRef<[f32]>>(
    write: &Write,
    space: &str,
    vectors: impl IntoIterator<Item = (ItemNo, V)>,
) -> Result<()> {
    let mut editor = Editor::new(write, space)?;
    let put = |editor: &mut Editor<'_>| {
        for (item, vector) in vectors {
            check(&editor.space, vector.as_ref())?;
            let slot = editor.seek(item)?;
            editor.block.set(slot, vector.as_ref());
            editor.dirty = true;
        }
        Ok(())
    };
    // What came before a wrong vector is stored all the same, so that the count stays right.
    let outcome = put(&mut editor);
    editor.finish().and(outcome)
}

fn check(space: &Space, vector: &[f32]) -> Result<()> {
    let (name, dim) = (&space.name, space.dim);
    if vector.len() != dim as usize {
        return Err(Error::Invalid(format!(
            "a vector of {} components does not fit into space `{name}` of {dim}",
            vector.len()
        )));
    }
    match vector.iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::Invalid(format!(
            "component {} of a vector for space `{name}` is not a finite number",
            at + 1
        ))),
    }
}

/// Removes the vector of an item with its stamp.
pub fn delete(write: &Write, space: &str, item: ItemNo) -> Result<()> {
    delete_many(write, space, &[item])
}

/// Removes the vectors of many items with their stamps; those that have none are passed over.
pub fn delete_many(write: &Write, space: &str, items: &[ItemNo]) -> Result<()> {
    let mut items = items.to_vec();
    items.sort_unstable();
    let mut editor = Editor::new(write, space)?;
    stamps::remove_items(write, editor.space.number, &items)?;
    for item in items {
        let slot = editor.seek(item)?;
        editor.dirty |= editor.block.unset(slot);
    }
    editor.finish()
}

/// Holds the block that is being changed, so that neighbours are written together.
struct Editor<'w> {
    write: &'w Write,
    space: Space,
    at: Option<u64>,
    block: Block,
    before: i64,
    change: i64,
    /// Whether the block differs from the stored one.
    dirty: bool,
    /// The blocks that were stored.
    stored: Vec<u64>,
}

impl<'w> Editor<'w> {
    fn new(write: &'w Write, space: &str) -> Result<Self> {
        let space = spaces::must(write, space)?;
        let block = Block::empty(0, space.dim as usize);
        let stored = Vec::new();
        Ok(Editor { write, space, at: None, block, before: 0, change: 0, dirty: false, stored })
    }

    /// Brings the block of an item in and gives its slot.
    fn seek(&mut self, item: ItemNo) -> Result<usize> {
        let (at, slot) = place(&self.space, item);
        if self.at != Some(at) {
            self.store()?;
            let row_key = row_key(&self.space, at);
            self.block = match self.write.get(Table::Embeddings, &row_key)? {
                Some(value) => decode(&self.space, &row_key, &value)?,
                None => Block::empty(at * u64::from(self.space.slots), self.space.dim as usize),
            };
            self.before = self.block.count();
            self.at = Some(at);
        }
        Ok(slot)
    }

    fn store(&mut self) -> Result<()> {
        let Some(at) = self.at.take() else { return Ok(()) };
        if !std::mem::take(&mut self.dirty) {
            return Ok(());
        }
        self.stored.push(at);
        let row_key = row_key(&self.space, at);
        self.change += self.block.count() - self.before;
        if self.block.slots() == 0 {
            if self.before > 0 {
                self.write.remove(Table::Embeddings, &row_key)?;
            }
            return Ok(());
        }
        self.write.put(Table::Embeddings, &row_key, &self.block.encode()?)
    }

    fn finish(mut self) -> Result<()> {
        self.store()?;
        changes::note(self.write, self.space.number, &self.stored)?;
        spaces::set_count(self.write, &self.space.name, self.change)
    }
}
