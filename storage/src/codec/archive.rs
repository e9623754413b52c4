//! Records as rkyv archives (feature `unaligned`) in frames.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as Failure;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use super::frame;
use crate::error::{Error, Result};
use crate::table::Table;

/// What can be stored: every record of `record/`.
pub(crate) trait Stored:
    Sized
    + Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, Failure>>
                      + Deserialize<Self, HighDeserializer<Failure>>,
    > + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Failure>>
{
}

impl<T> Stored for T where
    T: Archive<
            Archived: for<'a> CheckBytes<HighValidator<'a, Failure>>
                          + Deserialize<T, HighDeserializer<Failure>>,
        > + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Failure>>
{
}

/// A record as a framed archive.
pub(crate) fn encode<T: Stored>(table: Table, record: &T) -> Result<Vec<u8>> {
    let archive = rkyv::to_bytes::<Failure>(record)
        .map_err(|error| Error::Invalid(format!("a record cannot be stored: {error}")))?;
    frame::wrap(table, &archive)
}

/// The record in a framed archive, every pointer and tag of which is checked.
pub(crate) fn decode<T: Stored>(table: Table, key: &[u8], framed: &[u8]) -> Result<T> {
    let archive = frame::open(table, key, framed)?;
    rkyv::from_bytes::<T, Failure>(archive)
        .map_err(|error| Error::corrupt(table.name(), key, first_line(&error.to_string())))
}

/// What is seen in a framed archive that is checked like any other but not made into a record.
pub(crate) fn look<T: Stored, R>(
    table: Table,
    key: &[u8],
    framed: &[u8],
    see: impl FnOnce(&T::Archived) -> R,
) -> Result<R> {
    let archive = frame::open(table, key, framed)?;
    rkyv::access::<T::Archived, Failure>(archive)
        .map(see)
        .map_err(|error| Error::corrupt(table.name(), key, first_line(&error.to_string())))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("not a valid archive").to_owned()
}
