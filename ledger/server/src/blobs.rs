//! Large evidence by its SHA-256: boot logs, measurement lists, policies, certificates.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use messages::Digest;

use crate::folder::Folder;

/// The blob store, `blobs/<first two digits>/<digest>`.
#[derive(Debug)]
pub(crate) struct Blobs {
    folder: Folder,
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
        Self { folder, made: Mutex::default() }
    }

    /// Stores bytes durably under their digest. A damaged file of that name is replaced.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let name = digest.to_string();
        let folder = self.make(prefix(&name))?;
        match self.get(digest) {
            // Its name may be newer than the last sync of the folder.
            Ok(Some(_)) => folder.sync(),
            Ok(None) | Err(_) => folder.replace(&name, bytes),
        }
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
        let name = digest.to_string();
        let path = self.folder.file(&prefix(&name)).join(&name);
        let bytes = match std::fs::read(path) {
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

/// The folder of a blob's file: 256 folders keep each below a million files for a long time.
fn prefix(name: &str) -> String {
    name.chars().take(2).collect()
}
