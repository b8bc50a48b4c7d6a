//! Opens a log: cuts a torn tail, makes derived files whole, refuses when something was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger_protocol::{Answers, CheckpointGuard, LogState};
use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeHead;
use messages::Digest;
use messages::ledger::Info;

use super::indexing::Ends;
use super::replay::Replay;
use super::{LogConfig, OpenError};
use crate::backup::is_backup;
use crate::blobs::Blobs;
use crate::checkpoints::{Checkpoints, PUBLIC_FILE, open_note};
use crate::disk;
use crate::folder::{Folder, writable_by_others};
use crate::histories::keeper::{Log, bring_up};
use crate::identity::{Identity, KEY_FILE, VKEY_FILE};
use crate::levels::{LevelWriter, Levels};
use crate::lock::{CheckpointLock, FileLock, LOCK_FOLDER};
use crate::ownership::Ownership;
use crate::pruned::{Pruned, PrunedError, Snapshot};
use crate::segment::{
    BatchReader, Location, MARK_INTERVAL, Mark, SegmentFile, Segments, Writer, header, name, torn_tail,
};
use crate::store::{Finished, Index, IndexError};

/// Everything a log runs on.
pub(super) struct Opened {
    pub(super) answer_numbers: Range<u64>,
    pub(super) answers: Answers,
    pub(super) blobs: Blobs,
    pub(super) checkpoints: Checkpoints,
    pub(super) ends: Ends,
    pub(super) guard: CheckpointGuard,
    pub(super) identity: Identity,
    pub(super) index: Arc<Index>,
    pub(super) level_writer: LevelWriter,
    pub(super) levels: Arc<Levels>,
    pub(super) lock: Box<dyn CheckpointLock>,
    pub(super) ownership: Ownership,
    /// What is known of pruned entries.
    pub(super) pruned: Option<(Pruned, Snapshot)>,
    pub(super) root: Folder,
    pub(super) segments: Arc<Segments>,
    pub(super) signed: Option<Signed>,
    pub(super) state: LogState,
    pub(super) writer: Writer,
}

/// The last checkpoint signed.
pub(super) struct Signed {
    pub(super) head: TreeHead,
    pub(super) note: Vec<u8>,
}

/// The folders of a log.
pub(crate) struct Folders {
    pub(crate) blobs: Folder,
    pub(crate) checkpoints: Folder,
    pub(crate) levels: Folder,
    pub(crate) root: Folder,
    pub(crate) segments: Folder,
}

/// Opens the folders of the log in `path`; `make` makes those that are missing.
pub(crate) fn folders(path: &Path, make: bool) -> Result<Folders, OpenError> {
    let failed = |operation, path: PathBuf| move |source| OpenError::Io { operation, path, source };
    let root = if make { Folder::make_private(path) } else { Folder::open(path) };
    let root = root.map_err(failed("open", path.to_owned()))?;
    let inner = |name: &str| {
        let opened = if make { root.make(name) } else { Folder::open(root.file(name)) };
        opened.map_err(failed("open", root.file(name)))
    };
    Ok(Folders {
        blobs: inner("blobs")?,
        checkpoints: inner("checkpoints")?,
        levels: inner("levels")?,
        segments: inner("segments")?,
        root,
    })
}

/// A log that is open for a look: nothing is appended or signed.
pub(crate) struct Inspected(Opened);

