//! Goes through the entries of a log that is being opened: hashes, rules, indexes.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use ledger_protocol::{Answers, Entry, LogState};
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::tree::TreeHead;
use messages::{AgentId, Digest};

use super::OpenError;
use super::indexing::Ends;
use super::opening::io_error;
use super::publishing::begins_run;
use crate::levels::LevelWriter;
use crate::segment::{Extent, Location, MARK_INTERVAL, ScannedBatch};
use crate::store::{Index, Run, Update};

/// What the entries say, gathered as they are read.
pub(super) struct Replay<'a> {
    pub(super) answer_numbers: Range<u64>,
    pub(super) answers: Answers,
    pub(super) ends: Ends,
    pub(super) index: &'a Index,
    /// Entries that the index has.
    pub(super) indexed: u64,
    pub(super) level_writer: LevelWriter,
    pub(super) levels_path: PathBuf,
    pub(super) signed: Option<TreeHead>,
    /// Root of as many entries as were signed.
    pub(super) signed_root: Option<Hash>,
    pub(super) state: LogState,
    /// Hashes that were not what the entries say.
    pub(super) wrong: u64,
}

impl Replay<'_> {
    /// Takes in a batch that ends at `end` in the segment `segment`.
    pub(super) fn batch(&mut self, batch: &ScannedBatch, segment: u64, end: u64) -> Result<(), OpenError> {
        let mut update = Update::default();
        let mut touched: HashSet<AgentId> = HashSet::new();
        let mut index = batch.first;
        for (offset, bytes) in batch.entries() {
            let leaf = leaf_hash(bytes);
            self.level_writer.append(leaf);
            self.note_signed_root();
            if index >= self.indexed {
                let entry = Entry::decode(bytes).map_err(|source| OpenError::Entry { index, source })?;
                let location = Location { segment, offset };
                self.entry(&entry, Digest(*leaf.as_bytes()), index, location, &mut update)?;
                if index.is_multiple_of(MARK_INTERVAL) {
                    update.add_mark(index, location);
                }
                if let Some(agent) = entry.agent
                    && !touched.contains(&agent)
                {
                    touched.insert(agent);
                }
            }
            index += 1;
        }
        self.wrong += self.level_writer.repair().map_err(|source| io_error("write", &self.levels_path, source))?;
        let extent = Extent { start: Location { segment, offset: batch.offset }, end };
        self.ends.note(extent, batch.first, &mut update);
        if index <= self.indexed {
            return Ok(());
        }
        for agent in touched {
            if let Some(chain) = self.state.agent(&agent) {
                let chain = chain.clone();
                update.chain(agent, chain);
            }
        }
        for answer in &batch.answers {
            update.answer(self.answer_numbers.end, answer.clone());
            self.answer_numbers.end += 1;
            for _ in self.answers.remember(answer.0, answer.1.clone()) {
                update.forget_answer(self.answer_numbers.start);
                self.answer_numbers.start += 1;
            }
        }
        update.set_totals(*self.state.totals());
        self.index.stage(update);
        if self.index.pressure().0 { self.write_index() } else { Ok(()) }
    }

    /// Writes what the index does not have yet, its hashes first.
    fn write_index(&self) -> Result<(), OpenError> {
        let sync = || self.level_writer.sync().map_err(|source| io_error("sync", &self.levels_path, source));
        self.index.write_staged(sync).map(drop)
    }

    fn entry(
        &mut self,
        entry: &Entry,
        leaf_hash: Digest,
        index: u64,
        location: Location,
        update: &mut Update,
    ) -> Result<(), OpenError> {
        let previous_index = self.state.last_index(entry.agent.as_ref());
        let known = self.index;
        let signed = |size| known.checkpoint(size).ok().flatten();
        self.state.apply(entry, leaf_hash, signed).map_err(|source| OpenError::Rule { index, source })?;
        if begins_run(previous_index, index, location.segment) {
            update.run(entry.agent.as_ref(), Run { seq: entry.seq, index, location });
        }
        Ok(())
    }

    fn note_signed_root(&mut self) {
        let size = self.signed.map(|signed| signed.tree_size);
        if size.is_some_and(|size| self.level_writer.tree_size() == size) {
            self.signed_root = Some(self.level_writer.tree_head().root);
        }
    }

    /// Everything is read: is everything there?
    pub(super) fn finish(self) -> Result<Self, OpenError> {
        let found = self.level_writer.tree_size();
        if let Some(TreeHead { tree_size, root }) = self.signed {
            match self.signed_root {
                None => return Err(OpenError::SignedLost { signed: tree_size, found }),
                Some(computed) if computed != root => {
                    return Err(OpenError::SignedOther { size: tree_size, signed: root, found: computed });
                }
                Some(_) => {}
            }
        }
        if self.indexed > found {
            return Err(OpenError::IndexAhead { index: self.indexed, segments: found });
        }
        self.write_index()?;
        let trimmed = self.level_writer.trim().map_err(|source| io_error("cut", &self.levels_path, source))?;
        if self.wrong + trimmed > 0 {
            tracing::warn!(self.wrong, trimmed, "hashes in {} were not those of the entries; mended", LEVELS);
        }
        Ok(self)
    }
}

const LEVELS: &str = "levels/";
