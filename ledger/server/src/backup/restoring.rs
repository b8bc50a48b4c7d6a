//! Makes a log of a copy again, if that does not make a second history.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger_tlog::hash::Hash;
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::tree::TreeHead;
use serde::Serialize;

use super::copying::Copying;
use super::{
    BLOBS, BackupError, CHECKPOINTS, LEVELS, MANIFEST_FILE, Manifest, SEGMENTS, io_error, open, root_of, sync_names,
};
use crate::checkpoints::{Checkpoints, PUBLIC_FILE, open_note};
use crate::folder::Folder;
use crate::histories::HISTORIES_FOLDER;
use crate::identity::{Identity, IdentityError, KEY_FILE, load_verifier};
use crate::levels::{Levels, level_bytes};
use crate::lock::{CheckpointLock, FileLock, LOCK_FOLDER, LockError};
use crate::pruned::{PRUNED_FOLDER, first_of_any};
use crate::segment::{Segments, name};
use crate::stamps::STAMPS_FOLDER;
use crate::witnessing::{WitnessesRefuse, Witnessing};
use crate::{NoteFlaw, WitnessConfig};

/// What is to be restored, and who is asked whether it may be.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// Make a new lock, since the old one is lost as well. Whatever was signed after the copy was
    /// made is then signed a second time, and the log has two histories.
    pub danger_new_lock: bool,
    /// The copy.
    pub from: PathBuf,
    /// The folder of the keys that sign, if the copy was made without.
    pub keys: Option<PathBuf>,
    /// The folder of the lock; `lock` in the new data directory if `None`.
    pub lock: Option<PathBuf>,
    /// The new data directory: empty or not there.
    pub to: PathBuf,
    /// Witnesses that know what was signed.
    pub witnesses: Option<WitnessConfig>,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// Bytes written.
    pub bytes: u64,
    /// The log's name.
    pub origin: String,
    /// Entries of the log, all that was ever signed.
    pub tree_size: u64,
}

