//! Segments: checksums, form, rules, and which blobs the entries name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::SyncSender;

use ledger_protocol::body::{Body, Genesis};
use ledger_protocol::{Entry, Kind, LogState};
use ledger_tlog::hash::{Hash, leaf_hash};
use ledger_tlog::key::NoteVerifier;
use messages::Digest;

use super::{FsckReport, Kept, relative, unreadable};
use crate::engine::chain;
use crate::folder::Folder;
use crate::identity::origin_digest;
use crate::levels::Levels;
use crate::pruned::{PRUNED_FOLDER, Pruned, Snapshot, for_each_leaf, kept_name, state_name, stored_leaf};
use crate::segment::{BatchReader, ScannedBatch, Segments, header, name, torn_tail};

/// Checks all segments; returns the digests of the blobs that entries name.
pub(super) fn check(
    segments: &Folder,
    key: &NoteVerifier,
    kept: &BTreeMap<u64, Kept>,
    leaves: &SyncSender<Vec<Hash>>,
    (pruned, levels): (Option<&(Pruned, Snapshot)>, &Folder),
    report: &mut FsckReport,
    progress: &mut impl FnMut(u64, u64),
) -> BTreeSet<Digest> {
    let mut check = EntryCheck { broken: false, key, kept, named: BTreeSet::new(), state: LogState::default() };
    let base = pruned.map_or(0, |(pruned, snapshot)| check.begin_pruned(pruned, snapshot, levels, leaves, report));
    let (mut firsts, strangers) = match Segments::list(segments) {
        Ok(found) => found,
        Err(error) => {
            report.damage("segments", unreadable(&error));
            return check.named;
        }
    };
    for stranger in strangers {
        report.notice(relative("segments", &stranger), "is not named by an index; expected only segments");
    }
    for first in firsts.iter().filter(|first| **first < base) {
        report.notice(relative("segments", &name(*first)), "was pruned; the next start deletes it");
    }
    firsts.retain(|first| *first >= base);
    let length = |first: &u64| segments.file(&name(*first)).metadata().map_or(0, |metadata| metadata.len());
    let total = firsts.iter().map(length).sum();
    let mut before = 0;
    for (position, first) in firsts.iter().enumerate() {
        let is_last = position + 1 == firsts.len();
        let expected = report.entries;
        if *first != expected {
            let text = format!("no segment begins with entry {expected}; the next one begins with {first}");
            report.damage(relative("segments", &name(expected)), text);
            break;
        }
        let mut here = |offset| progress(before + offset, total);
        if !check.segment(segments, *first, is_last, leaves, report, &mut here) {
            break;
        }
        before += length(first);
    }
    check.named
}

struct EntryCheck<'a> {
    /// A rule was broken: what follows would only repeat it.
    broken: bool,
    key: &'a NoteVerifier,
    kept: &'a BTreeMap<u64, Kept>,
    named: BTreeSet<Digest>,
    state: LogState,
}

