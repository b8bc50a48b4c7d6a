//! The rules, as what breaks them.

use messages::cbor::CborError;
use messages::ledger::Head;
use messages::{Digest, UnixMillis};

use crate::Kind;
use crate::body::CENSUS_SUMS_BYTES;

/// Why an entry may not stand where it is.
#[derive(Debug, thiserror::Error)]
pub enum RuleBroken {
    /// `enrol` for an agent that is in the fleet.
    #[error("the agent is enrolled; expected a retire entry before it is enrolled again")]
    AlreadyEnrolled,
    /// A quote rests on an older checkpoint than the one before it.
    #[error("the quote rests on the checkpoint of size {found}; expected {last} or later, as its predecessor")]
    BeaconBack {
        /// Size of the predecessor's checkpoint.
        last: u64,
        /// Size of this one's.
        found: u64,
    },
    /// A checkpoint that this log has not signed.
    #[error("checkpoint {note_digest} of size {tree_size} is not one that this log has signed")]
    BeaconUnknown {
        /// Its size.
        tree_size: u64,
        /// Its digest.
        note_digest: Digest,
    },
    /// A verdict under another EK–AK–id record than the policy's.
    #[error("the verdict is under the binding {found}; expected {expected}, which the agent's policy names")]
    Binding {
        /// The policy's.
        expected: Digest,
        /// The verdict's.
        found: Digest,
    },
    /// The body is not what its kind says.
    #[error("the body is no {kind} body", kind = kind.name())]
    Body {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        source: CborError,
    },
    /// A census that does not follow the last checkpoint entry.
    #[error(
        "census {epoch} covers {found} entries; expected census {expected_epoch} of the {expected} entries under the last checkpoint entry, which has none yet"
    )]
    Census {
        /// Entries under the last checkpoint entry.
        expected: u64,
        /// Entries it says it covers.
        found: u64,
        /// The number it should have.
        expected_epoch: u64,
        /// The number it has.
        epoch: u64,
    },
    /// The sums of a census have another length.
    #[error("the sums of a census have {found} bytes; expected {CENSUS_SUMS_BYTES}")]
    CensusSums {
        /// Bytes found.
        found: usize,
    },
    /// The entry is on the wrong kind of chain.
    #[error("a {kind} entry does not belong on {chain}", kind = kind.name())]
    Chain {
        /// The kind.
        kind: Kind,
        /// Whose chain it is.
        chain: &'static str,
    },
    /// A checkpoint entry that is not newer than the one before it, or covers itself.
    #[error("a checkpoint entry covers {found} entries; expected more than {last}, and at most its index {index}")]
    CheckpointSize {
        /// Entries under the checkpoint entry before.
        last: u64,
        /// Entries under this one.
        found: u64,
        /// Index of the entry.
        index: u64,
    },
    /// The log does not begin with `genesis`, or has a second one.
    #[error("a {kind} entry has index {index}; expected genesis at index 0 and nowhere else", kind = kind.name())]
    Genesis {
        /// The kind found.
        kind: Kind,
        /// Where.
        index: u64,
    },
    /// Number or predecessor do not continue the chain.
    #[error("entry {} after {} does not continue the chain; expected entry {} after {}", found.seq, found.prev, expected.seq, expected.prev)]
    Head {
        /// The chain's end.
        expected: Head,
        /// What the entry says.
        found: Head,
    },
    /// A key release without a prior authorisation.
    #[error("the release of key {key_id} was not authorised; expected an authorised key-release entry before")]
    NotAuthorised {
        /// The key.
        key_id: Digest,
    },
    /// A maintenance window that ends before it begins.
    #[error("the maintenance ends at {to}; expected a time after its begin at {from}")]
    MaintenanceWindow {
        /// Its begin.
        from: UnixMillis,
        /// Its end.
        to: UnixMillis,
    },
    /// Anything but `enrol` for an agent that is not in the fleet.
    #[error("the agent is not enrolled; expected an enrol entry before a {kind} entry", kind = kind.name())]
    NotEnrolled {
        /// The kind.
        kind: Kind,
    },
    /// A key is authorised after a verdict that is not a pass.
    #[error("a key release is authorised by a verdict that is not a pass")]
    NotPassed,
    /// The verdict names another quote than the latest, or one that has a verdict.
    #[error("the verdict names the quote {found}; expected the chain's latest without verdict, {}", show(.latest))]
    Quote {
        /// Leaf hash of the latest quote, if it has no verdict.
        latest: Option<Digest>,
        /// Leaf hash named.
        found: Digest,
    },
    /// The sequencer's clock went back.
    #[error("the entry was recorded at {found}; expected {last} or later")]
    Recorded {
        /// Time of the entry before.
        last: UnixMillis,
        /// Time of this one.
        found: UnixMillis,
    },
    /// The wrong place in the census.
    #[error("the agent is enrolled into slot {found}; expected {expected}")]
    Slot {
        /// The next free slot, or the agent's own.
        expected: u64,
        /// The slot in the entry.
        found: u64,
    },
    /// The key release names another verdict than the latest.
    #[error("the key release names the verdict {found}; expected the chain's latest, {}", show(.latest))]
    Verdict {
        /// Leaf hash of the latest verdict.
        latest: Option<Digest>,
        /// Leaf hash named.
        found: Digest,
    },
}

fn show(leaf_hash: &Option<Digest>) -> String {
    leaf_hash.map_or_else(|| "of which there is none".to_owned(), |hash| hash.to_string())
}
