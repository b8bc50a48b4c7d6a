//! What the ledger must hold before an attester counts as enrolled.

use messages::Digest;

#[cfg(test)]
mod tests;

/// An attester's place in the census: given with its first `enrol` entry, its own for ever.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot(pub u64);

/// How an agent's chain of the ledger stands, folded from its `enrol` and `retire` entries in order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ChainStanding {
    /// The chain is empty.
    #[default]
    Absent,
    /// Its last `enrol` was not followed by a `retire`.
    Enrolled {
        /// The place of that `enrol`.
        slot: Slot,
        /// The EK–AK–id record it names.
        binding: Digest,
    },
    /// It ends with a `retire`.
    Retired {
        /// The place it had, which a new `enrol` must take again.
        slot: Slot,
    },
}

/// What to do before the AK may become active.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EnrolmentStep {
    /// Append an `enrol` entry and wait until it is durable.
    Enrol(SlotChoice),
    /// The ledger has the agent already: nothing to append, but only the identity in this record may become active.
    Hold {
        /// The EK–AK–id record of the `enrol` entry.
        binding: Digest,
    },
}

/// Which slot an `enrol` entry names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotChoice {
    /// The next free one, as the ledger's `info` says.
    NextFree,
    /// The one the agent had before it was retired.
    Own(Slot),
}

impl ChainStanding {
    /// The standing after an `enrol` entry. One that follows another without a `retire` replaces it; the sequencer
    /// does not let that happen.
    #[must_use]
    pub const fn enrolled(self, slot: Slot, binding: Digest) -> Self {
        match self {
            Self::Absent | Self::Enrolled { .. } | Self::Retired { .. } => Self::Enrolled { slot, binding },
        }
    }

    /// The standing after a `retire` entry. Without an `enrol` before it means nothing.
    #[must_use]
    pub const fn retired(self) -> Self {
        match self {
            Self::Absent => Self::Absent,
            Self::Enrolled { slot, .. } | Self::Retired { slot } => Self::Retired { slot },
        }
    }

    /// What an activation asks of the ledger.
    #[must_use]
    pub const fn step(self) -> EnrolmentStep {
        match self {
            Self::Absent => EnrolmentStep::Enrol(SlotChoice::NextFree),
            Self::Enrolled { binding, .. } => EnrolmentStep::Hold { binding },
            Self::Retired { slot } => EnrolmentStep::Enrol(SlotChoice::Own(slot)),
        }
    }
}
