//! What can go wrong inside the store, before it is told in the port's words.

use std::io;

use crate::ports::store::StoreError;

/// A failure inside one operation.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// `SQLite` said no.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// A row has content that this schema version does not write.
    #[error("unreadable content: {0}")]
    Content(String),
    /// What was asked for is not there.
    #[error("{0}")]
    Absent(String),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Fault {
    /// The failure of `operation` on the store at `path`, in the port's words. Damage is told apart from
    /// everything else, because a person has to act on it.
    pub(super) fn during(self, operation: &str, path: &str) -> StoreError {
        match self {
            Self::Sql(error) if is_damage(&error) => {
                StoreError::Corrupt { path: path.to_owned(), message: error.to_string() }
            }
            fault if fault.is_want_of_space() => {
                StoreError::Full { operation: operation.to_owned(), path: path.to_owned() }
            }
            Self::Content(message) => StoreError::Corrupt {
                path: path.to_owned(),
                message: format!("cannot {operation}: {message}"),
            },
            // The cause as it is: whoever gives advice looks for it.
            Self::Io(error) => {
                StoreError::Failed { operation: operation.to_owned(), source: Box::new(error) }
            }
            other => StoreError::Failed { operation: operation.to_owned(), source: Box::new(other) },
        }
    }
}

impl Fault {
    fn is_want_of_space(&self) -> bool {
        match self {
            // The index of the write-ahead log is a file too, whose growth fails in its own way.
            Self::Sql(error) => error.sqlite_error().is_some_and(|error| {
                error.code == rusqlite::ErrorCode::DiskFull
                    || error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
            }),
            Self::Io(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Content(_) | Self::Absent(_) => false,
        }
    }
}

/// Whether `SQLite` found the file itself to be wrong.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}
