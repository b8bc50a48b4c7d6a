//! The histories of all agents, entry by entry.

mod event;
mod push_error;
mod snapshot;

use std::collections::{HashMap, VecDeque};

use ledger_protocol::body::{Body, CensusBody, CheckpointBody, Genesis};
use ledger_protocol::{EntryRef, Kind};
use messages::{AgentId, AgentIdRef, Digest};

use self::event::{Event, Queued};
pub use self::push_error::PushError;
pub use self::snapshot::SnapshotError;
use crate::agent::{Agent, Cover};
use crate::census::{Census, CensusHead, CensusRow, Clock, Status};
use crate::node::{Leaf, Node};
use crate::times::{NoteTime, NoteTimes, WitnessPolicy, bounds_under};

/// The name under which the fleet's chain puts a witness policy on record.
pub const WITNESS_ROLE: &str = "witness";

/// What the log's entries come to, for each agent: a function of the entries and the blobs they name.
///
/// Feed every entry from index 0 on, in order; or take up a [snapshot](Self::snapshot) and go on
/// behind it. What comes out of [`push`](Self::push) is for a store to keep: proofs are made from it.
/// Nothing is checked here that [`LogState`](ledger_protocol::LogState) checks.
///
/// Source: `docs/spec/history.md`.
#[derive(Clone, Debug)]
pub struct History {
    size: u64,
    covered: u64,
    genesis: Option<(String, String)>,
    known: HashMap<AgentId, u32>,
    queue: VecDeque<Queued>,
    /// Witness policies on record that are not covered yet.
    policies: VecDeque<(u64, Option<Digest>)>,
    /// The policy entry in force and what it says.
    witness: Option<(u64, WitnessPolicy)>,
    times: NoteTimes,
    clock: Clock,
    agents: Vec<Agent>,
    epoch: u64,
    census: Census,
    /// By slot: from when on it is overdue, and whether its row is to be made anew.
    dues: Vec<(u64, bool)>,
}

/// What one entry brought about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Step {
    /// New leaves, in their order.
    pub leaves: Vec<NewLeaf>,
    /// Subtrees that became complete, for the store.
    pub nodes: Vec<NewNode>,
    /// If the entry was a census: whether it is the true one.
    pub census: Option<CensusCheck>,
}

/// Takes what entries bring about, to keep it.
pub trait Sink {
    /// The next leaf of its agent.
    fn leaf(&mut self, new: NewLeaf);

    /// A subtree that becomes complete with the leaf that comes next: the next of its agent and level.
    fn node(&mut self, new: NewNode);
}

impl Sink for Step {
    fn leaf(&mut self, new: NewLeaf) {
        self.leaves.push(new);
    }

    fn node(&mut self, new: NewNode) {
        self.nodes.push(new);
    }
}

/// A leaf with its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewLeaf {
    /// The agent's slot.
    pub slot: u32,
    /// Number of the leaf in the agent's tree, from 0 without gaps.
    pub number: u64,
    /// The leaf.
    pub leaf: Leaf,
}

/// A complete subtree of `256^level` leaves with its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NewNode {
    /// The agent's slot.
    pub slot: u32,
    /// From 1 on.
    pub level: u8,
    /// Number among the subtrees of its level, from 0 without gaps.
    pub number: u64,
    /// The subtree.
    pub node: Node,
}

/// A census entry beside what the entries before it come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CensusCheck {
    /// What the entry states.
    pub stated: CensusBody,
    /// What is true.
    pub computed: CensusHead,
}

