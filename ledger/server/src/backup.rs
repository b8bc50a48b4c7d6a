//! Copies of a log that is running: everything under one signed checkpoint, brought up to date by
//! copying only what is new. Source: `docs/operating-the-ledger.md`.
//!
//! `backup.json` in the copy says what is complete. It is written last; whatever else lies in the
//! copy after an interruption is not believed and is written again.

mod copying;
mod restoring;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ledger_protocol::body::{Body, TimestampBody};
use ledger_protocol::{Entry, Kind};
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeHead;
use messages::Digest;
use serde::{Deserialize, Serialize};

use self::copying::{Copying, private_key_in};
pub use self::restoring::{RestoreError, RestoreReport, RestoreRequest, restore};
use crate::NoteFlaw;
use crate::checkpoints::{PUBLIC_FILE, open_note};
use crate::folder::Folder;
use crate::histories::{HistoriesError, base};
use crate::identity::{IdentityError, load_verifier, origin_digest};
use crate::levels::level_bytes;
use crate::ownership::{Ownership, OwnershipError};
use crate::pruned::{PRUNED_FOLDER, Pruned, PrunedError, histories_name, kept_name, state_name};
use crate::segment::{BatchFlaw, BatchReader, HEADER_BYTES, Segments, header, name};
use crate::stamps::{LOGGED, STAMPS_FOLDER, logged};

/// What was copied.
#[derive(Clone, Debug, Serialize)]
pub struct BackupReport {
    /// Bytes written; what was there already does not count.
    pub bytes: u64,
    /// Files written or continued.
    pub files: u64,
    /// The log's name.
    pub origin: String,
    /// Entries in the copy, all under its checkpoint.
    pub tree_size: u64,
}

