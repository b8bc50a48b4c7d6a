//! Large evidence by its SHA-256: boot logs, measurement lists, policies, certificates.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use messages::Digest;

use crate::disk;
use crate::folder::Folder;

/// The blob store, `blobs/<first two digits>/<digest>`.
#[derive(Debug)]
pub(crate) struct Blobs {
    /// Bytes of all of them, once they were counted.
    bytes: OnceLock<AtomicU64>,
    folder: Folder,
    /// Held while a blob is removed, or is found to be there and shall stay.
    turn: Mutex<()>,
    /// Folders in it whose names this process knows to be durable; at most 256.
    made: Mutex<BTreeSet<String>>,
}

/// Why a blob was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// The file holds other bytes than it was given.
    #[error("blob {expected} has the digest {found}: its file is damaged; restore it from a copy")]
    Damaged { expected: Digest, found: Digest },
    /// The file could not be read.
    #[error("blob {digest} cannot be read")]
    Io { digest: Digest, source: io::Error },
}

impl Blobs {
    pub(crate) fn new(folder: Folder) -> Self {
        Self { bytes: OnceLock::new(), folder, turn: Mutex::default(), made: Mutex::default() }
    }

    /// Stores bytes durably under their digest. A damaged file of that name is replaced. One that is
    /// there counts as new: it is not pruned before the entry that is to name it.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let name = digest.to_string();
        let folder = self.make(prefix(&name))?;
        self.renew(digest)?;
        match self.get(digest) {
            // Its name may be newer than the last sync of the folder.
            Ok(Some(_)) => folder.sync(),
            Ok(None) | Err(_) => {
                folder.replace(&name, bytes)?;
                if let Some(total) = self.bytes.get() {
                    total.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                Ok(())
            }
        }
    }

    /// Bytes of all blobs, once [`Blobs::count`] has been through them.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.bytes.get().map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// Adds up the bytes of all blobs. One that comes meanwhile may count twice.
    pub(crate) fn count(&self) -> io::Result<()> {
        let mut total = 0;
        for prefix in self.folder.names()? {
            for entry in std::fs::read_dir(self.folder.file(&prefix))? {
                total += entry?.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        let _ = self.bytes.set(AtomicU64::new(total));
        Ok(())
    }

    /// Removes a blob that came, or came again, more than `grace` ago; false if there is none.
    pub(crate) fn remove_older(&self, digest: &Digest, grace: Duration) -> io::Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(digest);
        let (came, bytes) = match path.metadata() {
            Ok(metadata) => (metadata.modified()?, metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // A clock that went back makes everything new.
        if SystemTime::now().duration_since(came).is_ok_and(|age| age >= grace) {
            disk::remove(&path)?;
            if let Some(total) = self.bytes.get() {
                total.fetch_sub(bytes, Ordering::Relaxed);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Gives a blob that is there today's date, if it has an old one.
    fn renew(&self, digest: &Digest) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(digest);
        let Ok(came) = path.metadata().and_then(|metadata| metadata.modified()) else {
            return Ok(());
        };
        if SystemTime::now().duration_since(came).is_ok_and(|age| age < RENEW_AFTER) {
            return Ok(());
        }
        let file = File::options().write(true).open(&path)?;
        file.set_modified(SystemTime::now())?;
        file.sync_all()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.file(&prefix(&name)).join(name)
    }

    /// A folder of blobs. One that another thread has just made is synced as well: who uses it must
    /// not be done before its name is durable.
    fn make(&self, prefix: String) -> io::Result<Folder> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.contains(&prefix) {
            return Folder::open(self.folder.file(&prefix));
        }
        let folder = self.folder.make(&prefix)?;
        made.insert(prefix);
        Ok(folder)
    }

    /// The bytes of a blob; `None` if there is none.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let bytes = match std::fs::read(self.path(digest)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BlobError::Io { digest: *digest, source }),
        };
        let found = Digest(openssl::sha::sha256(&bytes));
        if found == *digest { Ok(Some(bytes)) } else { Err(BlobError::Damaged { expected: *digest, found }) }
    }

    /// Paths below the store's folder, of every file.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for prefix in self.folder.names()? {
            let inner = Folder::open(self.folder.file(&prefix))?;
            names.extend(inner.names()?.into_iter().map(|name| format!("{prefix}/{name}")));
        }
        Ok(names)
    }

    /// Removes what an interrupted upload has left.
    pub(crate) fn remove_temporary(&self) -> io::Result<()> {
        for prefix in self.folder.names()? {
            Folder::open(self.folder.file(&prefix))?.remove_temporary()?;
        }
        Ok(())
    }
}

/// A fraction of the time for which a blob that came again is not pruned.
const RENEW_AFTER: Duration = Duration::from_secs(60 * 60);

/// The folder of a blob's file: 256 folders keep each below a million files for a long time.
fn prefix(name: &str) -> String {
    name.chars().take(2).collect()
}