/// Why nothing was restored. The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The copy's hashes are not those that were signed.
    #[error(
        "the copy's first {size} entries have the root {found}, but {signed} was signed; run: attestry-ledger fsck"
    )]
    Altered {
        /// Entries.
        size: u64,
        /// The root signed.
        signed: Hash,
        /// The root found.
        found: Hash,
    },
    /// Something could not be copied.
    #[error("the copy cannot be restored")]
    Copy(#[source] BackupError),
    /// The copy's key is not usable.
    #[error("the copy's verifier key is not usable")]
    Identity(#[source] IdentityError),
    /// The copy has no keys, and none were named.
    #[error("the copy {path} has no keys; name the folder that has them", path = path.display())]
    KeysMissing {
        /// The copy.
        path: PathBuf,
    },
    /// The keys cannot sign for this log.
    #[error("the keys cannot sign for this log")]
    Keys(#[source] IdentityError),
    /// The lock is not there or not usable.
    #[error("the lock does not say what was signed last")]
    Lock(#[source] LockError),
    /// The lock knows of more than the copy holds.
    #[error(
        "the lock {path} says that {signed} entries were signed, the copy holds {found}: a log restored from it would \
         have two histories. Restore a newer copy or a mirror's entries; if all are lost, this log has ended: begin a \
         new one under another origin", path = path.display()
    )]
    LockAhead {
        /// Its file.
        path: PathBuf,
        /// Entries signed.
        signed: u64,
        /// Entries in the copy.
        found: u64,
    },
    /// The lock knows of less than the copy, which is signed: it is no lock of this log's present.
    #[error("the lock {path} is an old copy: it says {signed}, but {found} entries were signed; restore the newer lock", path = path.display())]
    LockBehind {
        /// Its file.
        path: PathBuf,
        /// Entries by the lock.
        signed: u64,
        /// Entries in the copy.
        found: u64,
    },
    /// The lock holds another root for the same entries.
    #[error("the lock {path} holds another root for the {size} entries of the copy: the log has two histories", path = path.display())]
    LockOther {
        /// Its file.
        path: PathBuf,
        /// Entries.
        size: u64,
    },
    /// A note is not this log's.
    #[error("{path} is no checkpoint of this log", path = path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteFlaw,
    },
    /// The folder holds no complete copy.
    #[error("{path} holds no complete copy of a log", path = path.display())]
    NotACopy {
        /// The folder.
        path: PathBuf,
    },
    /// The target has something in it.
    #[error("{path} is not empty; name a folder that is", path = path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// A witness knows of more, or of another history, or none answers.
    #[error("the witnesses do not agree to this copy")]
    Witnesses(#[source] WitnessesRefuse),
}

/// Makes the data directory of a log from a copy that holds everything that was ever signed.
///
/// Checks, in this order: the copy is complete and its hashes are those signed; the lock holds the
/// very checkpoint of the copy; no witness has cosigned more. Then everything is copied, and appears
/// under its name at once. Blocks; not for use inside a runtime.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(request: &RestoreRequest) -> Result<RestoreReport, RestoreError> {
    let from = open(&request.from).map_err(RestoreError::Copy)?;
    let not_a_copy = || RestoreError::NotACopy { path: request.from.clone() };
    let manifest = from.read(MANIFEST_FILE).map_err(failed("read", &from.file(MANIFEST_FILE)))?;
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    let manifest =
        manifest.filter(|manifest| manifest.version == 1 && manifest.tree_size > 0).ok_or_else(not_a_copy)?;
    if request.to.exists() && fs::read_dir(&request.to).is_ok_and(|mut names| names.next().is_some()) {
        return Err(RestoreError::NotEmpty { path: request.to.clone() });
    }
    if request.keys.is_none() && !from.file(KEY_FILE).exists() {
        return Err(RestoreError::KeysMissing { path: request.from.clone() });
    }
    let key = load_verifier(from.path()).map_err(RestoreError::Identity)?;
    let (note, head) = signed(&from, &manifest, &key)?;
    let lock = lock(request, head, &key)?;
    if let Some(witnesses) = &request.witnesses {
        let levels = Levels::open(from.file(LEVELS)).map_err(failed("open", &from.file(LEVELS)))?;
        let asked = Witnessing::begin(Some(witnesses), &key, Some((head, &note)), &Arc::new(levels));
        asked.map_err(RestoreError::Witnesses)?;
    }
    let bytes = put(&from, request, &manifest, &note)?;
    if lock.is_none() {
        let path = request.lock.clone().unwrap_or_else(|| request.to.join(LOCK_FOLDER));
        tracing::error!(path = %path.display(), "a new lock is made; what was signed after this copy is signed again");
        let lock = FileLock::create(&path).map_err(RestoreError::Lock)?;
        lock.swap(&[], &note).map_err(RestoreError::Lock)?;
    }
    Ok(RestoreReport { bytes, origin: manifest.origin, tree_size: manifest.tree_size })
}

/// The copy's checkpoint, and that its hashes are those it signs.
fn signed(from: &Folder, manifest: &Manifest, key: &NoteVerifier) -> Result<(Vec<u8>, TreeHead), RestoreError> {
    let size = manifest.tree_size;
    let folder = open(&from.file(CHECKPOINTS)).map_err(RestoreError::Copy)?;
    let checkpoints = Checkpoints::open(folder).map_err(failed("list", &from.file(CHECKPOINTS)))?;
    let path = checkpoints.path(size);
    let note = checkpoints.read(size).map_err(failed("read", &path))?.unwrap_or_default();
    let opened = open_note(&note, key).map_err(|source| RestoreError::Note { path, source })?;
    let head = *opened.tree_head();
    let levels = from.file(LEVELS);
    let found = root_of(&levels, size).map_err(failed("read", &levels))?;
    if found != head.root || head.tree_size != size {
        return Err(RestoreError::Altered { size, signed: head.root, found });
    }
    Ok((note, head))
}

