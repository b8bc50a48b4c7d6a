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
use crate::segment::{BatchReader, ScannedBatch, Segments, header, name, torn_tail};

/// Checks all segments; returns the digests of the blobs that entries name.
pub(super) fn check(
    segments: &Folder,
    key: &NoteVerifier,
    kept: &BTreeMap<u64, Kept>,
    leaves: &SyncSender<Vec<Hash>>,
    report: &mut FsckReport,
    progress: &mut impl FnMut(u64, u64),
) -> BTreeSet<Digest> {
    let mut check = EntryCheck { broken: false, key, kept, named: BTreeSet::new(), state: LogState::default() };
    let (firsts, strangers) = match Segments::list(segments) {
        Ok(found) => found,
        Err(error) => {
            report.damage("segments", unreadable(&error));
            return check.named;
        }
    };
    for stranger in strangers {
        report.notice(relative("segments", &stranger), "is not named by an index; expected only segments");
    }
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
