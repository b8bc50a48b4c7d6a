//! The log as a folder that any web server can serve: `checkpoint` and `tile/…` of C2SP tlog-tiles, and beside
//! them what an auditor recomputes histories with: notes, time-stamps, blobs.
//!
//! Everything is made anew from the entries, and the checkpoint is written only if their root is
//! the one it signs: a folder with a new checkpoint has all that belongs to it. What is there and
//! equal is left alone, so that exporting again costs reading, and little writing.

mod companions;
mod tiles;

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::key::NoteVerifier;
use ledger_tlog::tree::TreeHead;
use serde::Serialize;

use self::companions::Companions;
use self::tiles::TileWriter;
use crate::NoteFlaw;
use crate::checkpoints::{PUBLIC_FILE, open_note};
use crate::folder::Folder;
use crate::identity::{IdentityError, load_verifier, origin_digest};
use crate::levels::Levels;
use crate::pruned::{Pruned, PrunedError, Snapshot, for_each_leaf};
use crate::segment::{BatchFlaw, BatchReader, Segments, header, name};

/// Which blobs an export has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExportedBlobs {
    /// All that the entries name and the log keeps: evidence can be judged again from them.
    All,
    /// Those without which histories and times cannot be computed: named policies of the fleet, and tokens.
    Histories,
}

/// What was exported.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// Blobs that the target has of what the entries name, counted each time one is named.
    pub blobs: u64,
    /// Tiles and bundles that were there and equal.
    pub kept: u64,
    /// Notes of checkpoints.
    pub notes: u64,
    /// The log's name.
    pub origin: String,
    /// Root of the exported tree.
    pub root: String,
    /// RFC 3161 stamps.
    pub stamps: u64,
    /// Entries exported.
    pub tree_size: u64,
    /// Tiles and bundles written.
    pub written: u64,
}

/// Why a log was not exported. The checkpoint in the target is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
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
    /// A file that the target's checkpoint covers, and that never changes, is another.
    #[error("{path} exists with other content; export into a folder of its own", path = path.display())]
    Differs {
        /// The file.
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
    /// The target has a checkpoint of more entries: it was exported from a newer copy of the log.
    #[error("{path} covers {found} entries, this log has signed {tree_size}; restore the newer log", path = path.display())]
    Newer {
        /// The target's checkpoint.
        path: PathBuf,
        /// Its size.
        found: u64,
        /// The log's size.
        tree_size: u64,
    },
    /// Nothing was signed yet.
    #[error("{path} holds no log with a checkpoint", path = path.display())]
    NoCheckpoint {
        /// The data directory.
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
    /// What is known of pruned entries is not usable.
    #[error("the log was pruned, and what must be known of its older entries is not usable")]
    Pruned(#[source] PrunedError),
    /// The entries are not those that were signed.
    #[error("the first {tree_size} entries have the root {found}, but {signed} was signed; run: attestry-ledger fsck")]
    Root {
        /// Entries under the checkpoint.
        tree_size: u64,
        /// The root signed.
        signed: Hash,
        /// The root found.
        found: Hash,
    },
}

/// Exports the log in `data`, up to its public checkpoint, into the folder `out`.
///
/// The log may be running: what is under the checkpoint does not change any more. The bytes of
/// `out` are on the disk when this returns.
///
/// # Errors
/// [`ExportError`].
pub fn export(data: &Path, out: &Path, blobs: ExportedBlobs) -> Result<ExportReport, ExportError> {
    let key = load_verifier(data).map_err(ExportError::Identity)?;
    let public = data.join(PUBLIC_FILE);
    let note = match fs::read(&public) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ExportError::NoCheckpoint { path: data.to_owned() });
        }
        Err(source) => return Err(ExportError::Io { operation: "read", path: public, source }),
    };
    let head = head_of(&note, &public, &key)?;
    let tree_size = head.tree_size;
    let covered = covered(out, &key, tree_size)?;
    let failed = |source| ExportError::Io { operation: "make", path: out.to_owned(), source };
    fs::create_dir_all(out).map_err(failed)?;
    let mut tiles = TileWriter::new(out.to_owned(), covered);
    let mut companions = Companions::new(data, out, blobs);
    let pruned = pruned_leaves(data, tree_size, |leaf| tiles.append_pruned(leaf))?;
    let (first, minimum) = pruned.as_ref().map_or((0, 0), |(pruned, _)| (pruned.first, pruned.minimum_index));
    let mut bodiless = Vec::new();
    let mut index = first;
    read_entries(data, &key, first..tree_size, |entry| {
        if index < minimum {
            bodiless.push((index, entry.to_vec()));
        }
        index += 1;
        companions.entry(entry)?;
        tiles.append(entry, leaf_hash(entry))
    })?;
    let found = tiles.finish()?;
    if found != head {
        return Err(ExportError::Root { tree_size, signed: head.root, found: found.root });
    }
    companions.notes(tree_size)?;
    companions.stamps(tree_size)?;
    // A target that has had the entries before they were pruned has them still.
    if let Some((pruned, snapshot)) = pruned.filter(|_| covered < first) {
        companions.pruned(&pruned, &snapshot, &bodiless)?;
    }
    publish(out, &note)?;
    let ((kept, written), companions) = (tiles.counts(), companions.counts());
    Ok(ExportReport {
        blobs: companions.blobs,
        kept,
        notes: companions.notes,
        origin: key.name().to_string(),
        root: head.root.to_string(),
        stamps: companions.stamps,
        tree_size,
        written,
    })
}

