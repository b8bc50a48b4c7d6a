//! A history as bytes, to go on from later.

use std::collections::{HashMap, VecDeque};

use messages::Digest;
use messages::cbor::{self, CborError};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::event::{Event, Queued};
use super::{Census, History, at};
use crate::agent::Agent;
use crate::census::Clock;
use crate::times::{NoteTimes, WitnessPolicy};

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the snapshot's CBOR.
    #[error("the snapshot of the histories is malformed")]
    Form(#[source] CborError),
    /// Of another version.
    #[error("the snapshot of the histories has version {found}; expected {VERSION}")]
    Version {
        /// Version found.
        found: u64,
    },
    /// The parts contradict each other.
    #[error("the snapshot of the histories contradicts itself: {what}")]
    Contradiction {
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Deserialize_tuple, Serialize_tuple)]
struct Snapshot {
    version: u64,
    size: u64,
    covered: u64,
    genesis: Option<(String, String)>,
    queue: VecDeque<Queued>,
    policies: VecDeque<(u64, Option<Digest>)>,
    witness: Option<(u64, ByteBuf)>,
    times: NoteTimes,
    clock: Clock,
    agents: Vec<Agent>,
    epoch: u64,
}

const VERSION: u64 = 1;

impl History {
    /// The history as deterministic CBOR: equal histories have equal bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let witness = self.witness.as_ref().map(|(at, policy)| (*at, ByteBuf::from(policy.blob.clone())));
        cbor::encode(&Snapshot {
            version: VERSION,
            size: self.size,
            covered: self.covered,
            genesis: self.genesis.clone(),
            queue: self.queue.clone(),
            policies: self.policies.clone(),
            witness,
            times: self.times.clone(),
            clock: self.clock,
            agents: self.agents.clone(),
            epoch: self.epoch,
        })
    }

    /// Takes up a snapshot of one's own; that its content is true is not checked.
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes are none.
    pub fn restore(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let snapshot: Snapshot = cbor::decode(bytes).map_err(SnapshotError::Form)?;
        if snapshot.version != VERSION {
            return Err(SnapshotError::Version { found: snapshot.version });
        }
        let contradiction = |what| SnapshotError::Contradiction { what };
        let mut known: HashMap<_, _> = HashMap::with_capacity(snapshot.agents.len());
        for (place, agent) in snapshot.agents.iter().enumerate() {
            if at(agent.slot) != place || known.insert(agent.id.clone(), agent.slot).is_some() {
                return Err(contradiction("an agent is not in its slot, or in two"));
            }
        }
        for queued in &snapshot.queue {
            if let Event::Enrol(id, ..) = &queued.event {
                known.entry(id.clone()).or_insert(queued.slot);
            }
        }
        let witness = match snapshot.witness {
            None => None,
            Some((at, blob)) => {
                let policy = WitnessPolicy::read(blob.into_vec());
                Some((at, policy.ok_or_else(|| contradiction("the witness policy is none"))?))
            }
        };
        let dues = vec![(u64::MAX, true); snapshot.agents.len()];
        Ok(Self {
            size: snapshot.size,
            covered: snapshot.covered,
            genesis: snapshot.genesis,
            known,
            queue: snapshot.queue,
            policies: snapshot.policies,
            witness,
            times: snapshot.times,
            clock: snapshot.clock,
            agents: snapshot.agents,
            epoch: snapshot.epoch,
            census: Census::empty(),
            dues,
        })
    }
}
