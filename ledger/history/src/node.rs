//! Leaves and nodes of an agent's tree, and their hashes.

use messages::{AgentId, Digest};
use openssl::sha::Sha256;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::aggregate::{AGGREGATE_BYTES, Aggregate};

/// Bytes of a [`Leaf`] as a store keeps it.
pub const LEAF_BYTES: usize = 8 + AGGREGATE_BYTES + 3 * 32 + 4 + 2 * 8;
/// Bytes of a [`Node`] as a store keeps it.
pub const NODE_BYTES: usize = AGGREGATE_BYTES + 32;

/// One quote with its verdict.
///
/// Source: `docs/spec/history.md` section 3.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Leaf {
    /// Number of the quote's entry in the agent's chain.
    pub seq: u64,
    /// What this one quote comes to.
    pub aggregate: Aggregate,
    /// Leaf hash of the verdict's entry.
    pub verdict: Digest,
    /// What governs the agent at the verdict, as a hash chain.
    pub terms: Digest,
    /// SHA-256 of the witness policy its time rests on; zero if the time is claimed.
    pub basis: Digest,
    /// How often the basis has changed so far.
    pub switches: u32,
    /// Index of the quote's entry in the log. Not hashed.
    pub quote_index: u64,
    /// Index of the verdict's entry in the log. Not hashed.
    pub verdict_index: u64,
}

/// A subtree of an agent's tree: its aggregate and its hash.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Node {
    /// Of all its leaves.
    pub aggregate: Aggregate,
    /// Its hash.
    pub hash: Digest,
}

impl Leaf {
    /// The leaf as a node of the tree of the agent with this id hash.
    #[must_use]
    pub fn node(&self, agent: &Digest) -> Node {
        let mut hash = Sha256::new();
        let mut bytes = [AGENT_LEAF; 1 + 32 + 8 + AGGREGATE_BYTES + 3 * 32 + 4];
        let parts: [&[u8]; 7] = [
            agent.as_bytes(),
            &self.seq.to_be_bytes(),
            &self.aggregate.to_bytes(),
            self.verdict.as_bytes(),
            self.terms.as_bytes(),
            self.basis.as_bytes(),
            &self.switches.to_be_bytes(),
        ];
        fill(&mut bytes, &parts);
        hash.update(&bytes);
        Node { aggregate: self.aggregate, hash: Digest(hash.finish()) }
    }

    /// The leaf as a store of fixed records keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        let parts: [&[u8]; 8] = [
            &self.seq.to_be_bytes(),
            &self.aggregate.to_bytes(),
            self.verdict.as_bytes(),
            self.terms.as_bytes(),
            self.basis.as_bytes(),
            &self.switches.to_be_bytes(),
            &self.quote_index.to_be_bytes(),
            &self.verdict_index.to_be_bytes(),
        ];
        fill_all(&mut bytes, &parts);
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LEAF_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        Self {
            seq: u64::from_be_bytes(take(&mut rest)),
            aggregate: Aggregate::from_bytes(&take(&mut rest)),
            verdict: Digest(take(&mut rest)),
            terms: Digest(take(&mut rest)),
            basis: Digest(take(&mut rest)),
            switches: u32::from_be_bytes(take(&mut rest)),
            quote_index: u64::from_be_bytes(take(&mut rest)),
            verdict_index: u64::from_be_bytes(take(&mut rest)),
        }
    }
}

impl Node {
    /// The node over `left` and `right`.
    pub(crate) fn over(left: &Self, right: &Self) -> Self {
        let aggregate = left.aggregate.join(&right.aggregate);
        Self { aggregate, hash: node_hash(&aggregate, &left.hash, &right.hash) }
    }

    /// The node as a store of fixed records keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; NODE_BYTES] {
        let mut bytes = [0; NODE_BYTES];
        fill_all(&mut bytes, &[&self.aggregate.to_bytes(), self.hash.as_bytes()]);
        bytes
    }

    /// Reads what [`Self::to_bytes`] writes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; NODE_BYTES]) -> Self {
        let mut rest = bytes.as_slice();
        Self { aggregate: Aggregate::from_bytes(&take(&mut rest)), hash: Digest(take(&mut rest)) }
    }
}

/// SHA-256 of the id's UTF-8 bytes.
#[must_use]
pub fn agent_hash(agent: &AgentId) -> Digest {
    sha256(agent.as_str().as_bytes())
}

/// The hash of an interior node with this aggregate over these two.
#[must_use]
pub fn node_hash(aggregate: &Aggregate, left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [AGENT_NODE; 1 + AGGREGATE_BYTES + 64];
    fill(&mut bytes, &[&aggregate.to_bytes(), left.as_bytes(), right.as_bytes()]);
    sha256(&bytes)
}

/// The head of an agent's tree: what a census row commits to.
#[must_use]
pub fn head_hash(agent: &Digest, aggregate: &Aggregate, root: &Digest, terms: &Digest) -> Digest {
    let mut bytes = [AGENT_HEAD; 1 + 32 + AGGREGATE_BYTES + 64];
    fill(&mut bytes, &[agent.as_bytes(), &aggregate.to_bytes(), root.as_bytes(), terms.as_bytes()]);
    sha256(&bytes)
}

/// The terms after the entry with this leaf hash.
#[must_use]
pub fn terms_after(terms: &Digest, entry: &Digest) -> Digest {
    let mut bytes = [TERMS; 65];
    fill(&mut bytes, &[terms.as_bytes(), entry.as_bytes()]);
    sha256(&bytes)
}

/// The root of no leaves: SHA-256 of nothing.
pub(crate) const NO_LEAVES: Digest = Digest(*ledger_tlog::hash::EMPTY_ROOT.as_bytes());

/// Copies `parts` behind the first byte, which separates domains.
pub(crate) fn fill(bytes: &mut [u8], parts: &[&[u8]]) {
    if let Some((_, rest)) = bytes.split_first_mut() {
        fill_all(rest, parts);
    }
}

fn fill_all(mut rest: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = after;
    }
}

/// The stateful form: openssl's one-shot looks the algorithm up anew each time.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(bytes);
    Digest(hash.finish())
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    match rest.split_first_chunk::<N>() {
        Some((taken, after)) => {
            *rest = after;
            *taken
        }
        None => [0; N],
    }
}

const AGENT_LEAF: u8 = 0x10;
const AGENT_NODE: u8 = 0x11;
const AGENT_HEAD: u8 = 0x12;
const TERMS: u8 = 0x16;