/// Opens a log as a start would, after `prepare` has had its way with the data directory.
pub(crate) fn inspect(
    config: &LogConfig,
    prepare: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<Inspected, OpenError> {
    open(config, prepare).map(Inspected)
}

impl Inspected {
    /// What the log says of itself.
    pub(crate) fn info(&self) -> Info {
        let opened = &self.0;
        Info {
            origin: opened.identity.origin().to_owned(),
            vkey: opened.identity.vkey(),
            durable_size: opened.state.totals().size,
            checkpoint_size: opened.guard.last().tree_size,
            next_slot: opened.state.totals().next_slot,
            minimum_index: opened.pruned.as_ref().map_or(0, |(pruned, _)| pruned.minimum_index),
            receipt_key: None,
        }
    }

    /// The data directory.
    pub(crate) fn root(&self) -> &Folder {
        &self.0.root
    }

    /// Digest over all records of the index and over the histories, if the log keeps any; both are written
    /// to the disk first.
    pub(crate) fn index_digest(&self) -> Result<Digest, OpenError> {
        let opened = &self.0;
        let index = opened.index.flush().and_then(|()| opened.index.digest()).map_err(OpenError::Index)?;
        let log = Log { blobs: &opened.blobs, levels: &opened.levels, segments: &opened.segments };
        let histories = bring_up(&opened.root, log, opened.state.totals().size).map_err(OpenError::Histories)?;
        Ok(histories.map_or(index, |histories| {
            Digest(openssl::sha::sha256(&[*index.as_bytes(), *histories.as_bytes()].concat()))
        }))
    }
}

/// The steps, in order: one process alone; the key; what was signed last; the indexes; then the
/// entries that are new to them, or all, from which hashes and indexes are made whole; and at
/// last what was published.
pub(super) fn open(
    config: &LogConfig,
    prepare: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<Opened, OpenError> {
    let Folders { blobs, checkpoints, levels, root, segments } = folders(&config.path, true)?;
    expect_private(&config.path)?;
    let ownership = Ownership::take(&config.path).map_err(OpenError::Ownership)?;
    if is_backup(&root) {
        return Err(OpenError::Backup { path: config.path.clone() });
    }
    prepare(&config.path)?;
    let (lock, identity) = lock_and_identity(config, &root, &segments)?;
    let opened = Checkpoints::open(checkpoints);
    let checkpoints = opened.map_err(|source| io_error("list", &root.file("checkpoints"), source))?;
    let blobs = Blobs::new(blobs);
    remove_temporary(&root, &segments, &blobs, &checkpoints)?;
    let signed = signed(&root, lock.as_ref(), &checkpoints, &identity)?;
    let pruned = Pruned::load(&root).map_err(OpenError::Pruned)?;
    let base = pruned.as_ref().map_or(0, |(pruned, _)| pruned.first);
    let (index, state, (answers, oldest, next)) = index(&root, base)?;
    let index = Arc::new(index);
    index_checkpoints(&index, &checkpoints, &root, &identity)?;

    let levels_path = levels.path().to_owned();
    let levels = Levels::open(levels_path.clone()).map_err(|source| io_error("open", &levels_path, source))?;
    let levels = Arc::new(levels);
    let known = known(&segments, &index, &levels, &state, signed.as_ref(), (base, config.whole_bytes_max));
    let (mut state, mut answers, mut numbers) = (state, answers, oldest..next);
    let level_writer = match (&known, &pruned) {
        (None, Some((_, snapshot))) => {
            let anew = state.totals().size == 0;
            if anew {
                snapshot.seed(&index);
                (state, answers) = (snapshot.state.clone(), snapshot.answers.clone());
                numbers = snapshot.answers_from..snapshot.answers_from + answers.iter().count() as u64;
            }
            snapshot.level_writer(&levels, levels_path.clone(), anew).map_err(OpenError::Pruned)?
        }
        _ => {
            let begun = known.as_ref().map_or(0, |_| state.totals().size);
            LevelWriter::resume(Arc::clone(&levels), begun)
                .map_err(|error| OpenError::Levels { path: levels_path.clone(), source: error })?
        }
    };
    let mut replay = Replay {
        answer_numbers: numbers,
        answers,
        ends: Ends { last: known.as_ref().map(|known| known.end) },
        index: &index,
        indexed: state.totals().size,
        level_writer,
        levels_path,
        signed: signed.as_ref().map(|signed| signed.head),
        signed_root: known.as_ref().and_then(|known| known.signed_root),
        state,
        wrong: 0,
    };
    let files = read_segments(&root, &segments, &identity, (base, known), &mut replay)?;
    let Replay { answer_numbers, answers, ends, level_writer, state, .. } = replay.finish()?;

    let segments = Arc::new(Segments::new(segments, files, Arc::clone(&index)));
    let writer = Writer::new(Arc::clone(&segments), identity.origin_digest(), config.segment_bytes_max)
        .map_err(|source| io_error("open the last file of", segments.folder().path(), source))?;
    republish(&root, &checkpoints, &index, signed.as_ref())?;
    let last = signed.as_ref().map_or(TreeHead::EMPTY, |signed| signed.head);
    let guard = CheckpointGuard::new(identity.origin(), last, state.totals().recorded).map_err(OpenError::Origin)?;
    Ok(Opened {
        answer_numbers,
        answers,
        blobs,
        checkpoints,
        ends,
        guard,
        identity,
        index,
        level_writer,
        levels,
        lock,
        ownership,
        pruned,
        root,
        segments,
        signed,
        state,
        writer,
    })
}

/// Files that say what this log is and what it signed must not be anyone's to replace.
fn expect_private(path: &Path) -> Result<(), OpenError> {
    match writable_by_others(path).map_err(|source| io_error("look at", path, source))? {
        Some(mode) => Err(OpenError::Writable { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

/// Lock and key of the log that is there, or new ones where no log has begun: the lock first, so
/// that a log that has its verifier key has its lock.
fn lock_and_identity(
    config: &LogConfig,
    root: &Folder,
    segments: &Folder,
) -> Result<(Box<dyn CheckpointLock>, Identity), OpenError> {
    let path = config.lock.clone().unwrap_or_else(|| root.file(LOCK_FOLDER));
    let entries = segments.names().map_err(|source| io_error("list", segments.path(), source))?;
    if !root.file(VKEY_FILE).exists() && entries.is_empty() {
        let lock = FileLock::create(&path).map_err(OpenError::Lock)?;
        tracing::info!(path = %root.path().display(), "a new log begins; keep a copy of {KEY_FILE}");
        let identity = Identity::create(root, config.origin.as_deref()).map_err(OpenError::Identity)?;
        return Ok((Box::new(lock), identity));
    }
    let lock = FileLock::open(&path).map_err(OpenError::Lock)?;
    expect_private(&path)?;
    let identity = Identity::load(root.path()).map_err(OpenError::Identity)?;
    identity.expect_origin(config.origin.as_deref()).map_err(OpenError::Identity)?;
    Ok((Box::new(lock), identity))
}

fn remove_temporary(
    root: &Folder,
    segments: &Folder,
    blobs: &Blobs,
    checkpoints: &Checkpoints,
) -> Result<(), OpenError> {
    let removed = root
        .remove_temporary()
        .and_then(|()| segments.remove_temporary())
        .and_then(|()| blobs.remove_temporary())
        .and_then(|()| checkpoints.remove_temporary());
    removed.map_err(|source| io_error("remove unfinished files in", root.path(), source))
}

/// What the lock says was signed last.
fn signed(
    root: &Folder,
    lock: &dyn CheckpointLock,
    checkpoints: &Checkpoints,
    identity: &Identity,
) -> Result<Option<Signed>, OpenError> {
    let public_path = root.file(PUBLIC_FILE);
    let note = lock.load().map_err(OpenError::Lock)?;
    let public = root.read(PUBLIC_FILE).map_err(|source| io_error("read", &public_path, source))?;
    let newest = checkpoints.newest().map_err(|source| io_error("list", &root.file("checkpoints"), source))?;
    let mut newest = newest.unwrap_or(0);
    if let Some(public) = public {
        newest = newest.max(head_of(&public, &public_path, identity)?.tree_size);
    }
    let signed = match note.is_empty() {
        true => None,
        false => Some(Signed { head: head_of(&note, &lock.place(), identity)?, note }),
    };
    let size = signed.as_ref().map_or(0, |signed| signed.head.tree_size);
    if newest > size {
        return Err(OpenError::PublicNewer { path: public_path, public: newest, signed: size });
    }
    Ok(signed)
}

fn head_of(note: &[u8], path: &Path, identity: &Identity) -> Result<TreeHead, OpenError> {
    let opened = open_note(note, identity.verifier());
    let opened = opened.map_err(|source| OpenError::Note { path: path.to_owned(), source })?;
    Ok(*opened.tree_head())
}

/// The index and what it knows; an empty one if the one there is of no use, as when it knows less
/// than the `base` entries that were pruned.
fn index(root: &Folder, base: u64) -> Result<(Index, LogState, KnownAnswers), OpenError> {
    let path = root.file(INDEX_FOLDER);
    let usable = || {
        let index = Index::open(&path)?;
        let state = index.state()?;
        let answers = index.answers()?;
        // Both come in one write; an index of an older form has no end.
        let size = state.totals().size;
        if index.end()?.is_some() != (size > 0) || (size > 0 && size < base) {
            return Err(index.malformed());
        }
        Ok((index, state, answers))
    };
    usable().or_else(|error: IndexError| {
        tracing::warn!(error = super::chain(&error), "the index is made anew from the segments");
        fs::remove_dir_all(&path).map_err(|source| io_error("remove", &path, source))?;
        let index = Index::open(&path).map_err(OpenError::Index)?;
        let state = index.state().map_err(OpenError::Index)?;
        let answers = index.answers().map_err(OpenError::Index)?;
        Ok((index, state, answers))
    })
}

/// Remembered answers, the number of the oldest and the next number.
type KnownAnswers = (Answers, u64, u64);

/// What need not be read again.
struct Known {
    /// Where entries begin that the index does not have.
    end: Location,
    /// Segments before that, with what is known of each.
    finished: Vec<(u64, Finished)>,
    /// Root of as many entries as were signed, if it is among the known ones.
    signed_root: Option<Hash>,
}

/// Whether all before the index's end can be taken as it is: the log is large, the index knows
/// each segment and the files have these lengths, the hashes are there, and the root that was
/// signed follows from them. If anything is otherwise, `None`: reading everything tells what.
fn known(
    segments: &Folder,
    index: &Index,
    levels: &Levels,
    state: &LogState,
    signed: Option<&Signed>,
    (base, whole_bytes_max): (u64, u64),
) -> Option<Known> {
    let size = state.totals().size;
    let end = index.end().ok().flatten()?;
    let (firsts, _) = Segments::list(segments).ok()?;
    let length = |first| fs::metadata(segments.file(&name(first))).map(|metadata| metadata.len()).ok();
    let mut total = 0;
    let mut next = base;
    let mut finished = Vec::new();
    let before_end = |first: &u64| (base..end.segment).contains(first);
    for first in firsts.into_iter().filter(before_end) {
        let known = index.finished(first).ok().flatten()?;
        if first != next || length(first) != Some(known.bytes) {
            return None;
        }
        (next, total) = (known.end, total + known.bytes);
        finished.push((first, known));
    }
    let last = length(end.segment)?;
    if next != end.segment || last < end.offset || total + last <= whole_bytes_max || !levels.reach(size).ok()? {
        return None;
    }
    let signed_root = match signed.map(|signed| signed.head) {
        Some(head) if head.tree_size <= size => {
            let read = |level, start, out: &mut [_]| levels.read(level, start, out);
            let found = Frontier::restore(head.tree_size, read).ok()?.tree_head();
            if found != head {
                return None;
            }
            Some(found.root)
        }
        _ => None,
    };
    Some(Known { end, finished, signed_root })
}

/// Makes the index know the checkpoints that are kept, and only those.
fn index_checkpoints(
    index: &Index,
    checkpoints: &Checkpoints,
    root: &Folder,
    identity: &Identity,
) -> Result<(), OpenError> {
    let folder = root.file("checkpoints");
    // The index lags behind a crash by a second or so; it has all before the folder of its latest.
    let last = index.last_checkpoint().map_err(OpenError::Index)?.unwrap_or(0);
    let (from, sizes) = checkpoints.sizes_around(last).map_err(|source| io_error("list", &folder, source))?;
    let known: BTreeSet<u64> =
        index.checkpoints(from, u64::MAX, usize::MAX).map_err(OpenError::Index)?.into_iter().collect();
    if let Some(missing) = known.iter().find(|size| sizes.binary_search(size).is_err()) {
        return Err(OpenError::CheckpointMissing { path: checkpoints.path(*missing) });
    }
    for size in sizes.into_iter().filter(|size| !known.contains(size)) {
        let path = checkpoints.path(size);
        let note = checkpoints.read(size).map_err(|source| io_error("read", &path, source))?.unwrap_or_default();
        head_of(&note, &path, identity)?;
        index.add_checkpoint(size, &Digest(openssl::sha::sha256(&note))).map_err(OpenError::Index)?;
    }
    Ok(())
}

/// Finishes what a crash between signing and publishing has left.
fn republish(
    root: &Folder,
    checkpoints: &Checkpoints,
    index: &Index,
    signed: Option<&Signed>,
) -> Result<(), OpenError> {
    let Some(Signed { head, note }) = signed else {
        return Ok(());
    };
    let size = head.tree_size;
    let kept = checkpoints.path(size);
    checkpoints.keep(size, note).map_err(|source| io_error("write", &kept, source))?;
    index.add_checkpoint(size, &Digest(openssl::sha::sha256(note))).map_err(OpenError::Index)?;
    let public = root.file(PUBLIC_FILE);
    if root.read(PUBLIC_FILE).map_err(|source| io_error("read", &public, source))?.as_ref() != Some(note) {
        root.replace(PUBLIC_FILE, note).map_err(|source| io_error("write", &public, source))?;
    }
    Ok(())
}

/// Goes through the segments, from where they are not known on, cutting a torn tail off the last.
fn read_segments(
    root: &Folder,
    segments: &Folder,
    identity: &Identity,
    (base, known): (u64, Option<Known>),
    replay: &mut Replay<'_>,
) -> Result<Vec<Arc<SegmentFile>>, OpenError> {
    let (mut firsts, _) = Segments::list(segments).map_err(|source| io_error("list", segments.path(), source))?;
    // What an interrupted prune has left is deleted later.
    firsts.retain(|first| *first >= base);
    if base > 0 && firsts.is_empty() {
        return Err(OpenError::Pruned(PrunedError::Segment { first: base }));
    }
    let mut files = Vec::new();
    let mut end = base;
    let (finished, resume) = known.map_or((Vec::new(), None), |known| (known.finished, Some(known.end)));
    let finished: BTreeMap<u64, Finished> = finished.into_iter().collect();
    for (position, first) in firsts.iter().enumerate() {
        let path = segments.file(&name(*first));
        if *first != end {
            return Err(OpenError::SegmentMissing { expected: end, found: name(*first) });
        }
        let file = File::open(&path).map_err(|source| io_error("open", &path, source))?;
        let is_last = position + 1 == firsts.len();
        if is_last {
            // A process that was killed may have written what it did not sync: what is read here
            // counts as durable from now on.
            disk::sync(&file, &path).map_err(|source| io_error("sync", &path, source))?;
        }
        let resume = resume.filter(|resume| resume.segment == *first);
        let shared = match (finished.get(first), resume) {
            (Some(Finished { bytes, end }), _) => SegmentFile::indexed(*first, file, *bytes, *end),
            (None, Some(resume)) => SegmentFile::indexed(*first, file, resume.offset, replay.indexed),
            (None, None) => SegmentFile::new(*first, file),
        };
        let damaged = |offset, source| OpenError::Damaged { path: path.clone(), offset, source };
        let header = header(*first, &identity.origin_digest());
        let mut reader = BatchReader::open(&path, *first, &header).map_err(|flaw| damaged(0, flaw))?;
        if finished.contains_key(first) {
            end = shared.end();
            files.push(Arc::new(shared));
            continue;
        }
        if let Some(Location { offset, .. }) = resume {
            reader.skip_to(replay.indexed, offset).map_err(|flaw| damaged(offset, flaw))?;
        }
        loop {
            match reader.next() {
                Ok(None) if is_last && reader.slack() > 0 => {
                    trim(&path, reader.offset()).map_err(|source| io_error("cut", &path, source))?;
                    break;
                }
                Ok(None) => {
                    reader.expect_no_slack().map_err(|flaw| damaged(reader.offset(), flaw))?;
                    break;
                }
                Ok(Some(batch)) => {
                    replay.batch(&batch, *first, reader.offset())?;
                    let marks = batch.entries().zip(batch.first..).map(|((offset, _), index)| Mark { index, offset });
                    let marks: Vec<Mark> = marks.filter(|mark| mark.index.is_multiple_of(MARK_INTERVAL)).collect();
                    shared.grow(reader.offset() - batch.offset, reader.next_index() - batch.first, marks);
                }
                Err(flaw) => {
                    let offset = reader.offset();
                    let tail = if is_last { torn_tail(&path, offset, &flaw) } else { Ok(None) };
                    let tail = tail.map_err(|source| io_error("read", &path, source))?;
                    let tail = tail.ok_or_else(|| damaged(offset, flaw))?;
                    cut(root, &path, *first, offset, &tail)?;
                    break;
                }
            }
        }
        end = reader.next_index();
        files.push(Arc::new(shared));
    }
    Ok(files)
}

/// Cuts off a batch that was never finished, keeping its bytes aside for whoever wants to know.
fn cut(root: &Folder, path: &Path, first: u64, offset: u64, tail: &[u8]) -> Result<(), OpenError> {
    tracing::warn!(path = %path.display(), offset, bytes = tail.len(), "a batch that was never confirmed is cut off");
    // What was written ahead says nothing.
    let length = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let tail = tail.get(..length).unwrap_or_default();
    let kept = root.make("torn").and_then(|torn| torn.replace(&format!("{first:020}-{offset}"), tail));
    kept.map_err(|source| io_error("write", &root.file("torn"), source))?;
    trim(path, offset).map_err(|source| io_error("cut", path, source))
}

/// Makes a segment's file end at `length`, durably.
fn trim(path: &Path, length: u64) -> io::Result<()> {
    let file = disk::open(path, OpenOptions::new().write(true))?;
    disk::set_len(&file, path, length)?;
    disk::sync(&file, path)
}

pub(super) fn io_error(operation: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { operation, path: path.to_owned(), source }
}

/// The folder of the indexes.
pub(crate) const INDEX_FOLDER: &str = "index";
