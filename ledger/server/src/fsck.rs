//! Reads everything a log has and says exactly what is not as it should be. Changes nothing.

mod entries;
mod stamps;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use ledger_tlog::key::NoteVerifier;
use ledger_tlog::tree::TreeHead;
use messages::Digest;
use serde::Serialize;

use crate::backup::is_backup;
use crate::blobs::{BlobError, Blobs};
use crate::checkpoints::{Checkpoints, PUBLIC_FILE, open_note};
use crate::engine::{Folders, INDEX_FOLDER, LogConfig, OpenError, chain, folders};
use crate::folder::Folder;
use crate::identity::{Identity, KEY_FILE, VKEY_FILE, load_verifier};
use crate::lock::{CheckpointLock, FileLock, LOCK_FOLDER, LockError};
use crate::ownership::{Ownership, OwnershipError};
use crate::pruned::{PRUNED_FOLDER, Pruned, state_name};
use crate::receipts::{RECEIPT_KEY_FILE, RECEIPT_PUBLIC_FILE, Receipts};
use crate::store::Index;

/// What was looked at and what was found.
#[derive(Clone, Debug, Serialize)]
pub struct FsckReport {
    /// Blobs read.
    pub blobs: u64,
    /// Kept checkpoints read.
    pub checkpoints: u64,
    /// Entries read.
    pub entries: u64,
    /// What is not as it should be, in the order found.
    pub findings: Vec<Finding>,
    /// Entries before those, whose bodies were pruned; counted in [`FsckReport::entries`] as well.
    pub pruned: u64,
    /// Size of the last checkpoint signed.
    pub signed: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The file, relative to the data directory.
    pub file: String,
    /// What it means.
    pub severity: Severity,
    /// What was found, where, and what was expected.
    pub text: String,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is lost or altered. The next start mends hashes and indexes and refuses the rest.
    Damage,
    /// A crash or a person has left it; the next start clears it up or ignores it.
    Notice,
}

/// Why nothing was looked at.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// A folder of the log could not be opened.
    #[error("the log cannot be read")]
    Open(#[source] OpenError),
    /// The log is running, or the lock file cannot be used.
    #[error("the log is not available")]
    Ownership(#[source] OwnershipError),
}

impl FsckReport {
    /// Whether nothing is lost or altered.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Notice)
    }

    fn damage(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), severity: Severity::Damage, text: text.into() });
    }

    fn notice(&mut self, file: impl Into<String>, text: impl Into<String>) {
        self.findings.push(Finding { file: file.into(), severity: Severity::Notice, text: text.into() });
    }
}

/// Checks a log that is not running: every batch's checksum, every entry's form and place, every
/// hash, every kept checkpoint's signature and root, the lock, every blob.
///
/// # Errors
/// [`FsckError`] if there is no log or it runs. Damage is no error but in the report.
pub fn fsck(path: &Path) -> Result<FsckReport, FsckError> {
    fsck_showing(&LogConfig::new(path), |_, _| {})
}

