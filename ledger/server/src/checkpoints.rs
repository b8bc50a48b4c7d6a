//! Signed checkpoints: every one is kept, the latest is public, and the lock says which was last.

use std::io;

use ledger_tlog::checkpoint::{AuthenticCheckpoint, Checkpoint, CheckpointRejected};
use ledger_tlog::key::NoteVerifier;

use crate::folder::Folder;

/// `checkpoints/<size>`, one file for each checkpoint ever signed.
#[derive(Debug)]
pub(crate) struct Checkpoints(Folder);

impl Checkpoints {
    pub(crate) fn new(folder: Folder) -> Self {
        Self(folder)
    }

    pub(crate) fn keep(&self, size: u64, note: &[u8]) -> io::Result<()> {
        self.0.keep(&size.to_string(), note)
    }

    pub(crate) fn read(&self, size: u64) -> io::Result<Option<Vec<u8>>> {
        self.0.read(&size.to_string())
    }

    pub(crate) fn remove_temporary(&self) -> io::Result<()> {
        self.0.remove_temporary()
    }

    /// The sizes, ascending, and the names that are none.
    pub(crate) fn sizes(&self) -> io::Result<(Vec<u64>, Vec<String>)> {
        let mut sizes = Vec::new();
        let mut strangers = Vec::new();
        for name in self.0.names()? {
            match name.parse::<u64>() {
                Ok(size) if size.to_string() == name => sizes.push(size),
                _ => strangers.push(name),
            }
        }
        sizes.sort_unstable();
        Ok((sizes, strangers))
    }
}

/// The record of the last checkpoint signed: what is not in it was never signed.
///
/// It is a store of its own, so that it can live apart from the data: data restored from an old
/// copy then meets a lock that knows better.
#[derive(Debug)]
pub(crate) struct Lock(Folder);

/// Why the lock was not moved on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// It could not be read or written.
    #[error("the lock cannot be read or written")]
    Io(#[source] io::Error),
    /// It holds another checkpoint than the one we signed last: somebody else signs this log.
    #[error("the lock holds another checkpoint than the one this process signed last; two processes sign one log")]
    Taken,
}

impl Lock {
    pub(crate) fn new(folder: Folder) -> Self {
        Self(folder)
    }

    pub(crate) fn remove_temporary(&self) -> io::Result<()> {
        self.0.remove_temporary()
    }

    /// The last note signed; `None` for a log that has signed nothing.
    pub(crate) fn load(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.read(LOCK_FILE)
    }

    /// Replaces `old` by `new`, durably, if it is what the lock holds.
    pub(crate) fn compare_and_swap(&self, old: Option<&[u8]>, new: &[u8]) -> Result<(), LockError> {
        let held = self.load().map_err(LockError::Io)?;
        if held.as_deref() != old {
            return Err(LockError::Taken);
        }
        self.0.replace(LOCK_FILE, new).map_err(LockError::Io)
    }
}

/// Authenticates a note as this log's and nothing else: its bytes are the only ones for it.
pub(crate) fn open_note(note: &[u8], key: &NoteVerifier) -> Result<AuthenticCheckpoint, NoteFlaw> {
    let opened = Checkpoint::open(note, key.name().as_str(), key, &[]).map_err(NoteFlaw::Rejected)?;
    if opened.note().note().to_bytes() == note { Ok(opened) } else { Err(NoteFlaw::NotCanonical) }
}

/// Why a file is not a checkpoint of this log.
#[derive(Debug, thiserror::Error)]
pub enum NoteFlaw {
    /// The note is not written in the one way there is.
    #[error("the note is not in its canonical form")]
    NotCanonical,
    /// It is not a checkpoint that this log's key has signed.
    #[error("the note is not a checkpoint signed with this log's key")]
    Rejected(#[source] CheckpointRejected),
}

const LOCK_FILE: &str = "checkpoint";

/// The public copy of the latest checkpoint, in the data directory.
pub(crate) const PUBLIC_FILE: &str = "checkpoint";
