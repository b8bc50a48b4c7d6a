//! Prunes old entries: recorded first, then deleted. Source: `docs/adr/0005-pruning.md`.
//!
//! ```text
//! entry on the fleet's chain, durable and under a checkpoint → kept entries, histories and state written
//! → segments deleted → blobs deleted → index cleaned
//! ```
//!
//! The state's file is where it is decided: without it nothing was pruned, with it a start finishes
//! what is left to delete.

mod gathering;

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use ledger_protocol::body::{Body, OperatorAction};
use ledger_protocol::{Entry, RuleBroken};
use messages::ledger::{AppendRequest, Group, GroupResult, Item};
use messages::{Digest, UnixMillis};
use serde::Serialize;
use serde_bytes::ByteBuf;

use self::gathering::{Gathered, gather};
use crate::engine::{AppendFailed, Ledger, OpenError, Shared, write_index};
use crate::folder::Folder;
use crate::histories::{HistoriesError, base};
use crate::pruned::{
    KeptEntries, PRUNED_FOLDER, Pruned, Snapshot, first_of_any, histories_name, kept_name, state_name,
};
use crate::segment::{BatchFlaw, ReadError, name};
use crate::store::IndexError;
use crate::{disk, entropy};

/// What is to be pruned, and who says so.
#[derive(Clone, Debug)]
pub struct PruneRequest {
    /// Who asks, for the record.
    pub actor: String,
    /// Up to where.
    pub below: PruneBelow,
    /// Blobs that came, or came again, within this time stay: an entry that names them may be on
    /// its way.
    pub blob_grace: Duration,
    /// Why, for the record.
    pub reason: String,
}

/// Up to where a log is pruned; whole segments only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PruneBelow {
    /// Entries below this index.
    Index(u64),
    /// Entries recorded so long ago or earlier.
    OlderThan(Duration),
}

/// What was pruned.
#[derive(Clone, Debug, Serialize)]
pub struct PruneReport {
    /// Blobs deleted.
    pub blobs: u64,
    /// First entry that still has its body.
    pub first: u64,
    /// Small entries before it that stay readable.
    pub kept: u64,
    /// As tlog-tiles has it: bundles of entries below are not served any more.
    pub minimum_index: u64,
    /// The entry that records it.
    pub policy_index: u64,
    /// Segments deleted.
    pub segments: u64,
}