/// The lock, if it holds the very tree of the copy; `None` if a new one is to be made.
fn lock(request: &RestoreRequest, head: TreeHead, key: &NoteVerifier) -> Result<Option<FileLock>, RestoreError> {
    let path = request.lock.clone().unwrap_or_else(|| request.to.join(LOCK_FOLDER));
    let lock = match FileLock::open(&path) {
        Ok(lock) => lock,
        Err(LockError::Missing { .. }) if request.danger_new_lock => return Ok(None),
        Err(error) => return Err(RestoreError::Lock(error)),
    };
    let note = lock.load().map_err(RestoreError::Lock)?;
    let (path, found) = (lock.place(), head.tree_size);
    let held = open_note(&note, key).map_err(|source| RestoreError::Note { path: path.clone(), source })?;
    let TreeHead { tree_size: signed, root } = *held.tree_head();
    match signed.cmp(&found) {
        std::cmp::Ordering::Greater => Err(RestoreError::LockAhead { path, signed, found }),
        std::cmp::Ordering::Less => Err(RestoreError::LockBehind { path, signed, found }),
        std::cmp::Ordering::Equal if root != head.root => Err(RestoreError::LockOther { path, size: found }),
        std::cmp::Ordering::Equal => Ok(Some(lock)),
    }
}

/// Copies what the manifest says is complete into a folder beside the target, then gives it its name.
fn put(from: &Folder, request: &RestoreRequest, manifest: &Manifest, note: &[u8]) -> Result<u64, RestoreError> {
    let to = request.to.as_path();
    let unfinished = unfinished(to);
    let bytes = fill(from, &unfinished, manifest, note).map_err(RestoreError::Copy)?;
    if let Some(keys) = &request.keys {
        let (keys, target) = (open(keys).map_err(RestoreError::Copy)?, open(&unfinished).map_err(RestoreError::Copy)?);
        Copying::new(&keys, &target).private_keys().map_err(RestoreError::Copy)?;
    }
    // A log that cannot sign what it was restored for.
    Identity::load(&unfinished).map_err(RestoreError::Keys)?;
    fs::rename(&unfinished, to).map_err(failed("name", to))?;
    if let Some(parent) = to.parent() {
        sync_names(parent).map_err(failed("sync", parent))?;
    }
    Ok(bytes)
}

/// Where a log lies until it is whole.
fn unfinished(to: &Path) -> PathBuf {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".restoring");
    PathBuf::from(unfinished)
}

fn fill(from: &Folder, unfinished: &Path, manifest: &Manifest, note: &[u8]) -> Result<u64, BackupError> {
    match fs::remove_dir_all(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", unfinished)(error)),
        _ => {}
    }
    let target = Folder::make_private(unfinished).map_err(io_error("make", unfinished))?;
    let mut copying = Copying::new(from, &target);
    for folder in [BLOBS, CHECKPOINTS, LEVELS, SEGMENTS] {
        copying.folder(folder)?;
    }
    copying.keys(false)?;
    let segments = open(&from.file(SEGMENTS))?;
    let (firsts, _) = Segments::list(&segments).map_err(io_error("list", segments.path()))?;
    for first in firsts.into_iter().filter(|first| (manifest.first..=manifest.segment).contains(first)) {
        let relative = Path::new(SEGMENTS).join(name(first));
        if first == manifest.segment {
            copying.range(&relative, 0, manifest.segment_bytes)?;
        } else {
            copying.file(&relative)?;
        }
    }
    for level in 0..=u8::MAX {
        match level_bytes(level, manifest.tree_size) {
            0 => break,
            bytes => copying.range(&Path::new(LEVELS).join(level.to_string()), 0, bytes)?,
        }
    }
    let is_signed = |path: &Path| super::file_name(path).parse::<u64>().is_ok_and(|size| size <= manifest.tree_size);
    copying.tree(Path::new(CHECKPOINTS), &mut |path: &Path| path.is_dir() || is_signed(path))?;
    // An interrupted run may have left what a later prune knows.
    let is_complete = |path: &Path| first_of_any(&super::file_name(path)).is_none_or(|of| of == manifest.first);
    for folder in [BLOBS, STAMPS_FOLDER, PRUNED_FOLDER, HISTORIES_FOLDER] {
        if from.file(folder).exists() {
            copying.tree(Path::new(folder), &mut |path: &Path| is_complete(path))?;
        }
    }
    copying.sync()?;
    target.replace(PUBLIC_FILE, note).map_err(io_error("write", &target.file(PUBLIC_FILE)))?;
    Ok(copying.written().1)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let failed = io_error(operation, path);
    move |source| RestoreError::Copy(failed(source))
}