fn head_of(note: &[u8], path: &Path, key: &NoteVerifier) -> Result<TreeHead, ExportError> {
    let opened = open_note(note, key).map_err(|source| ExportError::Note { path: path.to_owned(), source })?;
    Ok(*opened.tree_head())
}

/// Size of the target's checkpoint. It must not go back: its readers have seen the newer one.
fn covered(out: &Path, key: &NoteVerifier, tree_size: u64) -> Result<u64, ExportError> {
    let path = out.join(PUBLIC_FILE);
    let there = match fs::read(&path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(ExportError::Io { operation: "read", path, source }),
    };
    let found = head_of(&there, &path, key)?.tree_size;
    if found > tree_size { Err(ExportError::Newer { path, found, tree_size }) } else { Ok(found) }
}

/// Shows the leaves of pruned entries; returns what is known of them, if there are any.
fn pruned_leaves(
    data: &Path,
    tree_size: u64,
    mut visit: impl FnMut(Hash) -> Result<(), ExportError>,
) -> Result<Option<(Pruned, Snapshot)>, ExportError> {
    let failed = |path: PathBuf| move |source| ExportError::Io { operation: "read", path, source };
    let root = Folder::open(data).map_err(failed(data.to_owned()))?;
    let Some((pruned, snapshot)) = Pruned::load(&root).map_err(ExportError::Pruned)? else {
        return Ok(None);
    };
    let path = root.file(LEVELS);
    let mut done = Ok(());
    let read = Levels::open(path.clone()).and_then(|levels| {
        for_each_leaf(&levels, pruned.first.min(tree_size), |leaf| {
            if done.is_ok() {
                done = visit(leaf);
            }
        })
    });
    read.map_err(failed(path))?;
    done.map(|()| Some((pruned, snapshot)))
}

/// Shows the entries of `range`, in order, from segments whose checksums are right.
fn read_entries(
    data: &Path,
    key: &NoteVerifier,
    range: Range<u64>,
    mut visit: impl FnMut(&[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let Range { start, end: tree_size } = range;
    let path = data.join(SEGMENTS);
    let opened = Folder::open(&path).and_then(|folder| Ok((Segments::list(&folder)?.0, folder)));
    let (firsts, folder) = opened.map_err(|source| ExportError::Io { operation: "list", path, source })?;
    let origin = origin_digest(key.name().as_str());
    let mut next = start;
    for first in firsts.into_iter().filter(|first| *first >= start) {
        if first != next || next >= tree_size {
            break;
        }
        let path = folder.file(&name(first));
        let read = read_segment(&path, first, &header(first, &origin), tree_size, &mut visit)?;
        next = match read {
            ControlFlow::Break(()) => return Ok(()),
            ControlFlow::Continue(next) => next,
        };
    }
    if next < tree_size { Err(ExportError::Missing { found: next, tree_size }) } else { Ok(()) }
}

fn read_segment(
    path: &Path,
    first: u64,
    header: &[u8],
    tree_size: u64,
    visit: &mut impl FnMut(&[u8]) -> Result<(), ExportError>,
) -> Result<ControlFlow<(), u64>, ExportError> {
    let damaged = |offset, source| ExportError::Damaged { path: path.to_owned(), offset, source };
    let mut reader = BatchReader::open(path, first, header).map_err(|source| damaged(0, source))?;
    loop {
        let offset = reader.offset();
        let Some(batch) = reader.next().map_err(|source| damaged(offset, source))? else {
            return Ok(ControlFlow::Continue(reader.next_index()));
        };
        for ((_, entry), index) in batch.entries().zip(batch.first..) {
            if index >= tree_size {
                return Ok(ControlFlow::Break(()));
            }
            visit(entry)?;
        }
        if reader.next_index() >= tree_size {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Puts the checkpoint in place, after everything it covers is on the disk.
fn publish(out: &Path, note: &[u8]) -> Result<(), ExportError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| ExportError::Io { operation, path, source }
    };
    let folder = File::open(out).map_err(failed("open", out))?;
    rustix::fs::syncfs(&folder).map_err(io::Error::from).map_err(failed("sync", out))?;
    let path = out.join(PUBLIC_FILE);
    if fs::read(&path).is_ok_and(|there| there == note) {
        return Ok(());
    }
    replace(&path, note).map_err(failed("write", &path))?;
    folder.sync_all().map_err(failed("sync", out))
}

/// Gives a file its content at once, durably.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

const LEVELS: &str = "levels";
const SEGMENTS: &str = "segments";