/// As [`fsck`], of the log in the folders of `config`, telling `progress` now and then how many bytes of the segments are read, of how many.
///
/// # Errors
/// As [`fsck`].
pub fn fsck_showing(config: &LogConfig, mut progress: impl FnMut(u64, u64)) -> Result<FsckReport, FsckError> {
    let path = config.path.as_path();
    let folders = folders(path, false).map_err(FsckError::Open)?;
    let _ownership = Ownership::take(path).map_err(FsckError::Ownership)?;
    let mut report = FsckReport { blobs: 0, checkpoints: 0, entries: 0, findings: Vec::new(), pruned: 0, signed: 0 };
    let key = match load_verifier(path) {
        Ok(key) => key,
        Err(error) => {
            report.damage(VKEY_FILE, format!("{}; nothing else can be checked without it", chain(&error)));
            return Ok(report);
        }
    };
    let Folders { blobs, checkpoints, levels, root, segments } = folders;
    // A copy may have been made without the keys that sign.
    if !is_backup(&root) || root.file(KEY_FILE).exists() {
        if let Err(error) = Identity::load(path) {
            report.damage(KEY_FILE, chain(&error));
        }
        check_receipt_key(&root, key.name().as_str(), &mut report);
    }
    let kept = check_kept(checkpoints, &key, &mut report);
    let lock = config.lock.clone().unwrap_or_else(|| root.file(LOCK_FOLDER));
    // A copy has no lock: the log's own says what was signed last.
    let signed = if is_backup(&root) {
        report.signed = kept.last_key_value().map_or(0, |(size, _)| *size);
        None
    } else {
        check_lock(&lock, &key, &kept, &mut report)
    };
    check_public(&root, &key, signed.as_ref(), &kept, &mut report);
    let pruned = Pruned::load(&root).unwrap_or_else(|error| {
        report.damage(PRUNED_FOLDER, chain(&error));
        None
    });
    let mut tree = tree::TreeCheck::new(levels.path().to_owned(), &kept, signed.as_ref());
    if let Some((pruned, snapshot)) = &pruned {
        tree.expect(format!("{PRUNED_FOLDER}/{}", state_name(pruned.first)), pruned.first, &snapshot.root);
    }
    // The tree is hashed beside the entries: together they keep two cores busy.
    let (named, findings) = std::thread::scope(|scope| {
        let (leaves, read) = sync_channel(LEAVES_WAITING_MAX);
        let hashing = scope.spawn(move || tree.run(&read));
        let named =
            entries::check(&segments, &key, &kept, &leaves, (pruned.as_ref(), &levels), &mut report, &mut progress);
        drop(leaves);
        (named, hashing.join())
    });
    match findings {
        Ok(findings) => report.findings.extend(findings),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    check_index(&root.file(INDEX_FOLDER), &kept, &mut report);
    let blobs = Blobs::new(blobs);
    check_blobs(&blobs, &named, &mut report);
    let first = pruned.as_ref().map_or(0, |(pruned, _)| pruned.first);
    stamps::check(&root, &blobs, (&named, first), &mut report);
    Ok(report)
}

/// A checkpoint whose signature is right.
struct Kept {
    digest: Digest,
    head: TreeHead,
}

fn check_kept(checkpoints: Folder, key: &NoteVerifier, report: &mut FsckReport) -> BTreeMap<u64, Kept> {
    let mut kept = BTreeMap::new();
    let listed = Checkpoints::open(checkpoints).and_then(|checkpoints| Ok((checkpoints.sizes()?, checkpoints)));
    let ((sizes, strangers), checkpoints) = match listed {
        Ok(found) => found,
        Err(error) => {
            report.damage("checkpoints", format!("cannot be listed: {error}"));
            return kept;
        }
    };
    for name in strangers {
        report.notice(format!("checkpoints/{name}"), "is not named by a size; expected only checkpoints");
    }
    for size in sizes {
        let file = format!("checkpoints/{size}");
        let note = match checkpoints.read(size) {
            Ok(note) => note.unwrap_or_default(),
            Err(error) => {
                report.damage(file, format!("cannot be read: {error}"));
                continue;
            }
        };
        report.checkpoints += 1;
        match open_note(&note, key) {
            Ok(opened) if opened.tree_head().tree_size == size => {
                let digest = Digest(openssl::sha::sha256(&note));
                kept.insert(size, Kept { digest, head: *opened.tree_head() });
            }
            Ok(opened) => {
                let found = opened.tree_head().tree_size;
                report.damage(file, format!("is the checkpoint of size {found}; expected size {size}"));
            }
            Err(error) => report.damage(file, chain(&error)),
        }
    }
    kept
}

/// The key of receipts and its public side, which come together.
fn check_receipt_key(root: &Folder, origin: &str, report: &mut FsckReport) {
    match [RECEIPT_KEY_FILE, RECEIPT_PUBLIC_FILE].map(|name| root.file(name).exists()) {
        [true, true] => {
            if let Err(error) = Receipts::open(root, origin) {
                report.damage(RECEIPT_KEY_FILE, chain(&error));
            }
        }
        [false, true] => report.damage(RECEIPT_KEY_FILE, format!("is missing, but {RECEIPT_PUBLIC_FILE} is there")),
        [true, false] => report.notice(RECEIPT_PUBLIC_FILE, "is missing; the next start writes it from the key"),
        [false, false] => report.notice(RECEIPT_KEY_FILE, "is missing; the next start makes one"),
    }
}

/// What the lock says was signed last.
fn check_lock(
    lock: &Path,
    key: &NoteVerifier,
    kept: &BTreeMap<u64, Kept>,
    report: &mut FsckReport,
) -> Option<TreeHead> {
    let note = match FileLock::look(lock).and_then(|lock| lock.load()) {
        Ok(note) if note.is_empty() && kept.is_empty() => return None,
        Ok(note) => note,
        Err(LockError::Missing { .. }) => {
            report.damage(LOCK, "is missing although the log has begun; it is looked for where --lock says");
            return None;
        }
        Err(error) => {
            report.damage(LOCK, chain(&error));
            return None;
        }
    };
    let head = match open_note(&note, key) {
        Ok(opened) => *opened.tree_head(),
        Err(error) => {
            report.damage(LOCK, chain(&error));
            return None;
        }
    };
    let size = head.tree_size;
    report.signed = size;
    match kept.get(&size) {
        Some(kept) if kept.digest != Digest(openssl::sha::sha256(&note)) => {
            report.damage(LOCK, format!("differs from checkpoints/{size}"));
        }
        Some(_) => {}
        None => report.notice(format!("checkpoints/{size}"), "is missing; the next start writes it from the lock"),
    }
    if let Some((newer, _)) = kept.range(size + 1..).next_back() {
        report.damage(LOCK, format!("says {size} entries were signed last, but checkpoints/{newer} was signed"));
    }
    Some(head)
}

fn check_public(
    root: &Folder,
    key: &NoteVerifier,
    signed: Option<&TreeHead>,
    kept: &BTreeMap<u64, Kept>,
    report: &mut FsckReport,
) {
    let note = match root.read(PUBLIC_FILE) {
        Ok(Some(note)) => note,
        Ok(None) if kept.is_empty() => return,
        Ok(None) => return report.damage(PUBLIC_FILE, "is missing; the next start writes it from the lock"),
        Err(error) => return report.damage(PUBLIC_FILE, format!("cannot be read: {error}")),
    };
    let size = match open_note(&note, key) {
        Ok(opened) => opened.tree_head().tree_size,
        Err(error) => return report.damage(PUBLIC_FILE, chain(&error)),
    };
    let digest = Digest(openssl::sha::sha256(&note));
    match (kept.get(&size), signed) {
        (Some(kept), _) if kept.digest != digest => {
            report.damage(PUBLIC_FILE, format!("differs from checkpoints/{size}"));
        }
        (_, Some(signed)) if size < signed.tree_size => {
            let signed = signed.tree_size;
            let text = format!("has {size} entries; the last checkpoint signed has {signed}; the next start mends it");
            report.notice(PUBLIC_FILE, text);
        }
        (_, Some(signed)) if size > signed.tree_size => {
            report.damage(PUBLIC_FILE, format!("has {size} entries; only {} were signed", signed.tree_size));
        }
        _ => {}
    }
}

/// The indexes are made from the rest; but they may remember what is gone.
fn check_index(path: &Path, kept: &BTreeMap<u64, Kept>, report: &mut FsckReport) {
    if !path.exists() {
        return report.notice(INDEX_FOLDER, "is missing; the next start makes it anew");
    }
    let looked = Index::open(path).and_then(|index| {
        let size = index.totals()?.size;
        Ok((size, index.checkpoints(0, u64::MAX, usize::MAX)?))
    });
    match looked {
        Err(error) => report.notice(INDEX_FOLDER, format!("{}; the next start makes it anew", chain(&error))),
        Ok((size, sizes)) => {
            if size > report.entries {
                let found = report.entries;
                report.damage("segments", format!("hold {found} entries; the index knows of {size}"));
            }
            for size in sizes.into_iter().filter(|size| !kept.contains_key(size)) {
                report.damage(format!("checkpoints/{size}"), "is missing or damaged; the index knows of it");
            }
        }
    }
}

fn check_blobs(blobs: &Blobs, named: &BTreeSet<Digest>, report: &mut FsckReport) {
    let mut there = BTreeSet::new();
    let names = blobs.names().unwrap_or_else(|error| {
        report.damage("blobs", format!("cannot be listed: {error}"));
        Vec::new()
    });
    for name in names {
        let file = format!("blobs/{name}");
        let digest = name.split_once('/').and_then(|(_, digest)| digest.parse::<Digest>().ok());
        let Some(digest) = digest.filter(|digest| name == format!("{:.2}/{digest}", digest.to_string())) else {
            report.notice(file, "is not named by its digest; expected only blobs");
            continue;
        };
        report.blobs += 1;
        match blobs.get(&digest) {
            Ok(_) => {
                there.insert(digest);
            }
            Err(error @ (BlobError::Damaged { .. } | BlobError::Io { .. })) => {
                there.insert(digest);
                report.damage(file, chain(&error));
            }
        }
    }
    for digest in named.difference(&there) {
        report.damage(format!("blobs/{:.2}/{digest}", digest.to_string()), "is missing; an entry names it");
    }
}

fn relative(folder: &str, name: &str) -> String {
    PathBuf::from(folder).join(name).display().to_string()
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

const LOCK: &str = "lock/checkpoint";

/// Batches whose leaves wait to be hashed into the tree: a few megabytes.
const LEAVES_WAITING_MAX: usize = 8;
