//! Takes entries one after the other and keeps what they come to.

use std::fs::{self, File};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};

use ledger_history::history::{CensusCheck, History, WITNESS_ROLE};
use ledger_protocol::body::{Body, PolicyBody};
use ledger_protocol::{EntryRef, Kind};
use ledger_tlog::frontier::Frontier;
use ledger_tlog::hash::Hash;
use ledger_tlog::tree::TreeError;
use messages::{Digest, cbor};
use serde_bytes::ByteBuf;

use super::agent_files::AgentFiles;
use super::census_files::{self, CensusFiles};
use super::error::{HistoriesError, io};
use super::{HISTORIES_FOLDER, base};
use crate::blobs::Blobs;
use crate::engine::chain;
use crate::folder::Folder;
use crate::levels::Levels;
use crate::segment::Segments;

/// Where entries come from.
#[derive(Clone, Copy)]
pub(crate) struct Log<'a> {
    pub(crate) blobs: &'a Blobs,
    pub(crate) levels: &'a Levels,
    pub(crate) segments: &'a Segments,
}

/// The histories of a log and their files.
///
/// The snapshot says up to where everything is on the disk. Files may be longer, never shorter;
/// whatever is behind the snapshot comes again from the entries.
#[derive(Debug)]
pub(crate) struct Keeper {
    agents: AgentFiles,
    censuses: CensusFiles,
    /// Entries that the last census covers.
    censused: u64,
    folder: Folder,
    history: History,
    /// Size at the last snapshot.
    saved: u64,
    /// The last witness policy on record, if there was one; it may have been taken back.
    witness: Option<Option<Digest>>,
}

/// Version, root of the log's tree at the histories' size, witness policy on record (none or one), censuses,
/// bytes of their rows, entries that the last covers, histories.
type Saved = (u64, Digest, Vec<Option<Digest>>, u64, u64, u64, ByteBuf);

