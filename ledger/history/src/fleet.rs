//! Proofs of what all machines did between two censuses.

mod build;
mod verify;

use messages::cbor::{self, CborError};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

pub use self::build::{EXCEPTIONS_MAX, FleetRequest, Selection, prove};
pub use self::verify::{FleetStatement, MachineStatement, Totals, verify};
use crate::census::{CensusOpening, Clock};
use crate::interval::TermsPart;

/// What all machines come to between two censuses, with some of them opened.
///
/// Source: `docs/spec/interval-proof.md` section 9.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct FleetProof {
    /// 1.
    pub version: u64,
    /// First second asked about.
    pub from: u64,
    /// Last second asked about.
    pub to: u64,
    /// The census at the begin, if there is one.
    pub start: Option<FleetCensus>,
    /// The census at the end.
    pub end: FleetCensus,
    /// A checkpoint that covers both census entries.
    pub note: ByteBuf,
    /// From `start`'s checkpoint to `end`'s; empty without `start`.
    pub start_to_end: Vec<Digest>,
    /// From `end`'s checkpoint to `note`.
    pub end_to_note: Vec<Digest>,
    /// Machines that are opened, ascending by slot.
    pub machines: Vec<Machine>,
}

/// A census entry with what its root commits to.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct FleetCensus {
    /// Index of the entry.
    pub index: u64,
    /// The entry.
    pub entry: ByteBuf,
    /// From the entry to the root of the last checkpoint.
    pub inclusion: Vec<Digest>,
    /// The checkpoint of the entries that the census covers.
    pub note: ByteBuf,
    /// Time of the census.
    pub clock: Clock,
    /// Slots given so far.
    pub slots: u32,
    /// Hash of the tree's top.
    pub top: Digest,
}

/// One machine at both censuses.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Machine {
    /// Its slot.
    pub slot: u32,
    /// Its id.
    pub agent: AgentId,
    /// Its slot at the begin; `None` without a census there.
    pub start: Option<CensusOpening>,
    /// Its slot at the end.
    pub end: CensusOpening,
    /// Its terms from the policy that was in force at the begin on, where labels are asked about.
    pub terms: Option<TermsPart>,
}

impl FleetProof {
    /// The proof's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a proof; nothing in it is believed yet.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are not one, deterministically encoded.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes)
    }
}
