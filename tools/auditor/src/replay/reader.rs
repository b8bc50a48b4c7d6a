//! What follows from the entries alone, entry by entry.

use std::collections::HashMap;

use ledger_history::{
    clock_info::extra_data,
    history::{History, NewLeaf, NewNode, PushError, Sink},
};
use ledger_protocol::{
    Beacon, Entry, EntryRef, Kind, LogState, NonceInputs,
    body::{Body, CheckpointBody, TimestampBody},
};
use ledger_tlog::{
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    key::NoteVerifier,
    tree::{self, TreeHead},
};
use messages::{AgentId, Digest, UnixMillis, cbor, ledger::Head};

use super::{
    Counts, Findings,
    pruned::{is_tree, pruned_by},
    stamps,
};
use crate::{
    cause,
    hashes::{HashFiles, HashesLost},
    log::{Boundary, Log, OutlivedHistories},
};

/// A log as far as it was read.
#[derive(Debug)]
pub(crate) struct Reader {
    key: NoteVerifier,
    hashes: HashFiles,
    frontier: Frontier,
    /// Until a rule is broken: what comes after cannot be judged by a state that is false.
    state: Option<LogState>,
    /// Until an entry is not taken.
    history: Option<History>,
    /// Digests of the notes that entries name, by size.
    notes: HashMap<u64, Digest>,
    open: HashMap<AgentId, OpenQuote>,
    counts: Counts,
    recorded: UnixMillis,
    census_recorded: Option<UnixMillis>,
    /// Of a pruned log: the root under which the histories that outlived its entries were made.
    outlived: Option<Hash>,
    /// The first census that was computed, by its entry.
    first_census: Option<u64>,
    /// Below which index the log has said that bundles are not served any more.
    pruned_below: u64,
}

impl Reader {
    /// Of a log with that key, from its first entry on.
    pub(crate) fn new(key: NoteVerifier) -> Self {
        Self {
            key,
            hashes: HashFiles::default(),
            frontier: Frontier::new(),
            state: Some(LogState::default()),
            history: Some(History::new()),
            notes: HashMap::new(),
            open: HashMap::new(),
            counts: Counts::default(),
            recorded: UnixMillis(0),
            census_recorded: None,
            outlived: None,
            first_census: None,
            pruned_below: 0,
        }
    }

    /// Of a log whose entries up to `boundary` were pruned, whose leaves are in `tree`. Histories go on from those that
    /// outlived them.
    pub(crate) fn behind(
        key: NoteVerifier,
        boundary: &Boundary,
        tree: (HashFiles, Frontier),
        outlived: Option<OutlivedHistories>,
    ) -> Self {
        let (root, history) = outlived.map(|outlived| (outlived.root, outlived.history)).unzip();
        let (hashes, frontier) = tree;
        Self {
            hashes,
            frontier,
            state: Some(LogState::restore(boundary.totals, boundary.agents.iter().cloned())),
            history,
            counts: Counts { machines: boundary.totals.next_slot, ..Counts::default() },
            recorded: boundary.totals.recorded,
            outlived: root,
            pruned_below: boundary.minimum_index,
            ..Self::new(key)
        }
    }

    /// The first census that was computed, by its entry.
    pub(crate) fn first_census(&self) -> Option<u64> {
        self.first_census
    }

    /// Below which index the log has said that it serves no bundles any more.
    pub(crate) fn pruned_below(&self) -> u64 {
        self.pruned_below
    }

    /// The tree of what was read.
    pub(crate) fn head(&self) -> TreeHead {
        self.frontier.tree_head()
    }