impl Keeper {
    /// Takes up the histories in the data directory `root`, or begins anew if they are of no use: with the first
    /// entry, or where a pruned log's histories go back to.
    pub(crate) fn open(root: &Folder, log: Log<'_>, durable: u64) -> Result<Self, HistoriesError> {
        let path = root.file(HISTORIES_FOLDER);
        let first = base::first_entry(root)?;
        let folder = root.make(HISTORIES_FOLDER).map_err(io("open", &path))?;
        folder.remove_temporary().map_err(io("clear", &path))?;
        match folder.read(SNAPSHOT_FILE).map_err(io("read", &path))? {
            Some(saved) => match Self::resume(folder, &saved, log, first..=durable) {
                Ok(keeper) => return Ok(keeper),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the histories are made anew from the entries");
                }
            },
            None => drop(folder),
        }
        if first > 0 {
            if !base::exists(root, first) {
                return Err(HistoriesError::Pruned { first });
            }
            let folder = root.make(HISTORIES_FOLDER).map_err(io("open", &path))?;
            return Self::resume(folder, &base::load(root, first)?, log, first..=durable);
        }
        fs::remove_dir_all(&path).map_err(io("remove", &path))?;
        let folder = root.make(HISTORIES_FOLDER).map_err(io("create", &path))?;
        Ok(Self {
            agents: AgentFiles::new(&path),
            censuses: CensusFiles::new(&path),
            censused: 0,
            folder,
            history: History::new(),
            saved: 0,
            witness: None,
        })
    }

    /// Goes on behind a snapshot whose size is one of `sizes`.
    fn resume(folder: Folder, saved: &[u8], log: Log<'_>, sizes: RangeInclusive<u64>) -> Result<Self, HistoriesError> {
        let (_, root, witness, count, rows_bytes, censused, history) = decode(saved)?;
        let history = History::restore(&history).map_err(HistoriesError::Snapshot)?;
        let size = history.size();
        if !sizes.contains(&size) || root_at(log.levels, size)? != root {
            return Err(HistoriesError::OtherLog { size });
        }
        let agents = AgentFiles::new(folder.path());
        agents.trim(&history)?;
        let censuses = CensusFiles::resume(folder.path(), count, rows_bytes)?;
        let witness = witness.into_iter().next();
        Ok(Self { agents, censuses, censused, folder, history, saved: size, witness })
    }

    /// Entries taken.
    pub(crate) fn size(&self) -> u64 {
        self.history.size()
    }

    /// Censuses on record that can be read.
    pub(super) fn censuses(&self) -> u64 {
        self.censuses.count()
    }

    /// Whether a census would cover more than the last one.
    pub(super) fn has_news(&self) -> bool {
        self.history.covered() > self.censused
    }

    /// Entries of the last snapshot.
    pub(super) fn saved(&self) -> u64 {
        self.saved
    }

    /// Entries since the last snapshot.
    pub(super) fn unsaved(&self) -> u64 {
        self.history.size() - self.saved
    }

    /// The histories themselves.
    pub(super) fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// The last witness policy on record, if there was one; it may have been taken back.
    pub(super) fn witness(&self) -> Option<Option<Digest>> {
        self.witness
    }

    /// Takes the entries before `until`, which must be durable and hashed.
    pub(crate) fn advance(&mut self, log: Log<'_>, until: u64) -> Result<(), HistoriesError> {
        let mut leaves = Vec::new();
        while self.history.size() < until {
            let start = self.history.size();
            let count = usize::try_from(until - start).unwrap_or(usize::MAX).min(CHUNK_ENTRIES);
            // The log has hashed them once.
            leaves.resize(count, Hash::from_bytes([0; 32]));
            let read = log.levels.read(0, start, &mut leaves);
            read.map_err(|source| HistoriesError::Hashes { size: until, source })?;
            let mut leaves = leaves.iter();
            let mut taken = Ok(());
            let read = log.segments.read(start, |index, bytes| {
                if let Some(leaf) = leaves.next() {
                    taken = self.entry(log, index, bytes, Digest(*leaf.as_bytes()));
                }
                if taken.is_err() || leaves.len() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            read.map_err(HistoriesError::Read)?;
            taken?;
            if self.agents.is_full() {
                self.agents.flush()?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, log: Log<'_>, index: u64, bytes: &[u8], leaf: Digest) -> Result<(), HistoriesError> {
        let entry = EntryRef::decode_head(bytes).map_err(|source| HistoriesError::Entry { index, source })?;
        let blob = |digest: &Digest| {
            log.blobs.get(digest).unwrap_or_else(|error| {
                tracing::error!(error = chain(&error), "a blob is not what the histories need");
                None
            })
        };
        let census = self.history.push_to(index, entry, leaf, blob, &mut self.agents).map_err(HistoriesError::Push)?;
        match (entry.agent, entry.kind) {
            (Some(agent), Kind::Enrol | Kind::Maintenance | Kind::Policy | Kind::Retire) => {
                if let Some(slot) = self.history.slot(agent) {
                    self.agents.term(slot, index);
                }
            }
            (None, Kind::Policy) => {
                if let Ok(PolicyBody::Named(policy)) = PolicyBody::decode(entry.body)
                    && policy.role == WITNESS_ROLE
                {
                    self.witness = Some(policy.content);
                }
            }
            _ => {}
        }
        census.map_or(Ok(()), |census| self.census(index, &census))
    }

    fn census(&mut self, index: u64, check: &CensusCheck) -> Result<(), HistoriesError> {
        // Readers of the census find all leaves under it.
        self.agents.flush()?;
        let is_true = check.is_true();
        if !is_true {
            tracing::error!(index, "a census on record is not what the entries come to; no proof will rest on it");
        }
        let (prefix_size, clock) = (check.computed.prefix_size, check.computed.clock);
        let rows = self.history.census().rows();
        self.censuses.append(is_true.then_some(index), prefix_size, clock, rows)?;
        self.censused = check.stated.prefix_size;
        Ok(())
    }

    /// Makes everything durable, so that the next start goes on from here; returns a digest of it, which is
    /// the same for the same entries.
    pub(crate) fn save(&mut self, levels: &Levels) -> Result<Digest, HistoriesError> {
        self.agents.flush()?;
        // One call for files of thousands of agents; the snapshot must not be ahead of any.
        let path = self.folder.path();
        let synced = File::open(path).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
        synced.map_err(io("sync", path))?;
        let root = root_at(levels, self.history.size())?;
        let witness: Vec<Option<Digest>> = self.witness.into_iter().collect();
        let (count, rows_bytes) = (self.censuses.count(), self.censuses.rows_bytes());
        let history = ByteBuf::from(self.history.snapshot());
        let saved: Saved = (VERSION, root, witness, count, rows_bytes, self.censused, history);
        let saved = cbor::encode(&saved);
        let file = self.folder.file(SNAPSHOT_FILE);
        self.folder.replace(SNAPSHOT_FILE, &saved).map_err(io("write", &file))?;
        self.saved = self.history.size();
        Ok(Digest(openssl::sha::sha256(&saved)))
    }
}

fn decode(saved: &[u8]) -> Result<Saved, HistoriesError> {
    let saved: Saved = cbor::decode(saved).map_err(HistoriesError::Saved)?;
    match saved.0 {
        VERSION => Ok(saved),
        found => Err(HistoriesError::Version { expected: VERSION, found }),
    }
}

/// Entries of a snapshot.
pub(super) fn saved_size(saved: &[u8]) -> Result<u64, HistoriesError> {
    Ok(History::restore(&decode(saved)?.6).map_err(HistoriesError::Snapshot)?.size())
}

/// The files in the folder `histories` that a snapshot rests on, relative to it, and as many of their bytes.
pub(super) fn extents(histories: &Path, saved: &[u8]) -> Result<Vec<(PathBuf, u64)>, HistoriesError> {
    let (_, _, _, count, rows_bytes, _, history) = decode(saved)?;
    let history = History::restore(&history).map_err(HistoriesError::Snapshot)?;
    let mut extents = AgentFiles::new(histories).extents(&history)?;
    extents.extend(census_files::extents(count, rows_bytes));
    Ok(extents)
}

/// Brings the histories of a log up to date that nobody keeps meanwhile, if it has any; returns their digest.
pub(crate) fn bring_up(root: &Folder, log: Log<'_>, size: u64) -> Result<Option<Digest>, HistoriesError> {
    if !root.file(HISTORIES_FOLDER).exists() {
        return Ok(None);
    }
    let mut keeper = match Keeper::open(root, log, size) {
        Err(HistoriesError::Pruned { .. }) => return Ok(None),
        opened => opened?,
    };
    keeper.advance(log, size)?;
    keeper.save(log.levels).map(Some)
}

/// Root of the log's first `size` entries.
fn root_at(levels: &Levels, size: u64) -> Result<Digest, HistoriesError> {
    let restored = Frontier::restore(size, |level, start, out: &mut [_]| levels.read(level, start, out));
    let frontier = restored.map_err(|error| {
        let source = match error {
            TreeError::Read { source, .. } => source,
            other => std::io::Error::other(other),
        };
        HistoriesError::Hashes { size, source }
    })?;
    Ok(Digest(*frontier.tree_head().root.as_bytes()))
}

const VERSION: u64 = 1;

/// The snapshot's file in the folder of the histories.
pub(crate) const SNAPSHOT_FILE: &str = "snapshot";

/// Entries read in one go: a few megabytes, of which nothing stays.
const CHUNK_ENTRIES: usize = 8_192;
