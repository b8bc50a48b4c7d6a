//! Reading a bundle's files: bounded, regular files only.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use ledger_tlog::{note::NOTE_BYTES_MAX, tlog_proof::TLOG_PROOF_BYTES_MAX};
use messages::ledger::{BLOB_BYTES_MAX, ENTRY_BYTES_MAX};

use super::{
    CHECKPOINT, FOLDERS, MANIFEST, Manifest, ManifestRejected, STAMPS_FOLDER, beacon_path, blob_path, consistency_path,
    entry_path, proof_path, stamp_path, stamp_proof_path,
};

/// Most bytes of a manifest: one entry takes about 90, so this is the index of 5 million entries,
/// a quote and a verdict every 12 seconds for a year.
const MANIFEST_BYTES_MAX: usize = 512 << 20;

/// A bundle whose index has been read.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
    manifest: Manifest,
}

/// Why a bundle cannot be looked into at all.
#[derive(Debug, thiserror::Error)]
pub enum BundleUnreadable {
    /// No folder, or no index in it.
    #[error("cannot read {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The index is none.
    #[error("{path} is not used", path = path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ManifestRejected,
    },
}

/// What is wrong with the files of a bundle.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Listed but not there.
    #[error("the file is listed in the manifest but is not there")]
    Missing,
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// More bytes than any such file has.
    #[error("the file has more than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// There but not listed, or not a regular file.
    #[error("the manifest does not list this file")]
    Unknown,
}

impl Bundle {
    /// Reads the index of the bundle in `folder`.
    ///
    /// # Errors
    /// [`BundleUnreadable`].
    pub fn open(folder: &Path) -> Result<Self, BundleUnreadable> {
        let path = folder.join(MANIFEST);
        let bytes = read_at_most(&path, MANIFEST_BYTES_MAX)
            .map_err(|source| BundleUnreadable::File { path: path.clone(), source })?;
        let manifest = Manifest::decode(&bytes).map_err(|source| BundleUnreadable::Manifest { path, source })?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// What the bundle says it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a file of the bundle.
    ///
    /// # Errors
    /// [`FileProblem`], never `Unknown`.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, FileProblem> {
        let max = bytes_max(name);
        read_at_most(&self.folder.join(name), max).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FileProblem::Missing,
            io::ErrorKind::FileTooLarge => FileProblem::TooLong { max },
            _ => FileProblem::Unreadable(source),
        })
    }

    /// Paths the index asks for, ascending.
    #[must_use]
    pub fn listed(&self) -> BTreeSet<String> {
        let manifest = &self.manifest;
        let mut names = BTreeSet::from([MANIFEST.to_owned(), CHECKPOINT.to_owned()]);
        names.extend(manifest.entries.iter().map(|entry| entry_path(entry.index)));
        names.extend(manifest.entries.iter().map(|entry| proof_path(entry.index)));
        names.extend(manifest.blobs.iter().map(blob_path));
        names.extend(manifest.checkpoints.iter().map(|size| beacon_path(*size)));
        names.extend(manifest.checkpoints.iter().map(|size| consistency_path(*size)));
        for stamp in &manifest.timestamps {
            names.extend([stamp_path(stamp.index), stamp_proof_path(stamp.index), consistency_path(stamp.tree_size)]);
        }
        names
    }

    /// Paths that are there, ascending; what is neither a regular file nor one of the known
    /// folders is listed too, so that it is noticed.
    ///
    /// # Errors
    /// The folder that could not be read.
    pub fn present(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let known = FOLDERS.contains(&name.as_str()) || name == STAMPS_FOLDER;
            if !entry.file_type()?.is_dir() || !known {
                names.insert(mark(&entry, name)?);
                continue;
            }
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                let path = format!("{name}/{}", inner.file_name().to_string_lossy());
                names.insert(mark(&inner, path)?);
            }
        }
        Ok(names)
    }
}

/// The name, made one that no index lists unless it is a regular file.
fn mark(entry: &fs::DirEntry, name: String) -> io::Result<String> {
    Ok(if entry.file_type()?.is_file() { name } else { format!("{name} (not a regular file)") })
}

fn bytes_max(name: &str) -> usize {
    match name.split_once('/').map_or(name, |(folder, _)| folder) {
        "blobs" => BLOB_BYTES_MAX,
        "checkpoints" | CHECKPOINT => NOTE_BYTES_MAX,
        "entries" => ENTRY_BYTES_MAX,
        "consistency" | "proofs" | STAMPS_FOLDER => TLOG_PROOF_BYTES_MAX,
        _ => MANIFEST_BYTES_MAX,
    }
}

fn read_at_most(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    // A link could lead out of the bundle, a device could hold the reader up.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
