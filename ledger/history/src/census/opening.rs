//! One slot of a census, shown to somebody who has its root.

use ledger_protocol::body::CensusBody;
use messages::Digest;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::sums::Sums;
use super::tree::{Branch, over};
use super::{CensusHead, CensusRow, Clock};

/// Longest path: slots are numbers of 32 bits.
pub const PATH_MAX: usize = 32;

/// What stands in one slot, and all that leads from there to the census root.
///
/// ```cddl
/// census-opening = [ epoch: uint, clock: [seconds: uint, basis: bstr .size 32], slots: uint,
///                    row: census-row / null, path: [* [F: bstr .size 68, hash: bstr .size 32]], top: bstr .size 32 / null ]
/// ```
///
/// Without a row the slot is not below `slots`; `top` is then given instead of a path.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct CensusOpening {
    /// Number of the census.
    pub epoch: u64,
    /// Its time.
    pub clock: Clock,
    /// Slots given so far.
    pub slots: u32,
    /// The row, if the slot is taken.
    pub row: Option<CensusRow>,
    /// Sums and hashes beside the way to the top, lowest first.
    pub path: Vec<Branch>,
    /// Hash of the tree's top, if there is no row.
    pub top: Option<Digest>,
}

/// Why an opening does not belong to a census entry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpeningRefused {
    /// Row and slot disagree.
    #[error("the row is that of slot {found}; expected {expected}")]
    Slot {
        /// The slot asked for.
        expected: u32,
        /// The row's.
        found: u32,
    },
    /// Neither a row in a slot that is taken, nor none in one that is not.
    #[error("slot {slot} of {slots} is shown {found}; expected {expected}")]
    Form {
        /// The slot.
        slot: u32,
        /// Slots of the census.
        slots: u32,
        /// What is there.
        found: &'static str,
        /// What should be.
        expected: &'static str,
    },
    /// Too few or too many hashes.
    #[error("the path in a census of {slots} slots has {found} steps; expected {expected}")]
    Path {
        /// Slots of the census.
        slots: u32,
        /// Steps found.
        found: usize,
        /// Steps there should be.
        expected: usize,
    },
    /// The sums do not come out.
    #[error("the census entry states other sums than its rows have")]
    Sums,
    /// The root does not come out.
    #[error("row and path lead to the census root {computed}; expected {expected}")]
    Root {
        /// The entry's.
        expected: Digest,
        /// What came out.
        computed: Digest,
    },
}

impl CensusOpening {
    /// Verifies that `slot` is as shown in the census of `body`, in this order: the row is there
    /// if and only if the slot is taken, and is the slot's own; the path is as long as the number of
    /// slots demands; the sums come out; the root comes out.
    ///
    /// # Errors
    /// [`OpeningRefused`] with the check that failed.
    pub fn verify(&self, slot: u32, body: &CensusBody) -> Result<CensusHead, OpeningRefused> {
        let taken = slot < self.slots;
        let form = |found, expected| OpeningRefused::Form { slot, slots: self.slots, found, expected };
        let (sums, top) = match (&self.row, taken, self.top) {
            (Some(row), true, None) => self.climb(slot, row)?,
            (None, false, Some(top)) if self.path.is_empty() => (stated(body)?, top),
            (Some(_), false, _) => return Err(form("with a row", "none")),
            (Some(_), true, Some(_)) => return Err(form("with the top", "a path alone")),
            (None, true, _) => return Err(form("without a row", "one")),
            (None, false, _) => return Err(form("without the top, or with a path", "the top alone")),
        };
        if sums.to_bytes() != body.sums.as_slice() {
            return Err(OpeningRefused::Sums);
        }
        let CensusBody { prefix_size, root: expected, .. } = *body;
        let (epoch, clock, slots) = (self.epoch, self.clock, self.slots);
        let head = CensusHead { prefix_size, epoch, clock, slots, sums, top };
        let computed = head.root();
        if computed == expected && epoch == body.epoch {
            Ok(head)
        } else {
            Err(OpeningRefused::Root { expected, computed })
        }
    }

    /// Hash of the top that row and path lead to, or the one that is given without a row.
    pub(crate) fn computed_top(&self) -> Digest {
        let climbed = self.row.as_ref().and_then(|row| self.climb(row.slot, row).ok());
        climbed.map(|(_, top)| top).or(self.top).unwrap_or(Digest::ZERO)
    }

    fn climb(&self, slot: u32, row: &CensusRow) -> Result<Branch, OpeningRefused> {
        if row.slot != slot {
            return Err(OpeningRefused::Slot { expected: slot, found: row.slot });
        }
        let width = self.slots.checked_next_power_of_two().map_or(PATH_MAX, |width| width.trailing_zeros() as usize);
        let found = self.path.len();
        if found != width {
            return Err(OpeningRefused::Path { slots: self.slots, found, expected: width });
        }
        let mut branch = (Sums::of(row), row.hash());
        for (height, beside) in self.path.iter().enumerate() {
            branch = if slot >> height & 1 == 0 { over(&branch, beside) } else { over(beside, &branch) };
        }
        Ok(branch)
    }
}

fn stated(body: &CensusBody) -> Result<Sums, OpeningRefused> {
    body.sums.as_slice().try_into().map(Sums::from_bytes).map_err(|_| OpeningRefused::Sums)
}