/// Why a copy was not made or brought up to date. What it had before can still be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A batch below the checkpoint is not what was written.
    #[error("{path} is damaged at byte {offset}; run: attestry-ledger fsck", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        source: BatchFlaw,
    },
    /// What the histories of a pruned log go back to is not usable.
    #[error("the log was pruned, and what its histories go back to is not usable")]
    Histories(#[source] HistoriesError),
    /// A copy without keys was asked for, and there are keys in it.
    #[error("the copy has the key {path}; name another folder, or remove it", path = path.display())]
    HoldsKeys {
        /// The first of them.
        path: PathBuf,
    },
    /// The log's verifier key cannot be read.
    #[error("the log's verifier key is not usable")]
    Identity(#[source] IdentityError),
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
    /// Entries below the checkpoint are not there.
    #[error("the segments end with entry {found}, the checkpoint covers {tree_size}; run: attestry-ledger fsck")]
    Missing {
        /// Entries found.
        found: u64,
        /// Entries signed.
        tree_size: u64,
    },
    /// The copy holds more than the log has signed: the log is the older of the two.
    #[error("{path} holds {found} entries, this log has signed {tree_size}; this log is an old copy", path = path.display())]
    Newer {
        /// The copy.
        path: PathBuf,
        /// Its entries.
        found: u64,
        /// The log's.
        tree_size: u64,
    },
    /// Nothing was signed yet.
    #[error("{path} holds no log with a checkpoint", path = path.display())]
    NoCheckpoint {
        /// The data directory.
        path: PathBuf,
    },
    /// The folder for the copy has something else in it.
    #[error("{path} is neither empty nor a copy of this log; name a folder of its own", path = path.display())]
    NotACopy {
        /// The folder.
        path: PathBuf,
    },
    /// A checkpoint is not this log's.
    #[error("{path} is no checkpoint of this log", path = path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteFlaw,
    },
    /// Another process writes the copy.
    #[error("the copy is not available")]
    Ownership(#[source] OwnershipError),
    /// What is known of pruned entries is not usable.
    #[error("the log was pruned, and what must be known of its older entries is not usable")]
    Pruned(#[source] PrunedError),
}

/// What of a copy is complete.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    origin: String,
    vkey: String,
    /// Entries, all of them under the checkpoint of this size; 0 before the first copy is complete.
    tree_size: u64,
    /// First entry that has its body.
    first: u64,
    /// First index of the last segment.
    segment: u64,
    /// Its bytes.
    segment_bytes: u64,
}

/// Copies the log in `data`, up to its public checkpoint, into the folder `to`, or brings an
/// earlier copy up to date.
///
/// The log may be running. The signing keys are part of the copy: it is to be guarded as the log
/// is ([`backup_without_keys`] leaves them out). The bytes are on the disk when this returns.
///
/// # Errors
/// [`BackupError`].
pub fn backup(data: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    backup_with(data, to, false)
}

/// As [`backup`], without the keys that sign: the copy proves and shows everything, and is made a log again
/// with keys from elsewhere ([`RestoreRequest::keys`]).
///
/// # Errors
/// [`BackupError`]; [`BackupError::HoldsKeys`] if an earlier run has put keys there.
pub fn backup_without_keys(data: &Path, to: &Path) -> Result<BackupReport, BackupError> {
    backup_with(data, to, true)
}

fn backup_with(data: &Path, to: &Path, without_keys: bool) -> Result<BackupReport, BackupError> {
    let root = open(data)?;
    let mut attempts = 1;
    loop {
        let before = Pruned::load(&root).map_err(BackupError::Pruned)?.map(|(pruned, _)| pruned.first);
        let copied = copy(&root, to, before.unwrap_or(0), without_keys);
        let after = Pruned::load(&root).map_err(BackupError::Pruned)?.map(|(pruned, _)| pruned.first);
        // Segments that were pruned meanwhile are not missing.
        if copied.is_ok() || before == after || attempts == ATTEMPTS {
            return copied;
        }
        attempts += 1;
    }
}

/// Whether a folder is a copy that this module made.
pub(crate) fn is_backup(root: &Folder) -> bool {
    root.file(MANIFEST_FILE).exists()
}

fn copy(root: &Folder, to: &Path, first: u64, without_keys: bool) -> Result<BackupReport, BackupError> {
    let key = load_verifier(root.path()).map_err(BackupError::Identity)?;
    let note = root.read(PUBLIC_FILE).map_err(io_error("read", &root.file(PUBLIC_FILE)))?;
    let note = note.ok_or_else(|| BackupError::NoCheckpoint { path: root.path().to_owned() })?;
    let opened = open_note(&note, &key);
    let opened = opened.map_err(|source| BackupError::Note { path: root.file(PUBLIC_FILE), source })?;
    let TreeHead { tree_size, .. } = *opened.tree_head();
    let target = Folder::make_private(to).map_err(io_error("make", to))?;
    let before = begin(&target, key.name().as_str(), &key.to_string())?;
    let _ownership = Ownership::take(to).map_err(BackupError::Ownership)?;
    if before.tree_size > tree_size {
        return Err(BackupError::Newer { path: to.to_owned(), found: before.tree_size, tree_size });
    }
    if let Some(path) = private_key_in(&target)?.filter(|_| without_keys) {
        return Err(BackupError::HoldsKeys { path });
    }
    let mut copying = Copying::new(root, &target);
    for folder in [BLOBS, CHECKPOINTS, LEVELS, SEGMENTS] {
        copying.folder(folder)?;
    }
    copying.keys(without_keys)?;
    if first > 0 {
        for name in [kept_name(first), state_name(first), histories_name(first)] {
            copying.file(&Path::new(PRUNED_FOLDER).join(name))?;
        }
        histories(&mut copying, root, &target, before.first, first)?;
    }
    let (segment, segment_bytes, tokens) = segments(&mut copying, &before, first, tree_size)?;
    for level in 0..=u8::MAX {
        let bytes = level_bytes(level, tree_size);
        if bytes == 0 {
            break;
        }
        let known = level_bytes(level, before.tree_size);
        copying.range(&Path::new(LEVELS).join(level.to_string()), known, bytes)?;
    }
    let is_signed = |name: &str| name.parse::<u64>().is_ok_and(|size| size <= tree_size);
    copying.tree(Path::new(CHECKPOINTS), &mut |path: &Path| path.is_dir() || is_signed(&file_name(path)))?;
    copying.tree(Path::new(BLOBS), &mut |_: &Path| true)?;
    if root.file(STAMPS_FOLDER).exists() {
        copying.tree(Path::new(STAMPS_FOLDER), &mut |path: &Path| match path.is_dir() {
            true => is_signed(&file_name(path)),
            false => !file_name(path).ends_with(LOGGED) || tokens.iter().any(|token| is_of(path, token)),
        })?;
    }
    copying.sync()?;
    target.replace(PUBLIC_FILE, &note).map_err(io_error("write", &target.file(PUBLIC_FILE)))?;
    let (origin, vkey) = (key.name().to_string(), key.to_string());
    let manifest = Manifest { version: 1, origin: origin.clone(), vkey, tree_size, first, segment, segment_bytes };
    manifest.write(&target)?;
    // Until here the copy was the earlier one, which needs them.
    if first > 0 {
        copying.forget_pruned(first)?;
    }
    let (files, bytes) = copying.written();
    Ok(BackupReport { bytes, files, origin, tree_size })
}

/// Copies of a pruned log's histories what no entry can make anew. The copy has that of an earlier prune.
fn histories(
    copying: &mut Copying<'_>,
    root: &Folder,
    target: &Folder,
    before: u64,
    first: u64,
) -> Result<(), BackupError> {
    let known: BTreeMap<PathBuf, u64> =
        base::extents(target, before).map_err(BackupError::Histories)?.into_iter().collect();
    for (relative, bytes) in base::extents(root, first).map_err(BackupError::Histories)? {
        if let Some(parent) = relative.parent() {
            copying.folder(parent)?;
        }
        copying.range(&relative, known.get(&relative).copied().unwrap_or(0).min(bytes), bytes)?;
    }
    Ok(())
}

/// What the copy has; an empty folder becomes a copy that has nothing.
fn begin(target: &Folder, origin: &str, vkey: &str) -> Result<Manifest, BackupError> {
    let not_a_copy = || BackupError::NotACopy { path: target.path().to_owned() };
    let found = target.read(MANIFEST_FILE).map_err(io_error("read", &target.file(MANIFEST_FILE)))?;
    if let Some(bytes) = found {
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|_| not_a_copy())?;
        return if manifest.version == 1 && manifest.vkey == vkey { Ok(manifest) } else { Err(not_a_copy()) };
    }
    if !target.names().map_err(io_error("list", target.path()))?.is_empty() {
        return Err(not_a_copy());
    }
    let (origin, vkey) = (origin.to_owned(), vkey.to_owned());
    let manifest = Manifest { version: 1, origin, vkey, tree_size: 0, first: 0, segment: 0, segment_bytes: 0 };
    manifest.write(target)?;
    Ok(manifest)
}

