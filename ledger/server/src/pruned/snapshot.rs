//! The log's state after the entries that were pruned, with its checksum.

use std::sync::Arc;

use ledger_protocol::{AgentChain, Answers, LogState, LogTotals};
use messages::{AgentId, Digest, cbor};
use openssl::sha::sha256;

use crate::segment::{HEADER_BYTES, Location, RememberedAnswer};
use crate::store::{Index, Update};

/// Everything that entries behind the pruned ones depend on.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Remembered answers.
    pub(crate) answers: Answers,
    /// Number of the oldest of them, counted from the log's beginning.
    pub(crate) answers_from: u64,
    /// Evidence that only pruned entries named, ascending: what an interrupted prune goes on with, and
    /// what is answered as pruned ever after.
    pub(crate) doomed: Vec<Digest>,
    /// First entry that is not pruned; the state is that before it.
    pub(crate) first: u64,
    /// SHA-256 of the file of kept entries.
    pub(crate) kept: Digest,
    pub(crate) minimum_index: u64,
    pub(crate) policy_index: u64,
    /// Root of the tree of the first [`Snapshot::first`] entries.
    pub(crate) root: Digest,
    pub(crate) state: LogState,
}

/// ```cddl
/// state-file = pruned-state ‖ SHA-256 of it
/// pruned-state = [ version: 1, first: uint, root: digest, minimum_index: uint, policy_index: uint, kept: digest,
///                  totals, [* [agent: tstr, chain]], answers_from: uint, answers, doomed: [* digest] ]
/// ```
type Wire =
    (u8, u64, Digest, u64, u64, Digest, LogTotals, Vec<(AgentId, AgentChain)>, u64, Vec<RememberedAnswer>, Vec<Digest>);

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let agents = self.agents();
        let answers = self.answers.iter().map(|(key, answered)| (*key, answered.clone())).collect();
        let wire: Wire = (
            1,
            self.first,
            self.root,
            self.minimum_index,
            self.policy_index,
            self.kept,
            *self.state.totals(),
            agents,
            self.answers_from,
            answers,
            self.doomed.clone(),
        );
        let mut bytes = cbor::encode(&wire);
        let checksum = sha256(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// What an auditor goes on from: the state without what concerns submitters alone.
    ///
    /// ```cddl
    /// boundary = [ version: 1, first: uint, root: digest, minimum_index: uint, policy_index: uint, totals,
    ///              [* [agent: tstr, chain]] ]
    /// ```
    pub(crate) fn boundary(&self) -> Vec<u8> {
        let totals = *self.state.totals();
        cbor::encode(&(1_u8, self.first, self.root, self.minimum_index, self.policy_index, totals, self.agents()))
    }

    /// Where every agent's chain stood, by id.
    fn agents(&self) -> Vec<(AgentId, AgentChain)> {
        let mut agents: Vec<_> = self.state.agents().map(|(agent, chain)| (agent.clone(), chain.clone())).collect();
        agents.sort_unstable_by(|(one, _), (two, _)| one.as_str().cmp(two.as_str()));
        agents
    }

    /// `None` if the bytes are not what [`Snapshot::encode`] made.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<32>()?;
        if sha256(body) != *checksum {
            return None;
        }
        let wire: Wire = cbor::decode(body).ok()?;
        let (1, first, root, minimum_index, policy_index, kept, totals, agents, answers_from, remembered, doomed) =
            wire
        else {
            return None;
        };
        let mut answers = Answers::default();
        for (key, answered) in remembered {
            answers.remember(key, answered);
        }
        let state = LogState::restore(totals, agents);
        let whole = totals.size == first;
        whole.then_some(Self { answers, answers_from, doomed, first, kept, minimum_index, policy_index, root, state })
    }

    /// Makes an empty index know the state, as if it had seen the pruned entries.
    pub(crate) fn seed(&self, index: &Arc<Index>) {
        let mut update = Update::default();
        for (agent, chain) in self.state.agents() {
            update.chain(agent.clone(), chain.clone());
        }
        for ((key, answered), number) in self.answers.iter().zip(self.answers_from..) {
            update.answer(number, (*key, answered.clone()));
        }
        update.end(Location { segment: self.first, offset: HEADER_BYTES });
        update.set_totals(*self.state.totals());
        index.stage(update);
    }
}
