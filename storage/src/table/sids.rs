//! SIDs of a generation in both directions: item to SID in blocks, SID to items in posting lists.

use crate::error::{Error, Result};
use crate::record::{GenerationNo, ItemNo, Sid};
use crate::txn::Write;
use crate::view::{Stream, View};

fn later<T>() -> Result<T> {
    Err(Error::Closed)
}

/// The SID of an item.
pub fn get(_view: &dyn View, _generation: GenerationNo, _item: ItemNo) -> Result<Option<Sid>> {
    later()
}

/// The items whose SIDs begin with these codes (none: all items), in the order of SID and item.
pub fn items_under<'v>(
    _view: &'v dyn View,
    _generation: GenerationNo,
    _prefix: &[u16],
) -> Result<Stream<'v, (Sid, ItemNo)>> {
    later()
}

/// As `items_under`, but appends the bare item numbers to `items`: the fastest way.
pub fn collect_under(
    _view: &dyn View,
    _generation: GenerationNo,
    _prefix: &[u16],
    _items: &mut Vec<ItemNo>,
) -> Result<()> {
    later()
}

/// The number of items whose SIDs begin with these codes.
pub fn count_under(_view: &dyn View, _generation: GenerationNo, _prefix: &[u16]) -> Result<u64> {
    later()
}

/// The items that have exactly this SID, in ascending order.
pub fn bucket(_view: &dyn View, _generation: GenerationNo, _sid: &Sid) -> Result<Vec<ItemNo>> {
    later()
}

/// All items of a generation that have a SID, in the order of SID and item.
pub fn scan(view: &dyn View, generation: GenerationNo) -> Result<Stream<'_, (Sid, ItemNo)>> {
    items_under(view, generation, &[])
}

/// All SIDs of a generation in the order of the items.
pub fn by_item(_view: &dyn View, _generation: GenerationNo) -> Result<Stream<'_, (ItemNo, Sid)>> {
    later()
}

/// Gives an item its SID, in place of the one it had.
pub fn insert(_write: &Write, _generation: GenerationNo, _item: ItemNo, _sid: &Sid) -> Result<()> {
    later()
}

/// Takes the SID of an item away; tells which it was.
pub fn remove(_write: &Write, _generation: GenerationNo, _item: ItemNo) -> Result<Option<Sid>> {
    later()
}

/// Gives a generation all its SIDs at once, in place of those it had.
pub fn load_many(
    _write: &Write,
    _generation: GenerationNo,
    _sids: impl IntoIterator<Item = (ItemNo, Sid)>,
) -> Result<()> {
    later()
}

/// Takes all SIDs of a generation away.
pub(crate) fn clear(_write: &Write, _generation: GenerationNo) -> Result<()> {
    later()
}