/// Why nothing was pruned, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The entry that records it was not appended; nothing was deleted.
    #[error("the prune was not recorded, so nothing was deleted")]
    Append(#[source] AppendFailed),
    /// A segment is not what was written.
    #[error("{path} is damaged at byte {offset}; run: attestry-ledger fsck", path = path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        source: BatchFlaw,
    },
    /// Bytes in a segment are no entry that may stand there.
    #[error("entry {index} cannot be read back")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The index failed.
    #[error("the index was not cleaned; the next start does it")]
    Index(#[source] IndexError),
    /// The system refused something. What is left to delete is deleted at the next start.
    #[error("cannot {operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The histories cannot outlive the entries.
    #[error("the machines' histories would be lost with the entries; nothing was pruned")]
    Histories(#[source] HistoriesError),
    /// The log was not opened.
    #[error("the log cannot be opened")]
    Open(#[source] OpenError),
    /// No segment lies wholly below.
    #[error("nothing to prune: whole segments are deleted, and the first ends with entry {end}, under no older limit")]
    Nothing {
        /// Index after the first segment's last entry.
        end: u64,
    },
    /// An entry breaks the log's rules, so that its state cannot be saved.
    #[error("entry {index} breaks a rule of the log")]
    Rule {
        /// Its index.
        index: u64,
        /// Which.
        source: RuleBroken,
    },
}

impl Ledger {
    /// Prunes the bodies of old entries, and the evidence that only they named, from a log at work.
    /// Blocks; not for use inside a runtime.
    ///
    /// # Errors
    /// [`PruneError`]. What was recorded and not deleted is deleted at the next start.
    pub fn prune(&self, request: &PruneRequest) -> Result<PruneReport, PruneError> {
        let shared = &self.shared;
        let _turn = shared.pruning.lock().unwrap_or_else(PoisonError::into_inner);
        let published = shared.published().map_or(0, |published| published.size);
        let firsts = shared.segments.firsts();
        let first = boundary(shared, &firsts, request.below, published)?;
        let histories = base::file_for(shared, first).map_err(PruneError::Histories)?;
        let before = Pruned::load(&shared.root).map_err(|error| PruneError::Open(OpenError::Pruned(error)))?;
        let mut gathered = gather(shared, before, &firsts, first)?;
        let minimum_index = first.next_multiple_of(BUNDLE_ENTRIES);
        let policy_index = self.record_prune(request, first, minimum_index)?;
        let seen = still_named(shared, first, &mut gathered.evidence)?;
        let snapshot = save(shared, &gathered, histories, first, (minimum_index, policy_index))?;
        let loaded = Pruned::load(&shared.root).map_err(|error| PruneError::Open(OpenError::Pruned(error)))?;
        *shared.pruned.write().unwrap_or_else(PoisonError::into_inner) = loaded.map(|(pruned, _)| Arc::new(pruned));
        let mut doomed = gathered.evidence;
        still_named(shared, seen, &mut doomed)?;
        let (segments, blobs) = delete(shared, &snapshot, doomed, request.blob_grace)?;
        let kept = gathered.kept.len() as u64;
        tracing::info!(first, minimum_index, policy_index, segments, blobs, kept, "entries were pruned");
        Ok(PruneReport { blobs, first, kept, minimum_index, policy_index, segments })
    }

    /// Records what is about to be deleted; returns its index once a checkpoint covers it.
    fn record_prune(&self, request: &PruneRequest, first: u64, minimum_index: u64) -> Result<u64, PruneError> {
        let reason = &request.reason;
        let action = OperatorAction {
            action: "prune".to_owned(),
            actor: request.actor.clone(),
            target: Some(minimum_index.to_string()),
            detail: format!("bodies of entries below {first} and evidence that only they name: {reason}"),
        };
        let body = ByteBuf::from(action.encode());
        let items = vec![Item { kind: OperatorAction::KIND.number(), body, after: None }];
        let idempotency_key = entropy::idempotency_key().map_err(|error| {
            PruneError::Append(AppendFailed::Failed { reason: format!("no random bytes: {error}") })
        })?;
        let groups = vec![Group { agent: None, expected: None, items }];
        let answer = self.append_blocking(AppendRequest { version: 1, idempotency_key, groups });
        let index = match answer.map_err(PruneError::Append)?.results.as_slice() {
            [GroupResult::Appended(receipts)] => receipts.first().map_or(0, |receipt| receipt.index),
            other => return Err(PruneError::Append(AppendFailed::Failed { reason: format!("{other:?}") })),
        };
        if self.shared.wait_for_checkpoint(index + 1) {
            Ok(index)
        } else {
            Err(PruneError::Append(self.shared.failed()))
        }
    }
}

/// Finishes what an interrupted prune has left to delete.
pub(crate) fn finish(shared: &Shared, snapshot: &Snapshot) -> Result<(), PruneError> {
    let folder = folder(shared)?;
    let unfinished = folder.file(UNFINISHED);
    let Ok(begun) = std::fs::metadata(&unfinished).and_then(|metadata| metadata.modified()) else {
        return Ok(());
    };
    tracing::warn!(first = snapshot.first, "an interrupted prune is finished");
    let mut doomed = snapshot.doomed.iter().copied().collect();
    still_named(shared, snapshot.first, &mut doomed)?;
    let grace = SystemTime::now().duration_since(begun).unwrap_or_default();
    delete(shared, snapshot, doomed, grace)?;
    Ok(())
}

/// The segment that is to be the first: the last one all of whose predecessors may go. The entry
/// it begins with is under a checkpoint.
fn boundary(shared: &Shared, firsts: &[u64], below: PruneBelow, published: u64) -> Result<u64, PruneError> {
    let limit = match below {
        PruneBelow::Index(_) => UnixMillis(0),
        PruneBelow::OlderThan(age) => {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            UnixMillis(shared.clock.now().0.saturating_sub(age))
        }
    };
    let mut found = None;
    for first in firsts.iter().skip(1).copied().take_while(|first| *first < published) {
        let goes = match below {
            PruneBelow::Index(index) => first <= index,
            PruneBelow::OlderThan(_) => recorded(shared, first)? <= limit,
        };
        if !goes {
            break;
        }
        found = Some(first);
    }
    found.ok_or_else(|| PruneError::Nothing { end: firsts.get(1).copied().unwrap_or_else(|| shared.durable_size()) })
}

fn recorded(shared: &Shared, index: u64) -> Result<UnixMillis, PruneError> {
    let failed = |source| PruneError::Entry { index, source };
    let bytes = shared.segments.entry(index).map_err(|error: ReadError| failed(error.into()))?;
    Ok(Entry::decode(&bytes).map_err(|error| failed(error.into()))?.recorded)
}

/// Takes out of `doomed` what entries from `from` on name; returns up to where they were read.
fn still_named(shared: &Shared, from: u64, doomed: &mut BTreeSet<Digest>) -> Result<u64, PruneError> {
    let end = shared.durable_size();
    if from >= end || doomed.is_empty() {
        return Ok(end);
    }
    let mut flaw = None;
    let read = shared.segments.read(from, |index, bytes| {
        match Entry::decode(bytes) {
            Ok(entry) => entry.blobs().unwrap_or_default().iter().for_each(|blob| _ = doomed.remove(blob)),
            Err(error) => flaw = Some((index, error)),
        }
        if flaw.is_some() || index + 1 >= end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.map_err(|error| PruneError::Entry { index: from, source: error.into() })?;
    match flaw {
        Some((index, error)) => Err(PruneError::Entry { index, source: error.into() }),
        None => Ok(end),
    }
}

/// Writes what the rest of the log depends on, the state last.
fn save(
    shared: &Shared,
    gathered: &Gathered,
    histories: Option<Vec<u8>>,
    first: u64,
    (minimum_index, policy_index): (u64, u64),
) -> Result<Snapshot, PruneError> {
    let failed = |operation, path: PathBuf| move |source| PruneError::Io { operation, path, source };
    shared.levels.sync().map_err(failed("sync", shared.root.file("levels")))?;
    let made = shared.root.make(PRUNED_FOLDER);
    let folder = made.map_err(failed("make", shared.root.file(PRUNED_FOLDER)))?;
    let kept = KeptEntries::encode(gathered.kept.iter().map(|(index, entry)| (*index, entry.as_slice())));
    let snapshot = Snapshot {
        answers: gathered.answers.clone(),
        answers_from: gathered.answers_from,
        doomed: gathered.evidence.iter().copied().collect(),
        first,
        kept: Digest(openssl::sha::sha256(&kept)),
        minimum_index,
        policy_index,
        root: gathered.root,
        state: gathered.state.clone(),
    };
    let histories = histories.map(|histories| (histories_name(first), histories));
    let files = [(UNFINISHED.to_owned(), Vec::new()), (kept_name(first), kept)].into_iter().chain(histories);
    for (name, bytes) in files.chain([(state_name(first), snapshot.encode())]) {
        folder.replace(&name, &bytes).map_err(failed("write", folder.file(&name)))?;
    }
    Ok(snapshot)
}

/// Deletes segments, blobs and index records; returns how many segments and blobs.
fn delete(
    shared: &Shared,
    snapshot: &Snapshot,
    doomed: BTreeSet<Digest>,
    grace: Duration,
) -> Result<(u64, u64), PruneError> {
    let failed = |operation, path: PathBuf| move |source| PruneError::Io { operation, path, source };
    let first = snapshot.first;
    write_index(shared).map_err(|error| failed("write", shared.root.file("index"))(io::Error::other(error)))?;
    shared.index.prune(first).map_err(PruneError::Index)?;
    shared.segments.forget_before(first);
    let folder = shared.segments.folder();
    let (firsts, _) = crate::segment::Segments::list(folder).map_err(failed("list", folder.path().to_owned()))?;
    let mut segments = 0;
    for old in firsts.into_iter().take_while(|old| *old < first) {
        let path = folder.file(&name(old));
        disk::remove(&path).map_err(failed("remove", path.clone()))?;
        segments += 1;
    }
    folder.sync().map_err(failed("sync", folder.path().to_owned()))?;
    let mut blobs = 0;
    for digest in doomed {
        let removed = shared.blobs.remove_older(&digest, grace);
        blobs += u64::from(removed.map_err(failed("remove a blob in", shared.root.file("blobs")))?);
    }
    let folder = self::folder(shared)?;
    let names = folder.names().map_err(failed("list", folder.path().to_owned()))?;
    let old = |name: &str| first_of_any(name).is_some_and(|of| of != first);
    for name in names.iter().filter(|name| old(name)).map(String::as_str).chain([UNFINISHED]) {
        disk::remove(&folder.file(name)).map_err(failed("remove", folder.file(name)))?;
    }
    folder.sync().map_err(failed("sync", folder.path().to_owned()))?;
    Ok((segments, blobs))
}

fn folder(shared: &Shared) -> Result<Folder, PruneError> {
    let path = shared.root.file(PRUNED_FOLDER);
    Folder::open(&path).map_err(|source| PruneError::Io { operation: "open", path, source })
}

/// Entries of a bundle of tlog-tiles.
const BUNDLE_ENTRIES: u64 = 256;

/// Says that something may be left to delete.
const UNFINISHED: &str = "unfinished";

/// A blob that came within a day may belong to an entry that has not come: uploads come seconds
/// before their entries, and services that were stopped in between are restarted within a day.
pub const BLOB_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
