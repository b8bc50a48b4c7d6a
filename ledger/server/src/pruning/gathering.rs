//! Goes through the entries that are to be pruned, for what must outlive them.

use std::collections::BTreeSet;

use ledger_protocol::{Answers, Entry, Kind, LogState};
use messages::Digest;

use super::PruneError;
use crate::engine::Shared;
use crate::identity::origin_digest;
use crate::pruned::{Pruned, Snapshot, is_kept};
use crate::segment::{BatchReader, ScannedBatch, header, name};

/// What the pruned entries leave behind.
pub(super) struct Gathered {
    pub(super) answers: Answers,
    pub(super) answers_from: u64,
    /// Blobs of boot logs and measurement lists that they name.
    pub(super) evidence: BTreeSet<Digest>,
    /// Index and bytes of small entries.
    pub(super) kept: Vec<(u64, Vec<u8>)>,
    pub(super) root: Digest,
    pub(super) state: LogState,
}

/// Reads the segments before `first`, which are there from `before` on.
pub(super) fn gather(
    shared: &Shared,
    before: Option<(Pruned, Snapshot)>,
    firsts: &[u64],
    first: u64,
) -> Result<Gathered, PruneError> {
    let mut gathered = begin(before)?;
    let origin = origin_digest(&shared.origin);
    for segment in firsts.iter().copied().take_while(|segment| *segment < first) {
        let path = shared.segments.folder().file(&name(segment));
        let damaged = |offset, source| PruneError::Damaged { path: path.clone(), offset, source };
        let opened = BatchReader::open(&path, segment, &header(segment, &origin));
        let mut reader = opened.map_err(|source| damaged(0, source))?;
        loop {
            let offset = reader.offset();
            match reader.next().map_err(|source| damaged(offset, source))? {
                Some(batch) => gathered.batch(shared, &batch)?,
                None => break,
            }
        }
    }
    let read = |level, start, out: &mut [_]| shared.levels.read(level, start, out);
    let head = ledger_tlog::tree::tree_head(first, read);
    let root = head.map_err(|error| PruneError::Entry { index: first, source: error.into() })?.root;
    gathered.root = Digest(*root.as_bytes());
    for (_, bytes) in &gathered.kept {
        let named = Entry::decode(bytes).ok().and_then(|entry| entry.blobs().ok()).unwrap_or_default();
        named.iter().for_each(|blob| _ = gathered.evidence.remove(blob));
    }
    Ok(gathered)
}

/// What an earlier prune has left behind, including evidence whose time had not come.
fn begin(before: Option<(Pruned, Snapshot)>) -> Result<Gathered, PruneError> {
    let Some((pruned, snapshot)) = before else {
        return Ok(Gathered {
            answers: Answers::default(),
            answers_from: 0,
            evidence: BTreeSet::new(),
            kept: Vec::new(),
            root: Digest::ZERO,
            state: LogState::default(),
        });
    };
    let kept: Result<Vec<_>, _> = pruned.kept.from(0).collect();
    Ok(Gathered {
        answers: snapshot.answers,
        answers_from: snapshot.answers_from,
        evidence: snapshot.doomed.into_iter().collect(),
        kept: kept.map_err(|error| PruneError::Entry { index: pruned.first, source: error.into() })?,
        root: Digest::ZERO,
        state: snapshot.state,
    })
}

impl Gathered {
    fn batch(&mut self, shared: &Shared, batch: &ScannedBatch) -> Result<(), PruneError> {
        for ((_, bytes), index) in batch.entries().zip(batch.first..) {
            let entry = Entry::decode(bytes).map_err(|error| PruneError::Entry { index, source: error.into() })?;
            let applied = self.state.apply(&entry, Entry::leaf_hash(bytes), |size| shared.signed(size));
            applied.map_err(|source| PruneError::Rule { index, source })?;
            match entry.kind {
                Kind::Quote => self.evidence.extend(entry.blobs().unwrap_or_default()),
                _ if is_kept(&entry) => self.kept.push((index, bytes.to_vec())),
                _ => {}
            }
        }
        for (key, outcomes) in &batch.answers {
            self.answers_from += self.answers.remember(*key, outcomes.clone()).len() as u64;
        }
        Ok(())
    }
}