    /// A copy of the tree's right edge, to try entries on.
    pub(crate) fn frontier(&self) -> Frontier {
        self.frontier.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The log's clock at the last entry, and at the last census.
    pub(crate) fn recorded(&self) -> (UnixMillis, Option<UnixMillis>) {
        (self.recorded, self.census_recorded)
    }

    /// Takes the next entry. What is false is found, not an error.
    pub(crate) fn take(
        &mut self,
        log: &Log,
        index: u64,
        bytes: &[u8],
        findings: &mut Findings,
    ) -> Result<(), HashesLost> {
        let leaf = Entry::leaf_hash(bytes);
        self.hashes.append(&mut self.frontier, Hash::from_bytes(leaf.0))?;
        self.counts.entries += 1;
        let entry = match EntryRef::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                findings.refute("entries", index, cause::chain(&error));
                (self.state, self.history) = (None, None);
                return Ok(());
            }
        };
        self.recorded = entry.recorded;
        self.pruned_below = pruned_by(&entry).map_or(self.pruned_below, |below| below.max(self.pruned_below));
        self.named_note(log, index, &entry, findings)?;
        if let Some(state) = &mut self.state {
            let notes = &self.notes;
            if let Err(broken) = state.apply(entry, leaf, |size| notes.get(&size).copied()) {
                findings.refute(
                    "rules",
                    index,
                    format!("{}; what comes after is not held against the rules", cause::chain(&broken)),
                );
                self.state = None;
            }
        }
        self.nonce(index, &entry, leaf, findings);
        stamps::check(log, index, &entry, findings);
        self.history(log, index, &entry, leaf, findings);
        Ok(())
    }

    /// A beacon or a checkpoint entry names a note: it is the log's, and of this very tree.
    fn named_note(
        &mut self,
        log: &Log,
        index: u64,
        entry: &EntryRef<'_>,
        findings: &mut Findings,
    ) -> Result<(), HashesLost> {
        let named = match (entry.agent, entry.kind) {
            (Some(_), Kind::Quote) => beacon_of(entry.body),
            (None, Kind::Checkpoint) => CheckpointBody::decode(entry.body)
                .ok()
                .map(|body| Beacon { tree_size: body.tree_size, note_digest: body.note }),
            // What was stamped need not be on record as a checkpoint.
            (None, Kind::Timestamp) => TimestampBody::decode(entry.body)
                .ok()
                .map(|body| Beacon { tree_size: body.tree_size, note_digest: body.note }),
            _ => None,
        };
        let Some(Beacon { tree_size, note_digest }) = named else { return Ok(()) };
        if self.notes.get(&tree_size) == Some(&note_digest) {
            return Ok(());
        }
        if self.notes.contains_key(&tree_size) {
            let text = format!("it names another checkpoint of {tree_size} entries than an entry before it");
            findings.refute("fork", index, text);
            return Ok(());
        }
        self.notes.insert(tree_size, note_digest);
        let is_it = |note: &Vec<u8>| openssl::sha::sha256(note) == note_digest.0;
        let kept = log.note(tree_size).ok().flatten().filter(is_it);
        let Some(note) = kept.or_else(|| log.blob(&note_digest).ok().flatten()) else {
            findings.doubt("notes", index, format!("the checkpoint of {tree_size} entries that it names is not here"));
            return Ok(());
        };
        self.counts.notes += 1;
        let opened = match Checkpoint::open(&note, self.key.name().as_str(), &self.key, &[]) {
            Ok(opened) => *opened.tree_head(),
            Err(error) => {
                findings.refute("notes", index, format!("the checkpoint that it names: {}", cause::chain(&error)));
                return Ok(());
            }
        };
        let ours = match tree_size <= self.frontier.tree_size() {
            true => {
                Some(tree::tree_head(tree_size, |level, start, out: &mut [Hash]| self.hashes.read(level, start, out)))
            }
            false => None,
        };
        match ours {
            Some(Ok(ours)) if ours == opened => {}
            Some(Err(error)) => {
                findings.doubt("notes", index, cause::chain(&error));
            }
            Some(Ok(_)) | None => {
                let text = format!(
                    "it names a signed checkpoint of {} entries with another root than this log has",
                    opened.tree_size
                );
                findings.refute("fork", index, text);
            }
        }
        Ok(())
    }

    /// A quote that a verdict passes answers the challenge of its own place.
    fn nonce(&mut self, index: u64, entry: &EntryRef<'_>, leaf: Digest, findings: &mut Findings) {
        let Some(agent) = entry.agent else { return };
        match entry.kind {
            Kind::Quote => {
                self.counts.quotes += 1;
                match self.open.get_mut(agent.as_str()) {
                    Some(open) => open.answered(entry, leaf),
                    None => {
                        let mut open = OpenQuote { agent: agent.to_id(), quote: leaf, answered: false };
                        open.answered(entry, leaf);
                        self.open.insert(agent.to_id(), open);
                    }
                }
            }
            Kind::Verdict => {
                self.counts.verdicts += 1;
                let open = self.open.get(agent.as_str()).filter(|open| !open.answered);
                if let (Some(open), Some((named, 0))) = (open, result_of(entry.body))
                    && open.quote == named
                {
                    findings.refute(
                        "nonces",
                        index,
                        "it passes a quote that does not answer its own challenge".to_owned(),
                    );
                }
            }
            _ => {}
        }
    }

    fn history(&mut self, log: &Log, index: u64, entry: &EntryRef<'_>, leaf: Digest, findings: &mut Findings) {
        let Some(history) = &mut self.history else { return };
        // Those that outlived a prune have taken entries behind it.
        if index < history.size() {
            return;
        }
        if let Some(root) = self.outlived.take()
            && !is_tree(&self.hashes, index, root)
        {
            let text =
                format!("the histories that outlived the pruned entries are of another log than this of {index}");
            findings.refute("pruned", index, text);
            self.history = None;
            return;
        }
        let blob =
            |digest: &Digest| log.blob(digest).ok().flatten().or_else(|| crate::rebuild::note_blob(log, entry, digest));
        match history.push_to(index, *entry, leaf, blob, &mut Unkept) {
            Err(error @ PushError::Blob { .. }) => {
                let text = format!("{}; histories and censuses are not computed from here on", cause::chain(&error));
                findings.doubt("histories", index, text);
                self.history = None;
            }
            Err(error) => {
                findings.refute("histories", index, cause::chain(&error));
                self.history = None;
            }
            Ok(census) => {
                if let Some(census) = census {
                    self.counts.censuses += 1;
                    self.census_recorded = Some(entry.recorded);
                    self.first_census.get_or_insert(index);
                    if !census.is_true() {
                        let (stated, computed) = (&census.stated, census.computed.body());
                        let text = format!(
                            "census {} of {} entries has root {} and sums {}; the entries come to root {} and sums {}",
                            stated.epoch,
                            stated.prefix_size,
                            stated.root,
                            hex::encode(&stated.sums),
                            computed.root,
                            hex::encode(&computed.sums)
                        );
                        findings.refute("census", index, text);
                    }
                }
                if entry.kind == Kind::Enrol
                    && let Some(agent) = entry.agent
                {
                    let slot = history.slot(agent).map_or(0, u64::from);
                    self.counts.machines = self.counts.machines.max(slot + 1);
                }
            }
        }
    }
}

