//! A disk in memory that keeps a log of what was asked of it, and can be full.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use sidql_storage::backend::StorageBackend;

/// One thing that was asked of the disk.
#[allow(dead_code, reason = "each test uses its part")]
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes were written at an offset.
    Write(u64, Vec<u8>),
    /// The length was set.
    SetLen(u64),
    /// Everything so far was made durable.
    Sync,
    /// The caller was told that this many commits are durable.
    Acknowledged(usize),
}

/// Apply one event to the bytes of a disk.
pub(crate) fn apply(bytes: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(data);
        }
        Event::SetLen(length) => bytes.resize(*length as usize, 0),
        Event::Sync | Event::Acknowledged(_) => {}
    }
}

/// A disk; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    log: Vec<Event>,
    capacity: u64,
    recording: bool,
}

#[allow(dead_code, reason = "each test uses its part")]
impl Disk {
    /// An empty disk, which keeps a log.
    pub(crate) fn recording() -> Self {
        Disk::with(Vec::new(), true)
    }

    /// A disk that holds these bytes and keeps a log of what comes after them.
    pub(crate) fn recording_over(bytes: Vec<u8>) -> Self {
        Disk::with(bytes, true)
    }

    /// A disk that holds these bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Disk::with(bytes, false)
    }

    fn with(bytes: Vec<u8>, recording: bool) -> Self {
        let state = State { bytes, log: Vec::new(), capacity: u64::MAX, recording };
        Disk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds to the log that a number of commits were acknowledged.
    pub(crate) fn acknowledge(&self, commits: usize) {
        self.state().log.push(Event::Acknowledged(commits));
    }

    /// Everything that was asked so far.
    pub(crate) fn log(&self) -> Vec<Event> {
        self.state().log.clone()
    }

    /// The bytes as they are.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// Sets how long the file can become.
    pub(crate) fn set_capacity(&self, capacity: u64) {
        self.state().capacity = capacity;
    }
}

fn bounds(offset: u64, bytes: usize) -> std::ops::Range<usize> {
    offset as usize..offset as usize + bytes
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let found = state.bytes.get(bounds(offset, out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        if length > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let event = Event::SetLen(length);
        apply(&mut state.bytes, &event);
        if state.recording {
            state.log.push(event);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.recording {
            state.log.push(Event::Sync);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset + data.len() as u64 > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let event = Event::Write(offset, data.to_vec());
        apply(&mut state.bytes, &event);
        if state.recording {
            state.log.push(event);
        }
        Ok(())
    }
}
