//! Proofs made here, from a copy of the log: its histories are recomputed from the entries.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    rc::Rc,
    str::FromStr,
};

use ledger_history::{
    census::{Census, CensusRow, Clock},
    fleet::{self, FleetRequest},
    history::{History, PushError, Step},
    interval::{self, CensusChoice, NotProven, Request, Stamp, StampedNote, Store, StoredCensus},
    node::{Leaf, Node},
};
use ledger_protocol::{
    Entry, EntryError, EntryRef, Kind,
    body::{Body, CensusBody, CheckpointBody, Genesis, TimestampBody},
};
use ledger_tlog::{
    checkpoint::{Checkpoint, CheckpointRejected},
    frontier::Frontier,
    hash::Hash,
    key::NoteVerifier,
    note::Note,
    tree::tree_head,
};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;

use crate::{
    hashes::{HashFiles, HashesLost},
    log::{Log, LogUnreadable},
    prove::{About, Ask},
};

/// Why no proof could be made from a copy of a log.
#[derive(Debug, thiserror::Error)]
pub enum NotRebuilt {
    /// No such machine.
    #[error("the log has no machine {agent}")]
    Agent {
        /// Its id.
        agent: AgentId,
    },
    /// The checkpoint is not signed by the key in the log's first entry.
    #[error("the copy's checkpoint is not this log's")]
    Checkpoint(#[source] CheckpointRejected),
    /// An entry is malformed.
    #[error("entry {index} is malformed")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// The first entry names no key.
    #[error("the log's first entry names no key")]
    Genesis,
    /// The hashes of the tree could not be kept.
    #[error("the hashes of the log's tree cannot be kept in a temporary file")]
    Hashes(#[source] HashesLost),
    /// The log cannot be read.
    #[error("the copy of the log cannot be read")]
    Log(#[source] LogUnreadable),
    /// The copy does not have what a proof shows.
    #[error("the copy of the log does not have all that the proof shows")]
    Proof(#[source] Box<NotProven<NotKept>>),
    /// Entries were pruned, and with them what the machines' trees are made of.
    #[error(
        "entries below {first} were pruned, and with them what the machines' trees are rebuilt from: ask the ledger \
         (--ledger), whose histories outlive its entries, or use a mirror from before"
    )]
    Pruned {
        /// The first entry that is there.
        first: u64,
    },
    /// An entry that no history can have.
    #[error("the histories do not take an entry")]
    Push(#[source] PushError),
    /// The entries are not those that were signed.
    #[error("the copy's first {size} entries are not those that its checkpoint signs; run: attestry-audit replay")]
    Root {
        /// Entries under the checkpoint.
        size: u64,
    },
}

/// What a proof needs and the copy of the log does not have.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// A census that the question does not call for.
    #[error("no census was kept for that question")]
    Census,
    /// The hashes of the tree.
    #[error(transparent)]
    Hashes(HashesLost),
    /// The log.
    #[error(transparent)]
    Log(LogUnreadable),
    /// A note.
    #[error("the copy does not have the checkpoint of {size} entries; use a ledger's data directory or a mirror")]
    Note {
        /// Its size.
        size: u64,
    },
    /// A part of an agent's tree.
    #[error("no leaves of the machine in slot {slot} were kept")]
    Tree {
        /// Its slot.
        slot: u32,
    },
}

/// Recomputes a log's histories and makes a proof from them.
pub(crate) fn prove(log: &Log, ask: &Ask) -> Result<Vec<u8>, NotRebuilt> {
    let (from, to) = ask.interval;
    let made = |source| NotRebuilt::Proof(Box::new(source));
    match &ask.about {
        About::Fleet(selection) => {
            let selection = selection.clone();
            let mut rebuilt = Rebuilt::of(log, (from, to), None)?;
            rebuilt.choose_stamped(0)?;
            Ok(fleet::prove(&rebuilt, &FleetRequest { from, to, selection }).map_err(made)?.encode())
        }
        About::Machine { agent, gap, boots, full } => {
            let mut rebuilt = Rebuilt::of(log, (from, to), Some(agent))?;
            let slot = rebuilt.history.slot(agent).ok_or_else(|| NotRebuilt::Agent { agent: agent.clone() })?;
            let stamps = rebuilt.choose_stamped(slot)?;
            let (agent, gap_limit, boots, full) = (agent.clone(), *gap, *boots, *full);
            let request = Request { agent, slot, from, to, gap_limit, boots, full, stamps };
            Ok(interval::prove(&rebuilt, &request).map_err(made)?.encode())
        }
    }
}

/// A log's histories, as far as one proof needs them: the tree of one machine, the censuses around the interval.
struct Rebuilt<'a> {
    log: &'a Log,
    key: NoteVerifier,
    /// The checkpoint that the proof is made under.
    tree: (u64, Vec<u8>),
    /// Entries that were read.
    size: u64,
    /// Tokens that entries name, by the sizes of their checkpoints and the authorities' names.
    stamped: BTreeMap<u64, BTreeMap<String, Digest>>,
    hashes: RefCell<HashFiles>,
    history: History,
    leaves: Vec<Leaf>,
    nodes: BTreeMap<u8, Vec<Node>>,
    /// The census that was opened last, by its entry's index.
    opened: RefCell<Option<(u64, Census)>>,
    /// Of the machine, or of all.
    terms: HashMap<AgentId, Vec<u64>>,
    chain: Vec<u64>,
    /// Digests of the notes that checkpoint entries name.
    notes: HashMap<u64, Digest>,
    /// Indices of time-stamps, with the operator's name for the authority.
    timestamps: Vec<(u64, String)>,
    before: Option<Kept>,
    after: Option<Kept>,
    last: Option<Kept>,
}

/// A census as it was at its entry.
#[derive(Clone)]
struct Kept {
    index: u64,
    prefix_size: u64,
    epoch: u64,
    clock: Clock,
    rows: Rc<[CensusRow]>,
}

impl<'a> Rebuilt<'a> {
    fn of(log: &'a Log, interval: (u64, u64), agent: Option<&AgentId>) -> Result<Self, NotRebuilt> {
        let note = log.checkpoint().map_err(NotRebuilt::Log)?;
        if let Some(boundary) = log.boundary().map_err(NotRebuilt::Log)? {
            return Err(NotRebuilt::Pruned { first: boundary.first });
        }
        // How many entries there are is in the text; whether it is signed shows when the first entry has told the key.
        let parsed = Note::parse(&note).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
        let stated = parsed.map_or(1, |checkpoint| checkpoint.tree_head().tree_size);
        let genesis = log.entry(0, stated).map_err(NotRebuilt::Log)?;
        let genesis = Entry::decode(&genesis).ok().and_then(|entry| Genesis::decode(&entry.body).ok());
        let genesis = genesis.ok_or(NotRebuilt::Genesis)?;
        // Not trust, only a look whether the copy is whole: whoever verifies the proof brings the key.
        let key = NoteVerifier::from_str(&genesis.vkey).map_err(|_| NotRebuilt::Genesis)?;
        let opened = Checkpoint::open(&note, &genesis.origin, &key, &[]).map_err(NotRebuilt::Checkpoint)?;
        let head = *opened.tree_head();
        let mut rebuilt = Self {
            log,
            key,
            tree: (head.tree_size, note),
            size: head.tree_size,
            stamped: BTreeMap::new(),
            hashes: RefCell::new(HashFiles::default()),
            history: History::new(),
            leaves: Vec::new(),
            nodes: BTreeMap::new(),
            opened: RefCell::new(None),
            terms: HashMap::new(),
            chain: Vec::new(),
            notes: HashMap::new(),
            timestamps: Vec::new(),
            before: None,
            after: None,
            last: None,
        };
        let mut frontier = Frontier::new();
        let mut taken = Ok(());
        let read = log.read(0, head.tree_size, |index, bytes| {
            taken = rebuilt.take(index, bytes, interval, agent, &mut frontier);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        taken?;
        read.map_err(NotRebuilt::Log)?;
        if frontier.tree_head() != head {
            return Err(NotRebuilt::Root { size: head.tree_size });
        }
        Ok(rebuilt)
    }

    fn take(
        &mut self,
        index: u64,
        bytes: &[u8],
        (from, to): (u64, u64),
        only: Option<&AgentId>,
        frontier: &mut Frontier,
    ) -> Result<(), NotRebuilt> {
        let entry = Entry::decode(bytes).map_err(|source| NotRebuilt::Entry { index, source })?;
        let leaf = Entry::leaf_hash(bytes);
        self.hashes.get_mut().append(frontier, Hash::from_bytes(leaf.0)).map_err(NotRebuilt::Hashes)?;
        let log = self.log;
        let blob =
            |digest: &Digest| log.blob(digest).ok().flatten().or_else(|| note_blob(log, &(&entry).into(), digest));
        let Step { leaves, nodes, census } = self.history.push(index, &entry, leaf, blob).map_err(NotRebuilt::Push)?;
        let slot = only.and_then(|agent| self.history.slot(agent));
        self.leaves.extend(leaves.into_iter().filter(|new| Some(new.slot) == slot).map(|new| new.leaf));
        for new in nodes.into_iter().filter(|new| Some(new.slot) == slot) {
            self.nodes.entry(new.level).or_default().push(new.node);
        }
        if let Some(agent) = &entry.agent {
            let governs = matches!(entry.kind, Kind::Enrol | Kind::Policy | Kind::Retire | Kind::Maintenance);
            if governs && only.is_none_or(|only| only == agent) {
                self.terms.entry(agent.clone()).or_default().push(index);
            }
            if only == Some(agent) {
                self.chain.push(index);
            }
        } else if let (Kind::Checkpoint, Ok(body)) = (entry.kind, CheckpointBody::decode(&entry.body)) {
            self.notes.insert(body.tree_size, body.note);
        } else if let (Kind::Timestamp, Ok(body)) = (entry.kind, TimestampBody::decode(&entry.body)) {
            self.notes.insert(body.tree_size, body.note);
            self.timestamps.push((index, body.tsa.clone()));
            self.stamped.entry(body.tree_size).or_default().insert(body.tsa, body.token);
        }
        // A false census is none to make a proof from.
        if census.is_some_and(|census| census.is_true())
            && let Ok(body) = CensusBody::decode(&entry.body)
        {
            self.keep_census(index, &body, from, to);
        }
        Ok(())
    }

    /// Makes the proof under the earliest stamped checkpoint that covers its last census, as a ledger does, so that the
    /// stamps bound its time as closely as there are any; else under the newest. Returns the stamps on it.
    fn choose_stamped(&mut self, slot: u32) -> Result<Vec<Stamp>, NotRebuilt> {
        let has_slot = |kept: &&Kept| kept.rows.len() as u64 > u64::from(slot);
        let end = self.after.as_ref().filter(has_slot).or(self.last.as_ref());
        let Some(covered) = end.map(|end| end.index) else { return Ok(Vec::new()) };
        let kept = self.log.stamped_sizes();
        let sizes: BTreeSet<u64> = self.stamped.keys().copied().chain(kept).collect();
        for size in sizes.into_iter().filter(|size| *size > covered && *size <= self.size) {
            let (tokens, note) = (self.tokens(size)?, Store::note(self, size).ok());
            let signed = |note: &Vec<u8>| self.is_signed(size, note);
            if let (Some(note), false) = (note.filter(signed), tokens.is_empty()) {
                self.tree = (size, note);
                let stamp = |token| Stamp { note: StampedNote::Last, token: ByteBuf::from(token) };
                return Ok(tokens.into_iter().map(stamp).collect());
            }
        }
        Ok(Vec::new())
    }

    /// The tokens on a checkpoint: files beside the log, or else blobs that its entries name.
    fn tokens(&self, size: u64) -> Result<Vec<Vec<u8>>, NotRebuilt> {
        let tokens = self.log.tokens(size).map_err(NotRebuilt::Log)?;
        if !tokens.is_empty() {
            return Ok(tokens);
        }
        let named = self.stamped.get(&size).into_iter().flat_map(BTreeMap::values);
        let found: Result<Vec<_>, _> = named.map(|digest| self.log.blob(digest)).collect();
        Ok(found.map_err(NotRebuilt::Log)?.into_iter().flatten().collect())
    }

    /// Whether a note is this log's, over the entries that were read.
    fn is_signed(&self, size: u64, note: &[u8]) -> bool {
        let ours = tree_head(size, |level, start, out: &mut [Hash]| self.hashes.borrow().read(level, start, out));
        let opened = Checkpoint::open(note, self.key.name().as_str(), &self.key, &[]);
        opened.is_ok_and(|opened| ours.is_ok_and(|ours| ours == *opened.tree_head()))
    }

    fn keep_census(&mut self, index: u64, body: &CensusBody, from: u64, to: u64) {
        // As it was when the entry was made: pushing the entry has only counted the epoch on.
        let clock = self.history.clock();
        let rows = self.history.census().rows().into();
        let kept = Kept { index, prefix_size: body.prefix_size, epoch: body.epoch, clock, rows };
        if clock.seconds < from {
            self.before = Some(kept.clone());
        }
        if clock.seconds > to && self.after.is_none() {
            self.after = Some(kept.clone());
        }
        self.last = Some(kept);
    }
}

/// A note is a blob too; a log's directory also has it by its size.
pub(crate) fn note_blob(log: &Log, entry: &EntryRef<'_>, digest: &Digest) -> Option<Vec<u8>> {
    let body = CheckpointBody::decode(entry.body).ok().filter(|body| body.note == *digest)?;
    let note = log.note(body.tree_size).ok().flatten()?;
    (openssl::sha::sha256(&note) == digest.0).then_some(note)
}

/// Part of a list, by numbers of entries.
fn part<T: Clone>(list: &[T], start: u64, count: u64, slot: u32) -> Result<Vec<T>, NotKept> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = list.get(start..start.saturating_add(count));
    found.map(<[T]>::to_vec).ok_or(NotKept::Tree { slot })
}

impl Store for Rebuilt<'_> {
    type Error = NotKept;

