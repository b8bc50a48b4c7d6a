//! Why a log does not open.

use std::io;
use std::path::PathBuf;

use ledger_protocol::{EntryError, RuleBroken};
use ledger_tlog::checkpoint::MalformedCheckpoint;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeError;

use super::AppendFailed;
use crate::checkpoints::NoteFlaw;
use crate::histories::HistoriesError;
use crate::identity::{IdentityError, VKEY_FILE};
use crate::lock::LockError;
use crate::ownership::OwnershipError;
use crate::pruned::PrunedError;
use crate::pruning::PruneError;
use crate::receipts::ReceiptKeyError;
use crate::segment::BatchFlaw;
use crate::store::IndexError;
use crate::witnessing::WitnessesRefuse;

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The tree's stored hashes cannot be read.
    #[error("the hashes in {path} cannot be read", path = path.display())]
    Levels {
        /// Their folder.
        path: PathBuf,
        /// Which ones.
        source: TreeError<io::Error>,
    },
    /// The folder is a copy, not a log's data directory.
    #[error(
        "{path} is a backup; make a log of it with: attestry-ledger restore --from {path} --to DIR", path = path.display()
    )]
    Backup {
        /// The folder.
        path: PathBuf,
    },
    /// A batch before the end of the log is not what was written.
    #[error("{path} is damaged at byte {offset}; restore the file from a copy or a mirror", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the batch begins.
        offset: u64,
        /// What is wrong with it.
        source: BatchFlaw,
    },
    /// Bytes in a segment are no entry.
    #[error("entry {index} is malformed")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// A kept checkpoint is gone.
    #[error("{path} is missing; restore it from a copy or a mirror", path = path.display())]
    CheckpointMissing {
        /// Its file.
        path: PathBuf,
    },
    /// The histories of a stopped log were not brought up to date.
    #[error("the histories were not brought up to date")]
    Histories(#[source] HistoriesError),
    /// A signing key or name is not usable.
    #[error("the log's identity is not usable")]
    Identity(#[source] IdentityError),
    /// The index failed, also after it was made anew.
    #[error("the log's index is not usable")]
    Index(#[from] IndexError),
    /// The index knows of entries that the segments do not have: they were durable once.
    #[error(
        "the segments end with entry {segments} but {index} were appended; restore the missing ones from a copy or a \
         mirror, or accept their loss with: attestry-ledger reindex"
    )]
    IndexAhead {
        /// Entries by the index.
        index: u64,
        /// Entries in the segments.
        segments: u64,
    },
    /// The system refused something.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The lock that says what was signed last is missing, taken, or another log's.
    #[error("the log does not start without its lock")]
    Lock(#[source] LockError),
    /// A note is not one of this log's checkpoints.
    #[error("{path} is no checkpoint of this log; restore it from a copy", path = path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteFlaw,
    },
    /// There is no log in the folder, and none is to be made.
    #[error("{path} holds no log: {VKEY_FILE} is missing", path = path.display())]
    NoLog {
        /// The folder.
        path: PathBuf,
    },
    /// No checkpoint can carry the log's name.
    #[error("the log's origin cannot stand in a checkpoint")]
    Origin(#[source] MalformedCheckpoint),
    /// Another process has it, or the lock file cannot be used.
    #[error("the log is not available")]
    Ownership(#[source] OwnershipError),
    /// The public checkpoint is newer than the last one signed.
    #[error(
        "{path} has {public} entries, the last checkpoint signed has {signed}: the lock is an old copy; restore the \
         newer one", path = path.display()
    )]
    PublicNewer {
        /// The public checkpoint's file.
        path: PathBuf,
        /// Its size.
        public: u64,
        /// The lock's size.
        signed: u64,
    },
    /// An entry does not obey the rules of the log.
    #[error("entry {index} breaks a rule of the log")]
    Rule {
        /// Its index.
        index: u64,
        /// Which.
        source: RuleBroken,
    },
    /// A segment file is missing.
    #[error("no segment begins with entry {expected}: the next file is {found}; restore the missing file")]
    SegmentMissing {
        /// The index it should begin with.
        expected: u64,
        /// The file that is there instead.
        found: String,
    },
    /// Entries that were signed are gone.
    #[error(
        "the segments hold {found} entries, but {signed} were signed; restore the missing segments from a copy or a \
         mirror: a log that goes on without them would have two histories"
    )]
    SignedLost {
        /// Entries under the last checkpoint.
        signed: u64,
        /// Entries found.
        found: u64,
    },
    /// The entries are not those that were signed.
    #[error(
        "the first {size} entries have the root {found}, but {signed} was signed; restore the segments from a copy or \
         a mirror"
    )]
    SignedOther {
        /// Entries under the last checkpoint.
        size: u64,
        /// The root signed.
        signed: Hash,
        /// The root of the entries.
        found: Hash,
    },
    /// What is known of pruned entries is not usable.
    #[error("the log was pruned, and what must be known of its older entries is not usable")]
    Pruned(#[source] PrunedError),
    /// An interrupted prune was not finished.
    #[error("an interrupted prune cannot be finished")]
    Pruning(#[source] Box<PruneError>),
    /// The key of receipts is not usable.
    #[error("the log's key for receipts is not usable")]
    Receipts(#[source] ReceiptKeyError),
    /// The start itself could not be recorded.
    #[error("the ledger's start was not recorded")]
    Start(#[source] AppendFailed),
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// Others than its owner may change the log's files.
    #[error("{path} has mode {mode:o}: others may write there; run: chmod go-w {path}", path = path.display())]
    Writable {
        /// The data directory or the lock's.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A witness knows of another history, or none can be asked.
    #[error("the log does not start before its witnesses")]
    Witnesses(#[source] WitnessesRefuse),
}