/// The last quote of a machine.
#[derive(Debug)]
struct OpenQuote {
    agent: AgentId,
    quote: Digest,
    /// Whether it answers its own challenge.
    answered: bool,
}

impl OpenQuote {
    fn answered(&mut self, entry: &EntryRef<'_>, leaf: Digest) {
        self.quote = leaf;
        self.answered = answers(entry, &self.agent).unwrap_or(false);
    }
}

/// What follows from the entries is compared with censuses, not kept.
struct Unkept;

impl Sink for Unkept {
    fn leaf(&mut self, _: NewLeaf) {}

    fn node(&mut self, _: NewNode) {}
}

/// The beacon in a quote's body.
fn beacon_of(body: &[u8]) -> Option<Beacon> {
    let mut reader = cbor::Reader::new(body);
    reader.array().ok()?;
    read_beacon(&mut reader)
}

fn read_beacon(reader: &mut cbor::Reader<'_>) -> Option<Beacon> {
    reader.array_of(2).ok()?;
    let tree_size = reader.unsigned().ok()?;
    Some(Beacon { tree_size, note_digest: Digest(reader.bytes_of().ok()?) })
}

/// Whether a quote's qualifying data is the nonce of its place in the chain.
fn answers(entry: &EntryRef<'_>, agent: &AgentId) -> Option<bool> {
    let mut reader = cbor::Reader::new(entry.body);
    reader.array().ok()?;
    let beacon = read_beacon(&mut reader)?;
    let salt = Digest(reader.bytes_of().ok()?);
    let attest = reader.bytes().ok()?;
    let head = Head { seq: entry.seq, prev: entry.prev };
    let nonce = NonceInputs { beacon, agent, head, salt }.derive();
    Some(extra_data(attest)? == nonce.as_str().as_bytes())
}

/// The quote that a verdict names, and its result.
fn result_of(body: &[u8]) -> Option<(Digest, u64)> {
    let mut reader = cbor::Reader::new(body);
    reader.array().ok()?;
    Some((Digest(reader.bytes_of().ok()?), reader.unsigned().ok()?))
}