    fn leaves(&self, slot: u32, start: u64, count: u64) -> Result<Vec<Leaf>, NotKept> {
        part(&self.leaves, start, count, slot)
    }

    fn nodes(&self, slot: u32, level: u8, start: u64, count: u64) -> Result<Vec<Node>, NotKept> {
        part(self.nodes.get(&level).ok_or(NotKept::Tree { slot })?, start, count, slot)
    }

    fn agent(&self, slot: u32) -> Result<AgentId, NotKept> {
        self.history.agent(slot).cloned().ok_or(NotKept::Tree { slot })
    }

    fn terms(&self, slot: u32) -> Result<Vec<u64>, NotKept> {
        Ok(self.terms.get(&self.agent(slot)?).cloned().unwrap_or_default())
    }

    fn chain(&self, _agent: &AgentId, first: u64, last: u64) -> Result<Vec<u64>, NotKept> {
        Ok(self.chain.iter().copied().filter(|index| (first..=last).contains(index)).collect())
    }

    fn entry(&self, index: u64) -> Result<Vec<u8>, NotKept> {
        self.log.entry(index, self.size).map_err(NotKept::Log)
    }

    fn hashes(&self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), NotKept> {
        self.hashes.borrow().read(level, start, out).map_err(NotKept::Hashes)
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, NotKept> {
        if let Some(blob) = self.log.blob(digest).map_err(NotKept::Log)? {
            return Ok(Some(blob));
        }
        let size = self.notes.iter().find(|(_, note)| *note == digest).map(|(size, _)| *size);
        let Some(size) = size else { return Ok(None) };
        let note = self.log.note(size).map_err(NotKept::Log)?;
        Ok(note.filter(|note| openssl::sha::sha256(note) == digest.0))
    }

    fn note(&self, tree_size: u64) -> Result<Vec<u8>, NotKept> {
        if let Some(note) = self.log.note(tree_size).map_err(NotKept::Log)? {
            return Ok(note);
        }
        let digest = self.notes.get(&tree_size).ok_or(NotKept::Note { size: tree_size })?;
        self.log.blob(digest).map_err(NotKept::Log)?.ok_or(NotKept::Note { size: tree_size })
    }

    fn latest_note(&self) -> Result<(u64, Vec<u8>), NotKept> {
        Ok(self.tree.clone())
    }

    fn timestamps(&self, tree_size: u64) -> Result<Vec<u64>, NotKept> {
        let below = self.timestamps.iter().filter(|(index, _)| *index < tree_size);
        let last: BTreeMap<&str, u64> = below.map(|(index, tsa)| (tsa.as_str(), *index)).collect();
        let mut indices: Vec<u64> = last.into_values().collect();
        indices.sort_unstable();
        Ok(indices)
    }

    fn census(&self, choice: CensusChoice, slot: u32, _tree_size: u64) -> Result<Option<StoredCensus>, NotKept> {
        let found = match choice {
            CensusChoice::After(u64::MAX) => self.last.as_ref(),
            CensusChoice::After(_) => self.after.as_ref().or(self.last.as_ref()),
            CensusChoice::Before(_) => self.before.as_ref(),
        };
        let Some(Kept { index, prefix_size, epoch, clock, rows }) = found else { return Ok(None) };
        // One question opens each slot of a census in turn.
        let mut opened = self.opened.borrow_mut();
        if opened.as_ref().is_none_or(|(at, _)| at != index) {
            *opened = Some((*index, Census::from_rows(*prefix_size, *epoch, *clock, rows.to_vec())));
        }
        let opening = opened.as_ref().map(|(_, census)| census.open(slot)).ok_or(NotKept::Census)?;
        Ok(Some(StoredCensus { index: *index, prefix_size: *prefix_size, opening }))
    }
}
