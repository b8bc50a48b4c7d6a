//! All machines' histories in one number: rows by slot, sums over them, a root.

mod opening;
mod sums;
mod tree;

use ledger_protocol::body::CensusBody;
use messages::Digest;
use serde_bytes::ByteBuf;
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub use self::opening::{CensusOpening, OpeningRefused, PATH_MAX};
pub use self::sums::{SUMS_BYTES, Sums};
pub(crate) use self::tree::CensusTree;
use crate::aggregate::{AGGREGATE_BYTES, Aggregate};
use crate::node::{fill, head_hash, sha256};

/// One machine's place in the census.
///
/// Source: `docs/spec/history.md` section 4.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct CensusRow {
    /// Its slot.
    pub slot: u32,
    /// SHA-256 of its id.
    pub agent: Digest,
    /// Whether it is in the fleet, and met what is due.
    pub status: Status,
    /// Index of its last entry that is covered.
    pub last_index: u64,
    /// Of all its leaves.
    pub aggregate: Aggregate,
    /// Root of its tree.
    pub root: Digest,
    /// What governs it, as a hash chain.
    pub terms: Digest,
}

/// Where a machine stands by the due rule.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum Status {
    /// Enrolled; no quotes are asked for.
    Idle = 0,
    /// Enrolled; nothing is missed at the census's clock.
    Met = 1,
    /// Enrolled; at least one quote is missed at the census's clock.
    Missed = 2,
    /// Not in the fleet any more.
    Retired = 3,
}

impl Status {
    /// The word for it in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Retired => "retired",
        }
    }
}

/// What a census root commits to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CensusHead {
    /// Entries covered.
    pub prefix_size: u64,
    /// Number of the census.
    pub epoch: u64,
    /// Time of the census.
    pub clock: Clock,
    /// Slots given so far.
    pub slots: u32,
    /// Sums over all rows.
    pub sums: Sums,
    /// Hash of the tree over the rows.
    pub top: Digest,
}

/// A time and what it rests on.
#[derive(Clone, Copy, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Clock {
    /// Seconds since 1970.
    pub seconds: u64,
    /// SHA-256 of the witness policy that it rests on; zero if it is the log's own clock.
    pub basis: Digest,
}

/// A census with all its rows.
#[derive(Clone, Debug)]
pub struct Census {
    prefix_size: u64,
    epoch: u64,
    clock: Clock,
    rows: Vec<CensusRow>,
    tree: CensusTree,
}

impl CensusRow {
    pub(crate) fn hash(&self) -> Digest {
        let head = head_hash(&self.agent, &self.aggregate, &self.root, &self.terms);
        let mut bytes = [CENSUS_LEAF; 1 + 4 + 32 + 1 + 8 + AGGREGATE_BYTES + 32];
        let parts: [&[u8]; 6] = [
            &self.slot.to_be_bytes(),
            self.agent.as_bytes(),
            &[self.status as u8],
            &self.last_index.to_be_bytes(),
            &self.aggregate.to_bytes(),
            head.as_bytes(),
        ];
        fill(&mut bytes, &parts);
        sha256(&bytes)
    }
}

impl CensusHead {
    /// The census root.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut bytes = [CENSUS_ROOT; 1 + 3 * 8 + 32 + 4 + SUMS_BYTES + 32];
        let parts: [&[u8]; 7] = [
            &self.prefix_size.to_be_bytes(),
            &self.epoch.to_be_bytes(),
            &self.clock.seconds.to_be_bytes(),
            self.clock.basis.as_bytes(),
            &self.slots.to_be_bytes(),
            &self.sums.to_bytes(),
            self.top.as_bytes(),
        ];
        fill(&mut bytes, &parts);
        sha256(&bytes)
    }

    /// The body of the entry that puts it on record.
    #[must_use]
    pub fn body(&self) -> CensusBody {
        CensusBody {
            prefix_size: self.prefix_size,
            sums: ByteBuf::from(self.sums.to_bytes()),
            root: self.root(),
            epoch: self.epoch,
        }
    }
}

impl Census {
    /// The census with these rows, row `i` that of slot `i`, as a store has kept them.
    #[must_use]
    pub fn from_rows(prefix_size: u64, epoch: u64, clock: Clock, rows: Vec<CensusRow>) -> Self {
        let mut tree = CensusTree::default();
        tree.update(rows.iter().map(|row| (row.slot, Sums::of(row), row.hash())));
        Self { prefix_size, epoch, clock, rows, tree }
    }

    /// What its root commits to.
    #[must_use]
    pub fn head(&self) -> CensusHead {
        let (sums, top) = self.tree.top();
        let slots = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        CensusHead { prefix_size: self.prefix_size, epoch: self.epoch, clock: self.clock, slots, sums, top }
    }

    /// One row for each slot, in their order.
    #[must_use]
    pub fn rows(&self) -> &[CensusRow] {
        &self.rows
    }

    /// Shows what stands in a slot, which may be one that nobody has yet.
    #[must_use]
    pub fn open(&self, slot: u32) -> CensusOpening {
        let CensusHead { epoch, clock, slots, .. } = self.head();
        let row = usize::try_from(slot).ok().and_then(|slot| self.rows.get(slot)).copied();
        let path = if row.is_some() { self.tree.path(slot) } else { Vec::new() };
        let top = if row.is_some() { None } else { Some(self.tree.top().1) };
        CensusOpening { epoch, clock, slots, row, path, top }
    }

    pub(crate) fn empty() -> Self {
        Self { prefix_size: 0, epoch: 0, clock: Clock::default(), rows: Vec::new(), tree: CensusTree::default() }
    }

    /// Sets rows, in ascending order of slots; new ones come right after the last.
    pub(crate) fn update(&mut self, prefix_size: u64, epoch: u64, clock: Clock, changed: &[CensusRow]) {
        (self.prefix_size, self.epoch, self.clock) = (prefix_size, epoch, clock);
        for row in changed {
            match usize::try_from(row.slot).ok().and_then(|slot| self.rows.get_mut(slot)) {
                Some(known) => *known = *row,
                None => self.rows.push(*row),
            }
        }
        self.tree.update(changed.iter().map(|row| (row.slot, Sums::of(row), row.hash())));
    }
}

const CENSUS_LEAF: u8 = 0x13;
const CENSUS_ROOT: u8 = 0x17;

#[cfg(test)]
mod tests;
