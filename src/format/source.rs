//! A file opened for import: decompressed by its extension, counted, cut into lines of bounded length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::{MAX_LINE_BYTES, Position};
use crate::error::{Error, Kind as ErrorKind, Result};

/// The byte order mark that some programs put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A stream of bytes with the name that errors tell.
pub(super) struct Source {
    pub(super) name: Name,
    pub(super) stream: Box<dyn BufRead + Send>,
    pub(super) meter: Meter,
}

/// The path of a file, to say where an error is.
#[derive(Clone, Debug)]
pub(super) struct Name(PathBuf);

impl Name {
    /// The path.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "asked by Parquet alone"))]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// An error of the content at a line.
    pub(super) fn wrong(&self, line: u64, message: impl std::fmt::Display) -> Error {
        let message = format!("{}, line {line}: {message}", self.0.display());
        Error::input("bad-record", message)
    }

    /// A failure to read.
    pub(super) fn unread(&self, line: u64, error: &io::Error) -> Error {
        let message = format!("cannot read `{}` after line {line}: {error}", self.0.display());
        Error::new(kind_of(error), "unreadable-file", message)
    }
}

/// What remedies a failure of the file system.
pub(super) fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Resource
        }
        _ => ErrorKind::Input,
    }
}

/// How far a file is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    read: Arc<AtomicU64>,
    total: u64,
}

impl Meter {
    pub(super) fn position(&self) -> Position {
        Position { read: self.read.load(Ordering::Relaxed), total: self.total }
    }
}

/// Counts the bytes that pass.
struct Metered<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Source {
    /// Opens a file; `.gz` and `.zst` are decompressed.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            let message = format!("cannot open `{}`: {error}", path.display());
            Error::new(kind_of(&error), "unreadable-file", message)
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            let message = format!("cannot open `{}`: it is a folder", path.display());
            return Err(Error::input("unreadable-file", message));
        }
        let meter = Meter { read: Arc::default(), total: metadata.len() };
        let file = BufReader::new(Metered { inner: file, read: meter.read.clone() });
        let stream: Box<dyn BufRead + Send> = match Compression::of(path) {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(failed)?;
                Box::new(BufReader::new(decoder))
            }
        };
        Ok(Source { name: Name(path.to_owned()), stream, meter })
    }
}

/// How a file is compressed, told by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("gz") {
            Compression::Gzip
        } else if extension.eq_ignore_ascii_case("zst") {
            Compression::Zstd
        } else {
            Compression::None
        }
    }
}

/// The lines of a source, without their ends.
pub(super) struct Lines {
    pub(super) name: Name,
    pub(super) meter: Meter,
    stream: Box<dyn BufRead + Send>,
    line: u64,
    /// Set after a failure of the stream, or a line too long to skip: nothing can follow.
    broken: bool,
}

impl Lines {
    pub(super) fn new(source: Source) -> Self {
        let Source { name, stream, meter } = source;
        Lines { name, meter, stream, line: 0, broken: false }
    }
}

impl Iterator for Lines {
    /// The number of the line, from 1, and the line.
    type Item = Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let mut bytes = Vec::new();
        let most = MAX_LINE_BYTES as u64 + 2;
        match self.stream.by_ref().take(most).read_until(b'\n', &mut bytes) {
            Ok(0) => return None,
            Ok(_) => self.line += 1,
            Err(error) => {
                self.broken = true;
                return Some(Err(self.name.unread(self.line, &error)));
            }
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.len() > MAX_LINE_BYTES {
            self.broken = true;
            let message = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return Some(Err(self.name.wrong(self.line, message)));
        }
        if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Some(match String::from_utf8(bytes) {
            Ok(text) => Ok((self.line, text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to() + 1;
                Err(self.name.wrong(self.line, format!("byte {at} is not valid UTF-8")))
            }
        })
    }
}
