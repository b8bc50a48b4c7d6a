//! Writing a bundle: beside its final place, then renamed as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ledger_tlog::proof::ConsistencyProof;
use messages::Digest;
use tempfile::TempDir;

use super::{
    CHECKPOINT, FOLDERS, MANIFEST, Manifest, STAMPS_FOLDER, beacon_path, blob_path, consistency_path, consistency_text,
    entry_path, proof_path, stamp_path, stamp_proof_path,
};

/// A bundle in the making; dropped unfinished it leaves nothing behind.
#[derive(Debug)]
pub struct BundleWriter {
    target: PathBuf,
    temporary: TempDir,
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The target is there already.
    #[error("{path} exists already; give a directory that does not exist yet", path = path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl BundleWriter {
    /// Begins a bundle that will stand at `target`.
    ///
    /// # Errors
    /// [`WriteError::Exists`] if there is something already; [`WriteError::Io`].
    pub fn begin(target: &Path) -> Result<Self, WriteError> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(WriteError::Exists { path: target.to_owned() });
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".attestry-bundle-")
            .tempdir_in(parent)
            .map_err(|source| WriteError::Io { path: parent.to_owned(), source })?;
        for folder in FOLDERS {
            let path = temporary.path().join(folder);
            fs::create_dir(&path).map_err(|source| WriteError::Io { path, source })?;
        }
        Ok(Self { target: target.to_owned(), temporary })
    }

    /// Writes an entry and its inclusion proof's text.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn entry(&self, index: u64, entry: &[u8], proof: &[u8]) -> Result<(), WriteError> {
        self.write(&entry_path(index), entry)?;
        self.write(&proof_path(index), proof)
    }

    /// Writes a blob under its name.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), WriteError> {
        self.write(&blob_path(digest), bytes)
    }

    /// Writes a beacon's note and the proof that the tree of `checkpoint` extends it.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn beacon(
        &self,
        size: u64,
        note: &[u8],
        proof: &ConsistencyProof,
        checkpoint: &[u8],
    ) -> Result<(), WriteError> {
        self.write(&beacon_path(size), note)?;
        self.write(&consistency_path(size), &consistency_text(size, proof, checkpoint))
    }

    /// Writes a `timestamp` entry and its inclusion proof's text, and the proof that the tree of `checkpoint` extends
    /// that of `size`, which was stamped.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn stamp(
        &self,
        (index, entry): (u64, &[u8]),
        inclusion: &[u8],
        (size, consistency): (u64, &ConsistencyProof),
        checkpoint: &[u8],
    ) -> Result<(), WriteError> {
        let path = self.temporary.path().join(STAMPS_FOLDER);
        fs::create_dir_all(&path).map_err(|source| WriteError::Io { path, source })?;
        self.write(&stamp_path(index), entry)?;
        self.write(&stamp_proof_path(index), inclusion)?;
        self.write(&consistency_path(size), &consistency_text(size, consistency, checkpoint))
    }

    /// Writes checkpoint and index, and moves the bundle to its place.
    ///
    /// # Errors
    /// [`WriteError::Io`]; [`WriteError::Exists`] if the place was taken meanwhile.
    pub fn finish(self, checkpoint: &[u8], manifest: &Manifest) -> Result<(), WriteError> {
        self.write(CHECKPOINT, checkpoint)?;
        self.write(MANIFEST, &manifest.encode())?;
        if fs::symlink_metadata(&self.target).is_ok() {
            return Err(WriteError::Exists { path: self.target });
        }
        make_readable(self.temporary.path())?;
        fs::rename(self.temporary.path(), &self.target)
            .map_err(|source| WriteError::Io { path: self.target.clone(), source })?;
        // Nothing is left under the temporary name.
        let _moved = self.temporary.keep();
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.temporary.path().join(name);
        fs::write(&path, bytes).map_err(|source| WriteError::Io { path, source })
    }
}

/// A temporary folder is its maker's alone; a bundle holds nothing secret and is handed on.
fn make_readable(folder: &Path) -> Result<(), WriteError> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.to_owned();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(|source| WriteError::Io { path, source })
}
