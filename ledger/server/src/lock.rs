//! The record of the last checkpoint signed, kept apart from the data: what is not in it was
//! never signed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::Folder;
use crate::ownership::{Ownership, OwnershipError};

/// Where the last checkpoint signed is compared and swapped.
///
/// The lock is trusted, the data is not: data restored from an old copy meets a lock that knows
/// better. So a lock lives apart from the data, is made only with the log itself, and is never
/// made anew by a start. A database row with `UPDATE … WHERE body = expected` would do.
pub(crate) trait CheckpointLock: fmt::Debug + Send {
    /// The last note signed; empty for a log that has signed nothing.
    fn load(&self) -> Result<Vec<u8>, LockError>;

    /// Replaces `expected` by `new`, durably, if it is what the lock holds. After an error nothing
    /// may be signed any more: what the lock holds then is not known.
    fn swap(&self, expected: &[u8], new: &[u8]) -> Result<(), LockError>;

    /// Where it is, for people.
    fn place(&self) -> PathBuf;
}

/// Why a lock is of no use, or was not moved on.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A new log finds a lock with a checkpoint: its data is elsewhere, or gone.
    #[error(
        "{path} holds a checkpoint, but the data directory holds no log: restore the data (attestry-ledger restore), \
         or name a place of its own for a new log's lock", path = path.display()
    )]
    Held {
        /// Its file.
        path: PathBuf,
    },
    /// It could not be read or written.
    #[error("the lock {path} cannot be read or written", path = path.display())]
    Io {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log has begun, its lock is not there.
    #[error(
        "{path} is missing although the log has begun; name the lock's place with --lock or restore it from a copy: \
         without it nobody knows what was signed last", path = path.display()
    )]
    Missing {
        /// Its file.
        path: PathBuf,
    },
    /// Another process signs with this lock.
    #[error("another process signs with this lock")]
    Ownership(#[source] OwnershipError),
    /// It holds another checkpoint than the one we signed last: somebody else signs this log.
    #[error(
        "the lock {path} holds another checkpoint than the one this process signed last: another process signs this \
         log; stop one of them and run: attestry-ledger fsck", path = path.display()
    )]
    Taken {
        /// Its file.
        path: PathBuf,
    },
}

/// A lock in a folder of its own, `<folder>/checkpoint`, for the processes of one machine.
///
/// The folder is owned by one process at a time, which lets go of it when it ends: between the
/// comparison and the replacement nobody else writes.
#[derive(Debug)]
pub(crate) struct FileLock {
    folder: Folder,
    _owned: Option<Ownership>,
}

impl FileLock {
    /// Makes the lock of a new log, without a checkpoint. One that an interrupted start has left is
    /// taken as it is.
    pub(crate) fn create(path: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { path: path.to_owned(), source };
        Folder::make_private(path).map_err(failed)?;
        let lock = Self::owned(path)?;
        match lock.read()? {
            None => lock.folder.replace(LOCK_FILE, &[]).map_err(failed)?,
            Some(note) if note.is_empty() => {}
            Some(_) => return Err(LockError::Held { path: lock.place() }),
        }
        Ok(lock)
    }

    /// Takes up the lock of a log that has begun.
    pub(crate) fn open(path: &Path) -> Result<Self, LockError> {
        let file = path.join(LOCK_FILE);
        if !file.exists() {
            return Err(LockError::Missing { path: file });
        }
        let lock = Self::owned(path)?;
        let removed = lock.folder.remove_temporary();
        removed.map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(lock)
    }

    /// A lock to be read only.
    pub(crate) fn look(path: &Path) -> Result<Self, LockError> {
        let folder = Folder::open(path).map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(Self { folder, _owned: None })
    }

    fn owned(path: &Path) -> Result<Self, LockError> {
        let owned = Ownership::take(path).map_err(LockError::Ownership)?;
        let lock = Self { _owned: Some(owned), ..Self::look(path)? };
        // A process that was killed may have named a checkpoint and not synced the name.
        lock.folder.sync().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(lock)
    }

    fn read(&self) -> Result<Option<Vec<u8>>, LockError> {
        self.folder.read(LOCK_FILE).map_err(|source| LockError::Io { path: self.place(), source })
    }
}

impl CheckpointLock for FileLock {
    fn load(&self) -> Result<Vec<u8>, LockError> {
        self.read()?.ok_or_else(|| LockError::Missing { path: self.place() })
    }

    fn swap(&self, expected: &[u8], new: &[u8]) -> Result<(), LockError> {
        if self.load()? != expected {
            return Err(LockError::Taken { path: self.place() });
        }
        self.folder.replace(LOCK_FILE, new).map_err(|source| LockError::Io { path: self.place(), source })
    }

    fn place(&self) -> PathBuf {
        self.folder.file(LOCK_FILE)
    }
}

/// The lock's file in its folder.
pub(crate) const LOCK_FILE: &str = "checkpoint";

/// The lock's folder in the data directory, unless told otherwise.
pub(crate) const LOCK_FOLDER: &str = "lock";

#[cfg(test)]
mod tests;
