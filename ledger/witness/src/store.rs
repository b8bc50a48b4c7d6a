//! What was cosigned last, one file for each log, durable before anybody learns of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ledger_tlog::hash::Hash;
use ledger_tlog::key::NoteVerifier;
use rustix::fs::{FlockOperation, flock};

use crate::decision::{RecordFlaw, Recorded};

#[cfg(test)]
pub(crate) mod faults;

/// The records of one witness. While it lives, no other process has them.
#[derive(Debug)]
pub(crate) struct Store {
    /// Held open from before anything is written: a dropped inode would take a write-back error
    /// with it.
    handle: File,
    _lock: File,
    path: PathBuf,
}

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record is not what this witness wrote.
    #[error(
        "{path} is damaged; restore this file from the machine it was lost on, never from an older copy, or retire \
         the witness's key: a witness that has forgotten can be made to cosign a second history", path = path.display()
    )]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        source: RecordFlaw,
    },
    /// The system refused something.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder of records is gone.
    #[error(
        "{path} is missing; make a witness with: attestry-witness keygen. If there was one here, retire its key: a \
         witness that has forgotten can be made to cosign a second history", path = path.display()
    )]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works there.
    #[error("{folder} is in use by another witness process; stop it first", folder = folder.display())]
    Taken {
        /// The data directory.
        folder: PathBuf,
    },
}

impl Store {
    /// Takes the records in the folder `data` for this process alone.
    pub(crate) fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join(RECORDS_FOLDER);
        if !path.is_dir() {
            return Err(StoreError::Missing { path });
        }
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { operation, path, source }
        };
        let lock_path = data.join(LOCK_FILE);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Taken { folder: data.to_owned() }),
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        let handle = File::open(&path).map_err(failed("open", &path))?;
        // Nobody was answered before a record had its name.
        for entry in fs::read_dir(&path).map_err(failed("list", &path))? {
            let entry = entry.map_err(failed("list", &path))?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        // A process that was killed may have named a record and not synced the name: from here on
        // that record is shown to everyone and must not be forgotten.
        sync_folder(&handle).map_err(failed("sync", &path))?;
        Ok(Self { handle, _lock: lock, path })
    }

    /// What was cosigned last for a log; `None` if nothing was.
    pub(crate) fn load(&self, origin: &str, witness: &NoteVerifier) -> Result<Option<Recorded>, StoreError> {
        let path = self.path.join(name(origin));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { operation: "read", path, source }),
        };
        match Recorded::parse(&bytes, witness, origin) {
            Ok(recorded) => Ok(Some(recorded)),
            Err(source) => Err(StoreError::Damaged { path, source }),
        }
    }

    /// Replaces a log's record, durably. After an error the old record may be there or the new
    /// one, and the disk is not to be trusted.
    pub(crate) fn save(&self, origin: &str, recorded: &Recorded) -> io::Result<()> {
        rename_into(&self.path, &name(origin), &recorded.note().to_bytes())?;
        sync_folder(&self.handle)
    }
}

/// The name under which a log's latest checkpoint is stored and served: SHA-256 of its origin in
/// hexadecimal.
pub(crate) fn name(origin: &str) -> String {
    Hash::digest(origin.as_bytes()).to_string()
}

/// Gives a file in `folder` this content, at once and durably.
pub(crate) fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    rename_into(folder, name, content)?;
    sync(folder)
}

/// Makes the names in a folder durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    sync_folder(&File::open(folder)?)
}

fn sync_folder(handle: &File) -> io::Result<()> {
    #[cfg(test)]
    faults::before(faults::Step::SyncFolder)?;
    handle.sync_all()
}

/// Writers of one name take turns, so the temporary name needs no chance in it.
fn rename_into(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{TEMPORARY_PREFIX}{name}"));
    #[cfg(test)]
    faults::before(faults::Step::Create)?;
    let mut file = File::create(&temporary)?;
    #[cfg(test)]
    faults::before(faults::Step::Write(content))?;
    file.write_all(content)?;
    #[cfg(test)]
    faults::before(faults::Step::Sync)?;
    file.sync_all()?;
    #[cfg(test)]
    faults::before(faults::Step::Rename)?;
    fs::rename(&temporary, folder.join(name))
}

/// The folder of the records, in the data directory.
pub(crate) const RECORDS_FOLDER: &str = "checkpoints";

/// Carries the lock.
const LOCK_FILE: &str = "lock";

/// How the names of files begin that are not finished.
const TEMPORARY_PREFIX: &str = ".tmp-";
