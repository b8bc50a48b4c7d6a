//! Where the maker of a proof takes its parts from.

use ledger_tlog::hash::Hash;
use messages::{AgentId, Digest};

use crate::census::CensusOpening;
use crate::node::{Leaf, Node};

/// What a ledger keeps, as far as proofs need it.
///
/// Leaves and nodes are what [`History::push`](crate::history::History::push) gave out; hashes are
/// those of `ledger_tlog::tree`.
pub trait Store {
    /// Why something could not be read.
    type Error: std::error::Error + 'static;

    /// `count` leaves (at most 256) of the tree of a slot's agent, from number `start` on.
    ///
    /// # Errors
    /// If they cannot be read.
    fn leaves(&self, slot: u32, start: u64, count: u64) -> Result<Vec<Leaf>, Self::Error>;

    /// `count` nodes (at most 256) of a level from 1 on, from number `start` on.
    ///
    /// # Errors
    /// If they cannot be read.
    fn nodes(&self, slot: u32, level: u8, start: u64, count: u64) -> Result<Vec<Node>, Self::Error>;

    /// The agent of a slot.
    ///
    /// # Errors
    /// If it cannot be read.
    fn agent(&self, slot: u32) -> Result<AgentId, Self::Error>;

    /// Indices of the agent's entries of kind enrol, policy, retire and maintenance, ascending.
    ///
    /// # Errors
    /// If they cannot be read.
    fn terms(&self, slot: u32) -> Result<Vec<u64>, Self::Error>;

    /// Indices of all entries of the agent's chain from one index to another, both in it, ascending.
    ///
    /// # Errors
    /// If they cannot be read.
    fn chain(&self, agent: &AgentId, first: u64, last: u64) -> Result<Vec<u64>, Self::Error>;

    /// The bytes of an entry.
    ///
    /// # Errors
    /// If they cannot be read.
    fn entry(&self, index: u64) -> Result<Vec<u8>, Self::Error>;

    /// Hashes of the log's tree, as `ledger_tlog::tree` asks for them.
    ///
    /// # Errors
    /// If they cannot be read.
    fn hashes(&self, level: u8, start: u64, out: &mut [Hash]) -> Result<(), Self::Error>;

    /// A blob, `None` if it is not kept.
    ///
    /// # Errors
    /// If it cannot be read.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Self::Error>;

    /// The note of the published checkpoint of a size that a checkpoint entry names.
    ///
    /// # Errors
    /// If it cannot be read.
    fn note(&self, tree_size: u64) -> Result<Vec<u8>, Self::Error>;

    /// The newest published checkpoint: its size and its note.
    ///
    /// # Errors
    /// If it cannot be read.
    fn latest_note(&self) -> Result<(u64, Vec<u8>), Self::Error>;

    /// Indices of `timestamp` entries below `tree_size`, ascending: of each authority the last one. Those whose entry,
    /// note or token is not kept may be left out.
    ///
    /// # Errors
    /// If they cannot be read.
    fn timestamps(&self, tree_size: u64) -> Result<Vec<u64>, Self::Error>;

    /// A census whose entry is under the checkpoint of `tree_size`, with a slot opened.
    ///
    /// # Errors
    /// If it cannot be read.
    fn census(&self, choice: CensusChoice, slot: u32, tree_size: u64) -> Result<Option<StoredCensus>, Self::Error>;
}

/// Which census.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CensusChoice {
    /// The first whose clock is later than this second, else the last there is.
    After(u64),
    /// The last whose clock is before this second.
    Before(u64),
}

/// A census on record.
#[derive(Clone, Debug)]
pub struct StoredCensus {
    /// Index of its entry.
    pub index: u64,
    /// Entries covered by it.
    pub prefix_size: u64,
    /// The slot asked for.
    pub opening: CensusOpening,
}
