//! Where the maker of proofs finds what the ledger keeps.

use std::cell::RefCell;
use std::io;

use ledger_history::interval::{CensusChoice, Store, StoredCensus};
use ledger_history::node::{Leaf, Node};
use ledger_protocol::{Entry, EntryError};
use ledger_tlog::hash::Hash;
use messages::{AgentId, Digest};

use super::census_files::CensusRecord;
use super::{Histories, HistoriesError, agent_files};
use crate::blobs::BlobError;
use crate::engine::{Published, Shared};
use crate::segment::ReadError;
use crate::store::IndexError;

/// The log's files under one of its checkpoints.
pub(super) struct Shelf<'a> {
    /// Censuses that were looked for: a proof of the fleet asks for the same two again for each slot.
    found: RefCell<Vec<Found>>,
    histories: &'a Histories,
    shared: &'a Shared,
    /// The checkpoint that proofs end in.
    tree: Published,
}

/// What was asked, and which census it is.
type Found = (CensusChoice, u64, Option<(u64, CensusRecord)>);

/// Why a part of a proof was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error("a blob cannot be read")]
    Blob(#[source] BlobError),
    #[error("entry {index} does not decode")]
    Entry { index: u64, source: EntryError },
    #[error("the hashes of the tree cannot be read")]
    Hashes(#[source] io::Error),
    #[error("the histories cannot be read")]
    Histories(#[source] HistoriesError),
    #[error("the index cannot be read")]
    Index(#[source] IndexError),
    #[error("a small entry that outlived a prune cannot be read")]
    Kept(#[source] io::Error),
    #[error("no agent is known of slot {slot}")]
    NoAgent { slot: u32 },
    #[error("entry {seq} of the chain of {agent} is not in the index")]
    NoRun { agent: AgentId, seq: u64 },
    #[error("the checkpoint of {size} entries is not kept")]
    NoNote { size: u64 },
    #[error("the checkpoint of {size} entries cannot be read")]
    Note { size: u64, source: io::Error },
    #[error("entry {index} was pruned")]
    Pruned { index: u64 },
    #[error("an entry cannot be read")]
    Read(#[source] ReadError),
    #[error("the stamps on a checkpoint cannot be read")]
    Stamps(#[source] io::Error),
    #[error("a full proof of {found} entries was asked for; expected at most {FULL_ENTRIES_MAX}")]
    TooMany { found: u64 },
}

impl ShelfError {
    /// Whether something else should have been asked for.
    pub(crate) fn is_callers(&self) -> bool {
        matches!(self, Self::TooMany { .. })
    }

    /// Whether an entry is needed that this log has no more.
    pub(crate) fn is_pruned(&self) -> bool {
        matches!(self, Self::Pruned { .. })
    }
}

impl<'a> Shelf<'a> {
    pub(super) fn new(histories: &'a Histories, shared: &'a Shared, tree: Published) -> Self {
        Self { found: RefCell::default(), histories, shared, tree }
    }

    pub(super) fn shared(&self) -> &Shared {
        self.shared
    }

    /// A census whose entry is under the checkpoint of `tree_size`: its number and its record.
    pub(super) fn find(
        &self,
        choice: CensusChoice,
        tree_size: u64,
    ) -> Result<Option<(u64, CensusRecord)>, HistoriesError> {
        let known =
            self.found.borrow().iter().find(|known| (known.0, known.1) == (choice, tree_size)).map(|known| known.2);
        if let Some(found) = known {
            return Ok(found);
        }
        let found = self.look_for(choice, tree_size)?;
        self.found.borrow_mut().push((choice, tree_size, found));
        Ok(found)
    }

    fn look_for(&self, choice: CensusChoice, tree_size: u64) -> Result<Option<(u64, CensusRecord)>, HistoriesError> {
        let read = |number| CensusRecord::read(&self.histories.path, number);
        let second = match choice {
            CensusChoice::After(second) => second.saturating_add(1),
            CensusChoice::Before(second) => second,
        };
        // The first that is not before `second`, as if the clock never went back.
        let (mut low, mut high) = (0, self.histories.shown());
        let shown = high;
        while low < high {
            let middle = low.midpoint(high);
            if read(middle)?.clock.seconds < second { low = middle + 1 } else { high = middle }
        }
        // A census whose entry was pruned can be shown to nobody.
        let first = self.shared.pruned().map_or(0, |pruned| pruned.first);
        let usable = |record: &CensusRecord| record.index.is_some_and(|index| (first..tree_size).contains(&index));
        if matches!(choice, CensusChoice::After(_)) {
            for number in low..shown {
                let record = read(number)?;
                match record.index {
                    Some(index) if index >= tree_size => break,
                    Some(_) if usable(&record) && record.clock.seconds >= second => return Ok(Some((number, record))),
                    _ => {}
                }
            }
        }
        let is_last_resort = matches!(choice, CensusChoice::After(_));
        let before = if is_last_resort { shown } else { low };
        for number in (0..before).rev() {
            let record = read(number)?;
            // It does go back where another witness policy comes into force.
            if usable(&record) && (is_last_resort || record.clock.seconds < second) {
                return Ok(Some((number, record)));
            }
        }
        Ok(None)
    }

    fn seq(&self, index: u64) -> Result<u64, ShelfError> {
        let bytes = self.entry(index)?;
        Ok(Entry::decode(&bytes).map_err(|source| ShelfError::Entry { index, source })?.seq)
    }
}

impl Store for Shelf<'_> {
    type Error = ShelfError;

    fn agent(&self, slot: u32) -> Result<AgentId, ShelfError> {
        // The first entry that governs an agent is the one that enrols it.
        let index = self.terms(slot)?.first().copied().ok_or(ShelfError::NoAgent { slot })?;
        let entry = Entry::decode(&self.entry(index)?).map_err(|source| ShelfError::Entry { index, source })?;
        entry.agent.ok_or(ShelfError::NoAgent { slot })
    }

    fn leaves(&self, slot: u32, start: u64, count: u64) -> Result<Vec<Leaf>, ShelfError> {
        agent_files::read_leaves(&self.histories.path, slot, start, count).map_err(ShelfError::Histories)
    }

    fn nodes(&self, slot: u32, level: u8, start: u64, count: u64) -> Result<Vec<Node>, ShelfError> {
        agent_files::read_nodes(&self.histories.path, slot, level, start, count).map_err(ShelfError::Histories)
    }

    fn terms(&self, slot: u32) -> Result<Vec<u64>, ShelfError> {
        agent_files::read_terms(&self.histories.path, slot).map_err(ShelfError::Histories)
    }

    fn chain(&self, agent: &AgentId, first: u64, last: u64) -> Result<Vec<u64>, ShelfError> {
        let (mut seq, end) = (self.seq(first)?, self.seq(last)? + 1);
        let found = end.saturating_sub(seq);
        if found > FULL_ENTRIES_MAX {
            return Err(ShelfError::TooMany { found });
        }
        let mut indices = Vec::with_capacity(usize::try_from(found).unwrap_or_default());
        while seq < end {
            let run = self.shared.index.run(Some(agent), seq).map_err(ShelfError::Index)?;
            let Some((run, next)) = run else {
                return Err(ShelfError::NoRun { agent: agent.clone(), seq });
            };
            let run_end = next.unwrap_or(end).min(end);
            indices.extend((seq..run_end).map(|seq| run.index + (seq - run.seq)));
            seq = run_end;
        }
        Ok(indices)
    }

    fn entry(&self, index: u64) -> Result<Vec<u8>, ShelfError> {
        match (self.shared.segments.entry(index), self.shared.pruned()) {
            (Err(ReadError::Missing { .. }), Some(pruned)) if index < pruned.first => {
                pruned.kept.entry(index).map_err(ShelfError::Kept)?.ok_or(ShelfError::Pruned { index })
            }
            (read, _) => read.map_err(ShelfError::Read),
        }
    }

    fn hashes(&self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), ShelfError> {
        self.shared.levels.read(level, start, out).map_err(ShelfError::Hashes)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ShelfError> {
        self.shared.blobs.get(digest).map_err(ShelfError::Blob)
    }

    fn note(&self, size: u64) -> Result<Vec<u8>, ShelfError> {
        let note = self.shared.checkpoints.read(size).map_err(|source| ShelfError::Note { size, source })?;
        note.ok_or(ShelfError::NoNote { size })
    }

    fn latest_note(&self) -> Result<(u64, Vec<u8>), ShelfError> {
        Ok((self.tree.size, self.tree.note.to_vec()))
    }

    fn timestamps(&self, tree_size: u64) -> Result<Vec<u64>, ShelfError> {
        self.timestamps_below(tree_size)
    }

    fn census(&self, choice: CensusChoice, slot: u32, tree_size: u64) -> Result<Option<StoredCensus>, ShelfError> {
        let Some((number, record)) = self.find(choice, tree_size).map_err(ShelfError::Histories)? else {
            return Ok(None);
        };
        let Some(index) = record.index else { return Ok(None) };
        let census = self.histories.census(number).map_err(ShelfError::Histories)?;
        Ok(Some(StoredCensus { index, prefix_size: record.prefix_size, opening: census.open(slot) }))
    }
}

/// Entries of a full proof: about 50 MB, 14 hours of quotes and verdicts every second. Longer intervals are
/// asked for in parts.
pub(super) const FULL_ENTRIES_MAX: u64 = 100_000;
