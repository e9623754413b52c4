//! What can go wrong with the file, sorted by what the caller has to do about it.

use std::fmt;
use std::io;

/// The result of everything that touches the file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the file. Each kind has one remedy, which the message names.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    Io(io::Error),
    /// The disk is full; nothing that was acknowledged is lost.
    Full,
    /// A stored row is damaged.
    Corrupt {
        /// The table it lies in, or `file` when it cannot be told.
        table: &'static str,
        /// Its key as readable text.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file was written by a newer build.
    Version {
        /// The format number of the file.
        found: u32,
        /// The newest format number this build reads.
        supported: u32,
    },
    /// The file is no sidql file.
    NotSidql,
    /// Another process has the file open.
    Locked,
    /// An earlier commit failed, so writing is refused until the file is opened again.
    Poisoned,
    /// The file was opened for reading only.
    ReadOnly,
    /// The handle was closed.
    Closed,
    /// What was to be made exists already, or something still uses what was to be taken away.
    Conflict(String),
    /// What was named does not exist.
    NotFound(String),
    /// A value has a shape that the file cannot hold.
    Invalid(String),
}

impl Error {
    pub(crate) fn corrupt(table: &'static str, key: &[u8], what: impl Into<String>) -> Self {
        Error::Corrupt { table, key: crate::dump::key_text(table, key), what: what.into() }
    }

    /// Whether the file, rather than the input, is at fault and a backup is the remedy.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Error::Corrupt { .. } | Error::NotSidql)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "the file cannot be read or written: {error}"),
            Error::Full => {
                write!(f, "the disk is full; make room, then open the file again")
            }
            Error::Corrupt { table, key, what } => write!(
                f,
                "damaged row in table {table} at {key}: {what}; run VERIFY and restore a backup"
            ),
            Error::Version { found, supported } => write!(
                f,
                "the file has format {found}, this build reads up to {supported}; upgrade sidql"
            ),
            Error::NotSidql => write!(f, "this is not a sidql file; check the path"),
            Error::Locked => {
                write!(f, "another process has the file open; close it there first")
            }
            Error::Poisoned => write!(
                f,
                "an earlier write failed, so nothing more is written; open the file again"
            ),
            Error::ReadOnly => {
                write!(f, "the file was opened for reading only; open it for writing")
            }
            Error::Closed => write!(f, "the file was closed; open it again"),
            Error::Conflict(what) | Error::NotFound(what) | Error::Invalid(what) => {
                f.write_str(what)
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Error::Io(error) = self { Some(error) } else { None }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Io(error),
        }
    }
}

fn file_damage(what: impl Into<String>) -> Error {
    Error::Corrupt { table: "file", key: "its pages".to_owned(), what: what.into() }
}

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) => error.into(),
            redb::StorageError::PreviousIo => Error::Poisoned,
            redb::StorageError::DatabaseClosed => Error::Closed,
            redb::StorageError::ValueTooLarge(bytes) => {
                Error::Invalid(format!("a value of {bytes} bytes does not fit into the file"))
            }
            redb::StorageError::Corrupted(what) => file_damage(what),
            other => Error::Io(io::Error::other(other.to_string())),
        }
    }
}

impl From<redb::TableError> for Error {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => file_damage(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Error {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Error::Conflict(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for Error {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            _ => Error::Poisoned,
        }
    }
}

impl From<redb::SetDurabilityError> for Error {
    fn from(error: redb::SetDurabilityError) -> Self {
        Error::Conflict(error.to_string())
    }
}

impl From<redb::CompactionError> for Error {
    fn from(error: redb::CompactionError) -> Self {
        match error {
            redb::CompactionError::Storage(error) => error.into(),
            _ => Error::Conflict(
                "the file cannot be compacted while something reads it; try again later".to_owned(),
            ),
        }
    }
}

impl From<redb::DatabaseError> for Error {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen => Error::Locked,
            redb::DatabaseError::LockProtocolMismatch => Error::Locked,
            redb::DatabaseError::RepairAborted => Error::Conflict(
                "the file was not closed properly; open it once for writing to recover it"
                    .to_owned(),
            ),
            redb::DatabaseError::TransactionInProgress => {
                Error::Conflict("a transaction is still open; end it first".to_owned())
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                Error::NotSidql
            }
            redb::DatabaseError::Storage(error) => error.into(),
            other => file_damage(other.to_string()),
        }
    }
}
