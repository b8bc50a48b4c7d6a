//! Why an entry was not taken.

use ledger_protocol::Kind;
use messages::cbor::CborError;
use messages::{AgentId, Digest};

/// Why an entry was not taken; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// An entry of an agent that has no `enrol` entry.
    #[error("entry {index} is of agent {agent}, which was never enrolled")]
    Agent {
        /// Index of the entry.
        index: u64,
        /// The agent.
        agent: AgentId,
    },
    /// A blob is needed and not there.
    #[error("entry {index} needs the blob {digest}, which is not there")]
    Blob {
        /// Index of the entry.
        index: u64,
        /// The blob.
        digest: Digest,
    },
    /// The body is not what its kind says.
    #[error("the body of entry {index} is no {kind} body", kind = kind.name())]
    Body {
        /// Index of the entry.
        index: u64,
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        source: CborError,
    },
    /// An entry on the wrong kind of chain.
    #[error("entry {index}, a {kind} entry, is on the wrong kind of chain", kind = kind.name())]
    Chain {
        /// Index of the entry.
        index: u64,
        /// Its kind.
        kind: Kind,
    },
    /// A checkpoint entry that covers no more than the one before, or itself.
    #[error("checkpoint entry {index} covers {found} entries; expected more than {last}, and at most {index}")]
    Checkpoint {
        /// Index of the entry.
        index: u64,
        /// Entries under the one before.
        last: u64,
        /// Entries under this one.
        found: u64,
    },
    /// Not the next entry.
    #[error("entry {found} was given; expected entry {expected}")]
    Index {
        /// Index of the next entry.
        expected: u64,
        /// Index given.
        found: u64,
    },
    /// An agent enrolled into another slot than its own or the next free one.
    #[error("entry {index} enrols into slot {found}; expected {expected}")]
    Slot {
        /// Index of the entry.
        index: u64,
        /// The slot it must be.
        expected: u64,
        /// The slot it is.
        found: u64,
    },
    /// No slot is left: they are numbers of 32 bits.
    #[error("entry {index} enrols one agent more than there are slots")]
    Slots {
        /// Index of the entry.
        index: u64,
    },
}
