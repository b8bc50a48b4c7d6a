//! Why a proof is not believed.

use ledger_timestamp::{MalformedToken, TokenRejected};
use ledger_tlog::checkpoint::CheckpointRejected;
use ledger_tlog::proof::{ConsistencyError, InclusionError};
use messages::cbor::CborError;
use messages::{AgentId, Digest};

use super::beacons::BeaconStampFlaw;
use super::format::StampedNote;
pub use super::opened::MalformedTree;
use crate::census::OpeningRefused;

/// One of a proof's two censuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CensusEnd {
    /// The one before the interval.
    Start,
    /// The one after it.
    End,
}

/// Why an interval proof is not believed: the first check that failed.
///
/// Each has a name of its own in `docs/spec/interval-proof.md`, given by [`IntervalRefused::name`].
#[derive(Debug, thiserror::Error)]
pub enum IntervalRefused {
    /// Not the proof's CBOR.
    #[error("the proof is no interval proof")]
    Form(#[source] CborError),
    /// Of another version.
    #[error("the proof has version {found}; expected 1, or 2 with time-stamps under its beacons")]
    Version {
        /// Version found.
        found: u64,
    },
    /// An interval that ends before it begins.
    #[error("the interval ends at {to}, before it begins at {from}")]
    Interval {
        /// Its begin.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// The proof answers another question than the one that was asked.
    #[error("the proof is of agent {found}; expected {expected}")]
    Agent {
        /// The agent asked about.
        expected: AgentId,
        /// The proof's.
        found: AgentId,
    },
    /// A checkpoint is not the log's.
    #[error("the {} checkpoint is not believed", note_name(.note))]
    Checkpoint {
        /// Which.
        note: StampedNote,
        /// Why not.
        source: CheckpointRejected,
    },
    /// Two checkpoints are not of one history.
    #[error("the {} checkpoint does not extend the one before it", note_name(.note))]
    Consistency {
        /// The later one.
        note: StampedNote,
        /// What the proof shows.
        source: ConsistencyError,
    },
    /// A census's checkpoint is of another size than the census.
    #[error("the census at the {} covers {expected} entries, its checkpoint {found}", end_name(.end))]
    CensusSize {
        /// Which census.
        end: CensusEnd,
        /// Entries of the census.
        expected: u64,
        /// Entries of the checkpoint.
        found: u64,
    },
    /// A census entry is none.
    #[error("the entry of the census at the {} is none", end_name(.end))]
    CensusEntry {
        /// Which census.
        end: CensusEnd,
    },
    /// A census entry is not in the log.
    #[error("the entry of the census at the {} is not in the log", end_name(.end))]
    CensusInclusion {
        /// Which census.
        end: CensusEnd,
        /// Why not.
        source: InclusionError,
    },
    /// The slot is not as shown.
    #[error("the census at the {} does not hold the row that is shown", end_name(.end))]
    CensusOpening {
        /// Which census.
        end: CensusEnd,
        /// Why not.
        source: OpeningRefused,
    },
    /// The root of a census entry is not that of the parts that are shown.
    #[error("the root of the census at the {} is not that of the parts that are shown", end_name(.end))]
    CensusRoot {
        /// Which census.
        end: CensusEnd,
    },
    /// A count falls from one census to the next, or is less than that of the machines that are shown.
    #[error("counts fall between the two censuses, of {}", slot_name(.slot))]
    SumsFell {
        /// Whose; `None` for the sums over all.
        slot: Option<u32>,
    },
    /// Machines are not in the order of their slots.
    #[error("the machine in slot {slot} is out of order")]
    MachineOrder {
        /// The slot.
        slot: u32,
    },
    /// The slot is another agent's, or nobody's at the end.
    #[error("the row of the census at the {} is not that of the agent", end_name(.end))]
    CensusRow {
        /// Which census.
        end: CensusEnd,
    },
    /// The census at the start of a fleet proof is not before the interval.
    #[error("the census at the start is of {found}; expected one before {from}")]
    CensusTooLate {
        /// Begin of the interval.
        from: u64,
        /// Clock of the census.
        found: u64,
    },
    /// The census at the start counts quotes of the interval.
    #[error("the census at the start counts {found} quotes; before the interval are {expected}")]
    StartTooLate {
        /// Quotes before the interval.
        expected: u64,
        /// Quotes counted.
        found: u64,
    },
    /// The opened tree is malformed.
    #[error("the agent's tree is not as its census row says")]
    Tree(#[source] MalformedTree),
    /// The tree has another root or other sums than the row.
    #[error("the opened tree leads to another root or other sums than the row of the census at the {}", end_name(.end))]
    TreeRoot {
        /// Which census.
        end: CensusEnd,
    },
    /// A subtree lies on both sides of an end of the interval.
    #[error("leaves {start} to {end} are not opened though {at} lies among them")]
    Straddles {
        /// First leaf.
        start: u64,
        /// After the last leaf.
        end: u64,
        /// The interval's end.
        at: u64,
    },
    /// A leaf beside an end of the interval is not opened.
    #[error("the leaf {which} is not opened")]
    EndNotOpened {
        /// Which.
        which: &'static str,
    },
    /// An entry of the terms is none of the agent's, or out of order.
    #[error("entry {position} of the terms is not an entry of the agent's chain that governs it, or out of order")]
    TermsEntry {
        /// Which, from 0.
        position: usize,
    },
    /// The chain of terms does not end at the census row's.
    #[error("the terms lead to {computed}; expected {expected}, which the census row holds")]
    TermsEnd {
        /// The row's.
        expected: Digest,
        /// What came out.
        computed: Digest,
    },
    /// An opened leaf is under terms that are not shown.
    #[error("leaf {number} is under terms that are not shown in their order")]
    TermsOfLeaf {
        /// Number of the leaf.
        number: u64,
    },
    /// The terms begin after the policy that is in force at the interval's begin.
    #[error("the terms begin too late: the policy in force at the begin of the interval is not shown")]
    TermsShort,
    /// No evidence for a leaf that needs it, or out of order.
    #[error("the quote and verdict of leaf {number} are missing or out of order")]
    EvidenceMissing {
        /// Number of the leaf.
        number: u64,
    },
    /// A verdict or quote that is not the leaf's.
    #[error("the {what} of leaf {number} is not the one that its leaf names")]
    EvidenceOther {
        /// Number of the leaf.
        number: u64,
        /// Verdict, quote or beacon.
        what: &'static str,
    },
    /// Verdict and leaf disagree.
    #[error("leaf {number} counts its verdict otherwise than the verdict's entry says")]
    EvidenceResult {
        /// Number of the leaf.
        number: u64,
    },
    /// A verdict's entry is not in the log.
    #[error("the verdict of leaf {number} is not in the log")]
    EvidenceInclusion {
        /// Number of the leaf.
        number: u64,
        /// Why not.
        source: InclusionError,
    },
    /// A passing quote that answers another challenge.
    #[error("the quote of leaf {number} passed, but its nonce is not the one its entry demands")]
    Nonce {
        /// Number of the leaf.
        number: u64,
    },
    /// A token is malformed.
    #[error("time-stamp {position} is malformed")]
    StampForm {
        /// Which, from 0.
        position: usize,
        /// What is wrong.
        source: MalformedToken,
    },
    /// A token is not believed.
    #[error("time-stamp {position} is not believed")]
    StampRejected {
        /// Which, from 0.
        position: usize,
        /// Why not.
        source: TokenRejected,
    },
    /// A token over a checkpoint that is not there.
    #[error("time-stamp {position} is over a checkpoint that the proof does not have")]
    StampNote {
        /// Which, from 0.
        position: usize,
    },
    /// A time-stamp that is said to lie under a beacon does not bound the quote.
    #[error("time-stamp {position} under the beacons bounds no quote")]
    BeaconStamp {
        /// Which, from 0: of the tokens, or of the beacons.
        position: usize,
        /// Why not.
        source: BeaconStampFlaw,
    },
    /// An entry of a full proof is not the next of the chain.
    #[error("entry {position} of the full proof does not continue the agent's chain")]
    FullChain {
        /// Which, from 0.
        position: usize,
    },
    /// The entries of a full proof make other leaves.
    #[error("the entries of the full proof do not make leaf {number}")]
    FullLeaf {
        /// Number of the leaf.
        number: u64,
    },
}

impl IntervalRefused {
    /// The check's name in `docs/spec/interval-proof.md`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Form(_) => "form",
            Self::Version { .. } => "version",
            Self::Interval { .. } => "interval",
            Self::Agent { .. } => "agent",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Consistency { .. } => "consistency",
            Self::CensusSize { .. } => "census-size",
            Self::CensusEntry { .. } => "census-entry",
            Self::CensusInclusion { .. } => "census-inclusion",
            Self::CensusOpening { .. } => "census-opening",
            Self::CensusRoot { .. } => "census-root",
            Self::CensusRow { .. } => "census-row",
            Self::SumsFell { .. } => "sums-fell",
            Self::MachineOrder { .. } => "machine-order",
            Self::CensusTooLate { .. } | Self::StartTooLate { .. } => "start-too-late",
            Self::Tree(_) => "tree",
            Self::TreeRoot { .. } => "tree-root",
            Self::Straddles { .. } => "straddles",
            Self::EndNotOpened { .. } => "end-not-opened",
            Self::TermsEntry { .. } => "terms-entry",
            Self::TermsEnd { .. } => "terms-end",
            Self::TermsOfLeaf { .. } => "terms-of-leaf",
            Self::TermsShort => "terms-short",
            Self::EvidenceMissing { .. } => "evidence-missing",
            Self::EvidenceOther { .. } => "evidence-other",
            Self::EvidenceResult { .. } => "evidence-result",
            Self::EvidenceInclusion { .. } => "evidence-inclusion",
            Self::Nonce { .. } => "nonce",
            Self::StampForm { .. } => "stamp-form",
            Self::StampRejected { .. } => "stamp-rejected",
            Self::StampNote { .. } => "stamp-note",
            Self::BeaconStamp { source, .. } => source.name(),
            Self::FullChain { .. } => "full-chain",
            Self::FullLeaf { .. } => "full-leaf",
        }
    }
}

fn slot_name(slot: &Option<u32>) -> String {
    slot.map_or_else(|| "all machines".to_owned(), |slot| format!("the machine in slot {slot}"))
}

fn note_name(note: &StampedNote) -> &'static str {
    match note {
        StampedNote::Start => "first",
        StampedNote::End => "second",
        StampedNote::Last => "last",
    }
}

fn end_name(end: &CensusEnd) -> &'static str {
    match end {
        CensusEnd::Start => "start",
        CensusEnd::End => "end",
    }
}