/// Copies what is new in the segments, batch by batch with its checksum; returns the last one, its
/// bytes under the checkpoint, and the tokens that the new entries name.
fn segments(
    copying: &mut Copying<'_>,
    before: &Manifest,
    base: u64,
    tree_size: u64,
) -> Result<(u64, u64, BTreeSet<Digest>), BackupError> {
    let path = copying.source(Path::new(SEGMENTS));
    let folder = open(&path)?;
    let (firsts, _) = Segments::list(&folder).map_err(io_error("list", &path))?;
    let origin = origin_digest(&before.origin);
    let mut tokens = BTreeSet::new();
    let (mut next, mut last) = (base, (base, 0));
    for first in firsts.into_iter().filter(|first| (base..tree_size).contains(first)) {
        if first != next {
            break;
        }
        let (file, relative) = (folder.file(&name(first)), Path::new(SEGMENTS).join(name(first)));
        let damaged = |offset, source| BackupError::Damaged { path: file.clone(), offset, source };
        let mut reader = BatchReader::open(&file, first, &header(first, &origin)).map_err(|flaw| damaged(0, flaw))?;
        let mut known = 0;
        if first == before.segment && before.tree_size > first {
            known = before.segment_bytes;
            reader.skip_to(before.tree_size, known).map_err(|flaw| damaged(known, flaw))?;
        } else if first < before.segment && copying.is_copied(&relative)? {
            // Copied and complete: where the next one begins is known without reading.
            next = following(&folder, first)?.unwrap_or(first);
            continue;
        }
        while reader.next_index() < tree_size {
            let offset = reader.offset();
            let Some(batch) = reader.next().map_err(|flaw| damaged(offset, flaw))? else { break };
            tokens.extend(batch.entries().filter_map(|(_, entry)| token(entry)));
        }
        let bytes = reader.offset().max(HEADER_BYTES);
        copying.range(&relative, known, bytes)?;
        (next, last) = (reader.next_index(), (first, bytes));
    }
    if next != tree_size {
        return Err(BackupError::Missing { found: next, tree_size });
    }
    Ok((last.0, last.1, tokens))
}

/// First index of the segment after the one that begins with `first`.
fn following(folder: &Folder, first: u64) -> Result<Option<u64>, BackupError> {
    let (firsts, _) = Segments::list(folder).map_err(io_error("list", folder.path()))?;
    Ok(firsts.into_iter().find(|next| *next > first))
}

fn token(entry: &[u8]) -> Option<Digest> {
    let entry = Entry::decode(entry).ok().filter(|entry| entry.kind == Kind::Timestamp)?;
    TimestampBody::decode(&entry.body).ok().map(|body| body.token)
}

/// Whether a mark that a token is logged is of this token, which the copied entries name.
fn is_of(path: &Path, token: &Digest) -> bool {
    std::fs::read(path).is_ok_and(|content| content == logged(token).as_bytes())
}

impl Manifest {
    fn write(&self, target: &Folder) -> Result<(), BackupError> {
        let path = target.file(MANIFEST_FILE);
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other);
        bytes.and_then(|bytes| target.replace(MANIFEST_FILE, &bytes)).map_err(io_error("write", &path))
    }
}

/// The root that hashes in a folder give for a size.
fn root_of(levels: &Path, tree_size: u64) -> io::Result<Hash> {
    let levels = crate::levels::Levels::open(levels.to_owned())?;
    let read = |level, start, out: &mut [Hash]| levels.read(level, start, out);
    ledger_tlog::tree::tree_head(tree_size, read).map(|head| head.root).map_err(io::Error::other)
}

fn open(path: &Path) -> Result<Folder, BackupError> {
    Folder::open(path).map_err(io_error("open", path))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io { operation, path, source }
}

fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

const BLOBS: &str = "blobs";
const CHECKPOINTS: &str = "checkpoints";
const LEVELS: &str = "levels";
const SEGMENTS: &str = "segments";

/// Says what of a copy is complete.
const MANIFEST_FILE: &str = "backup.json";

/// How often to begin again when the log is pruned meanwhile: prunes are hours apart.
const ATTEMPTS: u32 = 3;