impl CensusCheck {
    /// Whether they are the same.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.computed.body() == self.stated
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl History {
    /// Of a log without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            size: 0,
            covered: 0,
            genesis: None,
            known: HashMap::new(),
            queue: VecDeque::new(),
            policies: VecDeque::new(),
            witness: None,
            times: NoteTimes::default(),
            clock: Clock::default(),
            agents: Vec::new(),
            epoch: 0,
            census: Census::empty(),
            dues: Vec::new(),
        }
    }

    /// Entries taken so far; the index that the next one must have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Entries that the histories cover: those under the last checkpoint entry.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.covered
    }

    /// Time of the last checkpoint entry, and what it rests on.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Number of the next census.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The slot of an agent that has an `enrol` entry, covered or not.
    #[must_use]
    pub fn slot<'a>(&self, agent: impl Into<AgentIdRef<'a>>) -> Option<u32> {
        self.known.get(agent.into().as_str()).copied()
    }

    /// The agent of a slot that is covered.
    #[must_use]
    pub fn agent(&self, slot: u32) -> Option<&AgentId> {
        self.agents.get(at(slot)).map(|agent| &agent.id)
    }

    /// Number of leaves in the tree of a slot's agent.
    #[must_use]
    pub fn leaves(&self, slot: u32) -> u64 {
        self.agents.get(at(slot)).map_or(0, Agent::leaves)
    }

    /// Bytes held for the agents, not counting the queue of entries that are not covered yet.
    #[must_use]
    pub fn agents_bytes(&self) -> usize {
        self.agents.iter().map(Agent::bytes).sum()
    }

    /// Takes the log's next entry, whose bytes have the hash `leaf_hash`.
    ///
    /// `blob` gives the bytes of a blob, of which their digest has been checked: notes of checkpoint entries
    /// and witness policies are asked for, and only in a log that has a witness policy on record.
    ///
    /// # Errors
    /// [`PushError`], with nothing changed. After [`PushError::Blob`] the same entry can be pushed
    /// again once the blob is there.
    pub fn push<'a>(
        &mut self,
        index: u64,
        entry: impl Into<EntryRef<'a>>,
        leaf_hash: Digest,
        blob: impl Fn(&Digest) -> Option<Vec<u8>>,
    ) -> Result<Step, PushError> {
        let mut step = Step::default();
        step.census = self.push_to(index, entry, leaf_hash, blob, &mut step)?;
        Ok(step)
    }

    /// As [`Self::push`], with leaves and nodes given to `sink` one by one instead of gathered: a checkpoint of a busy log
    /// covers a hundred megabytes of them. Returns whether a census is the true one, if the entry is one.
    ///
    /// # Errors
    /// As [`Self::push`]; then `sink` was given nothing.
    pub fn push_to<'a>(
        &mut self,
        index: u64,
        entry: impl Into<EntryRef<'a>>,
        leaf_hash: Digest,
        blob: impl Fn(&Digest) -> Option<Vec<u8>>,
        sink: &mut impl Sink,
    ) -> Result<Option<CensusCheck>, PushError> {
        if index != self.size {
            return Err(PushError::Index { expected: self.size, found: index });
        }
        let entry = &entry.into();
        let mut census = None;
        match (entry.agent, entry.kind) {
            (Some(agent), _) => self.enqueue(index, agent, entry, leaf_hash)?,
            (None, Kind::Genesis) => {
                let Genesis { origin, vkey, .. } = decode(index, entry)?;
                self.genesis = Some((origin, vkey));
            }
            (None, Kind::Policy) => {
                if let Some(content) = event::witness_policy(index, entry)? {
                    self.policies.push_back((index, content));
                }
            }
            (None, Kind::Checkpoint) => self.checkpoint(index, entry, blob, sink)?,
            (None, Kind::Census) => {
                let stated: CensusBody = decode(index, entry)?;
                let computed = self.census().head();
                census = Some(CensusCheck { stated, computed });
                self.epoch += 1;
            }
            (None, _) => {}
        }
        self.size += 1;
        Ok(census)
    }

    /// The census of what is covered: the one that an entry after the last checkpoint entry must state.
    ///
    /// Costs a look at each agent, and hashes for those that changed since the last call.
    pub fn census(&mut self) -> &Census {
        let mut changed = Vec::new();
        for (agent, (overdue_at, stale)) in self.agents.iter().zip(&mut self.dues) {
            if *stale {
                *overdue_at = agent.overdue_at();
            }
            let status = agent.status(*overdue_at, self.clock.seconds);
            let known = self.census.rows().get(at(agent.slot)).copied();
            match known {
                Some(row) if !*stale && row.status == status => {}
                Some(row) if !*stale => changed.push(CensusRow { status, ..row }),
                _ => changed.push(agent.row(status)),
            }
            *stale = false;
        }
        self.census.update(self.covered, self.epoch, self.clock, &changed);
        &self.census
    }

    /// The row of a slot as of now.
    #[must_use]
    pub fn row(&self, slot: u32) -> Option<CensusRow> {
        let agent = self.agents.get(at(slot))?;
        Some(agent.row(agent.status(agent.overdue_at(), self.clock.seconds)))
    }

    /// Agents by status: idle, met, missed, retired.
    #[must_use]
    pub fn standing(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        for agent in &self.agents {
            let status: Status = agent.status(agent.overdue_at(), self.clock.seconds);
            if let Some(count) = counts.get_mut(status as usize) {
                *count += 1;
            }
        }
        counts
    }

    fn enqueue(
        &mut self,
        index: u64,
        agent: AgentIdRef<'_>,
        entry: &EntryRef<'_>,
        hash: Digest,
    ) -> Result<(), PushError> {
        let event = Event::read(index, entry, hash)?;
        let slot = match (self.known.get(agent.as_str()), &event) {
            (Some(slot), Event::Enrol(_, stated, _)) if u64::from(*slot) != *stated => {
                return Err(PushError::Slot { index, expected: u64::from(*slot), found: *stated });
            }
            (Some(slot), _) => *slot,
            (None, Event::Enrol(_, stated, _)) => {
                let expected = u32::try_from(self.known.len()).map_err(|_| PushError::Slots { index })?;
                if u64::from(expected) != *stated {
                    return Err(PushError::Slot { index, expected: u64::from(expected), found: *stated });
                }
                self.known.insert(agent.to_id(), expected);
                expected
            }
            (None, _) => return Err(PushError::Agent { index, agent: agent.to_id() }),
        };
        self.queue.push_back(Queued { index, slot, event });
        Ok(())
    }

    fn checkpoint(
        &mut self,
        index: u64,
        entry: &EntryRef<'_>,
        blob: impl Fn(&Digest) -> Option<Vec<u8>>,
        sink: &mut impl Sink,
    ) -> Result<(), PushError> {
        let CheckpointBody { tree_size, note } = decode(index, entry)?;
        if tree_size <= self.covered || tree_size > index {
            return Err(PushError::Checkpoint { index, last: self.covered, found: tree_size });
        }
        let fetch = |digest: &Digest| blob(digest).ok_or(PushError::Blob { index, digest: *digest });
        // All that can fail comes first.
        let covered_policies = self.policies.iter().take_while(|(at, _)| *at < tree_size).count();
        let newest = covered_policies.checked_sub(1).and_then(|last| self.policies.get(last)).copied();
        let witness = match newest {
            None => self.witness.take(),
            Some((_, None)) => None,
            Some((at, Some(content))) => {
                let blob = fetch(&content)?;
                WitnessPolicy::read(blob).map(|policy| (at, policy))
            }
        };
        let bounds = match (&witness, &self.genesis) {
            (Some((_, policy)), Some((origin, vkey))) => match fetch(&note) {
                Ok(note) => bounds_under(policy, &note, tree_size, origin, vkey),
                Err(error) => {
                    if newest.is_none() {
                        self.witness = witness;
                    }
                    return Err(error);
                }
            },
            _ => None,
        };
        self.policies.drain(..covered_policies);
        self.witness = witness;
        self.cover(index, tree_size, note, entry.recorded.0 / 1_000, bounds, sink);
        Ok(())
    }

    /// Takes up all entries below `tree_size`.
    fn cover(
        &mut self,
        index: u64,
        tree_size: u64,
        note: Digest,
        recorded: u64,
        bounds: Option<(u64, u64)>,
        sink: &mut impl Sink,
    ) {
        let policy = self.witness.as_ref().map(|(at, policy)| (*at, policy.digest));
        let (low, high) = bounds.unzip();
        let at_policy = policy.map(|(at, _)| at);
        self.times.push(NoteTime { index, tree_size, note, policy: at_policy, low, high, low_max: None });
        let proven = self.times.last().and_then(|last| last.low_max);
        self.clock = match (policy, proven) {
            (Some((_, basis)), Some(seconds)) => Clock { seconds, basis },
            _ => Clock { seconds: recorded, basis: Digest::ZERO },
        };
        self.covered = tree_size;
        let times = &self.times;
        let lower = |beacon: &_| policy.and_then(|(at, _)| times.lower(beacon, at));
        let witnessed = policy.map(|(_, digest)| (digest, high));
        let cover = Cover { recorded, witnessed, lower: &lower };
        while let Some(Queued { index, slot, event }) = self.queue.pop_front_if(|queued| queued.index < tree_size) {
            if let Event::Enrol(id, ..) = &event
                && at(slot) == self.agents.len()
            {
                self.agents.push(Agent::new(id.clone(), slot));
                self.dues.push((u64::MAX, true));
            }
            let Some(agent) = self.agents.get_mut(at(slot)) else { continue };
            if let Some((_, stale)) = self.dues.get_mut(at(slot)) {
                *stale = true;
            }
            event.apply(index, slot, agent, self.clock.seconds, &cover, sink);
        }
    }
}

fn decode<B: Body>(index: u64, entry: &EntryRef<'_>) -> Result<B, PushError> {
    B::decode(entry.body).map_err(|source| PushError::Body { index, kind: entry.kind, source })
}

/// Slots as positions.
fn at(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