impl EntryCheck<'_> {
    /// Takes up what the pruned entries have left behind, checked against their leaves; returns
    /// where the rest begins.
    fn begin_pruned(
        &mut self,
        pruned: &Pruned,
        snapshot: &Snapshot,
        levels: &Folder,
        leaves: &SyncSender<Vec<Hash>>,
        report: &mut FsckReport,
    ) -> u64 {
        let first = pruned.first;
        report.entries = first;
        report.pruned = first;
        self.state = snapshot.state.clone();
        let read = Levels::open(levels.path().to_owned()).and_then(|levels| {
            let mut some = Vec::new();
            for_each_leaf(&levels, first, |leaf| {
                some.push(leaf);
                if some.len() >= LEAVES_SENT {
                    let _ = leaves.send(std::mem::take(&mut some));
                }
            })?;
            let _ = leaves.send(some);
            Ok(levels)
        });
        match read {
            Ok(levels) => {
                self.check_state(pruned, snapshot, &levels, report);
                self.check_kept_entries(pruned, &levels, report);
            }
            Err(error) => report.damage("levels/0", format!("the hashes of pruned entries: {}", unreadable(&error))),
        }
        first
    }

    /// Every chain ends with an entry whose leaf is in the tree.
    fn check_state(&self, pruned: &Pruned, snapshot: &Snapshot, levels: &Levels, report: &mut FsckReport) {
        let totals = snapshot.state.totals();
        let fleet = totals.fleet_index.map(|index| (index, totals.fleet.prev));
        let agents = snapshot.state.agents().map(|(_, chain)| (chain.last_index, chain.head.prev));
        for (index, head) in agents.chain(fleet) {
            if stored_leaf(levels, index).ok() != Some(head) {
                let file = relative(PRUNED_FOLDER, &state_name(pruned.first));
                report.damage(file, format!("a chain ends with entry {index}, whose hash in levels/0 is another"));
            }
        }
    }

    fn check_kept_entries(&mut self, pruned: &Pruned, levels: &Levels, report: &mut FsckReport) {
        let file = relative(PRUNED_FOLDER, &kept_name(pruned.first));
        for found in pruned.kept.from(0) {
            let (index, bytes) = match found {
                Ok(found) => found,
                Err(error) => return report.damage(file, unreadable(&error)),
            };
            if stored_leaf(levels, index).ok() != Some(Digest(*leaf_hash(&bytes).as_bytes())) {
                report.damage(file.clone(), format!("entry {index} is not the one whose hash is in levels/0"));
            }
            self.named.extend(Entry::decode(&bytes).ok().and_then(|entry| entry.blobs().ok()).unwrap_or_default());
        }
    }

    /// False if nothing can be said of what follows.
    fn segment(
        &mut self,
        segments: &Folder,
        first: u64,
        is_last: bool,
        leaves: &SyncSender<Vec<Hash>>,
        report: &mut FsckReport,
        progress: &mut impl FnMut(u64),
    ) -> bool {
        let path = segments.file(&name(first));
        let file = relative("segments", &name(first));
        let header = header(first, &origin_digest(self.key.name().as_str()));
        let mut reader = match BatchReader::open(&path, first, &header) {
            Ok(reader) => reader,
            Err(flaw) => {
                report.damage(file, format!("byte 0: {}", chain(&flaw)));
                return false;
            }
        };
        loop {
            match reader.next() {
                Ok(None) => {
                    if let Some(flaw) = reader.expect_no_slack().err().filter(|_| !is_last) {
                        report.damage(file, format!("byte {}: {}", reader.offset(), chain(&flaw)));
                    }
                    return true;
                }
                Ok(Some(batch)) => {
                    // Who hashes the tree ends only when no more leaves can come.
                    let _ = leaves.send(self.batch(&batch, &file, report));
                    progress(reader.offset());
                }
                Err(flaw) => {
                    let offset = reader.offset();
                    let text = format!("byte {offset}: {}", chain(&flaw));
                    // What a start would cut off. If it was signed or is in the index, those checks miss it.
                    if is_last && matches!(torn_tail(&path, offset, &flaw), Ok(Some(_))) {
                        report.notice(file, format!("{text}; a batch that was never confirmed, or was cut later"));
                    } else {
                        report.damage(file, text);
                    }
                    return false;
                }
            }
        }
    }

    /// Checks a batch; returns its leaves.
    fn batch(&mut self, batch: &ScannedBatch, file: &str, report: &mut FsckReport) -> Vec<Hash> {
        let mut leaves = Vec::new();
        for (offset, bytes) in batch.entries() {
            let index = report.entries;
            let leaf = leaf_hash(bytes);
            if let Err(text) = self.entry(bytes, leaf) {
                report.damage(file, format!("byte {offset}: entry {index}: {text}"));
            }
            leaves.push(leaf);
            report.entries += 1;
        }
        leaves
    }

    fn entry(&mut self, bytes: &[u8], leaf: Hash) -> Result<(), String> {
        let entry = Entry::decode(bytes).map_err(|error| chain(&error))?;
        if entry.kind == Kind::Genesis {
            let genesis = Genesis::decode(&entry.body).map_err(|error| chain(&error))?;
            if genesis.vkey != self.key.to_string() {
                return Err(format!("genesis names the key {}; log.vkey has {}", genesis.vkey, self.key));
            }
        }
        if let Ok(blobs) = entry.blobs() {
            self.named.extend(blobs);
        }
        if self.broken {
            return Ok(());
        }
        let signed = |size| self.kept.get(&size).map(|kept| kept.digest);
        let applied = self.state.apply(&entry, Digest(*leaf.as_bytes()), signed);
        self.broken = applied.is_err();
        applied.map_err(|error| format!("{}; entries after it are not checked against the rules", chain(&error)))
    }
}

/// Leaves handed on at once: what a batch of entries has.
const LEAVES_SENT: usize = 4_096;
