//! Why histories are not kept.

use std::io;
use std::path::{Path, PathBuf};

use ledger_history::history::{PushError, SnapshotError};
use ledger_protocol::EntryError;
use messages::cbor::CborError;

use crate::segment::ReadError;

/// Why histories are not kept. The log goes on without them.
#[derive(Debug, thiserror::Error)]
pub enum HistoriesError {
    /// The snapshot that a pruned log's histories go back to is not what was written.
    #[error("{path} is damaged; restore it from a backup", path = path.display())]
    Base {
        /// The file.
        path: PathBuf,
    },
    /// An entry does not decode.
    #[error("entry {index} is malformed")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// A file could not be used.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is longer than one of its kind may be.
    #[error("{path} has {found} bytes; expected at most {limit}", path = path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// Bytes it may have.
        limit: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A file is shorter than the snapshot says.
    #[error("{path} has {found} bytes; expected at least {expected}", path = path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes it must have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// The rows of a census are malformed.
    #[error("the rows of census {number} are malformed")]
    Rows {
        /// Number of the census.
        number: u64,
        /// What is wrong.
        source: CborError,
    },
    /// The hashes of the log's tree could not be read.
    #[error("the hashes of the log's first {size} entries cannot be read")]
    Hashes {
        /// Entries.
        size: u64,
        /// Why not.
        source: io::Error,
    },
    /// A prune needs a snapshot of the histories that they do not come to.
    #[error("the histories were not saved with {first} entries, which a prune needs: {reason}")]
    NotSaved {
        /// Entries that it must have at least.
        first: u64,
        /// Why not.
        reason: String,
    },
    /// The snapshot is of another log than this one.
    #[error("the snapshot is of {size} entries that are not this log's first ones, or too few")]
    OtherLog {
        /// Entries it covers.
        size: u64,
    },
    /// Entries were pruned while no histories were kept.
    #[error("the log was pruned up to entry {first} while it kept no histories: they cannot be made any more")]
    Pruned {
        /// First entry that has its body.
        first: u64,
    },
    /// An entry that the histories do not take.
    #[error("the histories do not take an entry")]
    Push(#[source] PushError),
    /// An entry could not be read.
    #[error("an entry cannot be read")]
    Read(#[source] ReadError),
    /// The snapshot's frame is malformed.
    #[error("the snapshot is malformed")]
    Saved(#[source] CborError),
    /// The snapshot is of no use.
    #[error("the snapshot cannot be taken up")]
    Snapshot(#[source] SnapshotError),
    /// Another version of the snapshot.
    #[error("the snapshot has version {found}; expected {expected}")]
    Version {
        /// This version's.
        expected: u64,
        /// Its own.
        found: u64,
    },
}

pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoriesError {
    move |source| HistoriesError::Io { operation, path: path.to_owned(), source }
}
