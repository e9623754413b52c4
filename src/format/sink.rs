//! A file being exported: compressed by its extension, written beside its name and moved there when complete.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::source::{Compression, kind_of};
use crate::error::{Error, Result};

/// The level of zstd: its own default.
const ZSTD_LEVEL: i32 = 3;

/// A file that gets its name at `finish`; dropped before, it is removed.
pub(super) struct Sink {
    path: PathBuf,
    temporary: NamedTempFile,
    stream: Stream,
}

enum Stream {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Sink {
    /// Begins a file in the folder of `path`.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let failed = |error: io::Error| unwritten(path, &error);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if path.is_dir() || path.file_name().is_none() {
            let message = format!("cannot write `{}`: it is a folder", path.display());
            return Err(Error::input("unwritable-file", message));
        }
        if !folder.is_dir() {
            let (path, folder) = (path.display(), folder.display());
            let message = format!("cannot write `{path}`: there is no folder `{folder}`");
            return Err(Error::input("unwritable-file", message));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".sidql-").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As of any new file, less the user's mask; temporary files are otherwise private.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder).map_err(failed)?;
        let file = BufWriter::new(temporary.reopen().map_err(failed)?);
        let stream = match Compression::of(path) {
            Compression::None => Stream::Plain(file),
            Compression::Gzip => Stream::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(file, ZSTD_LEVEL);
                Stream::Zstd(encoder.map_err(failed)?)
            }
        };
        Ok(Sink { path: path.to_owned(), temporary, stream })
    }

    /// Appends bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let stream: &mut dyn Write = match &mut self.stream {
            Stream::Plain(stream) => stream,
            Stream::Gzip(stream) => stream,
            Stream::Zstd(stream) => stream,
        };
        stream.write_all(bytes).map_err(|error| unwritten(&self.path, &error))
    }

    /// Completes the file, makes it durable and gives it its name.
    pub(super) fn finish(self) -> Result<()> {
        let Sink { path, temporary, stream } = self;
        let complete = || -> io::Result<()> {
            let buffered = match stream {
                Stream::Plain(stream) => stream,
                Stream::Gzip(stream) => stream.finish()?,
                Stream::Zstd(stream) => stream.finish()?,
            };
            buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            temporary.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        complete().map_err(|error| unwritten(&path, &error))
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot write `{}`: {error}", path.display());
    Error::new(kind_of(error), "unwritable-file", message)
}
