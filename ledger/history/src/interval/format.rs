//! The bytes of an interval proof.

use ledger_tlog::hash::Hash;
use ledger_tlog::proof::{ConsistencyProof, InclusionProof};
use messages::cbor::{self, CborError};
use messages::{AgentId, Digest};
use serde_bytes::ByteBuf;
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::census::CensusOpening;

/// Most bytes of a proof: a full one of a month at 2 s has 2.6 million entries of 500 bytes.
pub const PROOF_BYTES_MAX: usize = 2 << 30;

/// Format version of proofs without time-stamps under beacons, and of fleet proofs.
pub(crate) const VERSION: u64 = 1;
/// Format version of proofs with [`IntervalProof::beacon_stamps`].
pub(crate) const VERSION_BEACONS: u64 = 2;

/// All that is on record about one agent between two times, as a stranger can check it.
///
/// Source: `docs/spec/interval-proof.md`.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct IntervalProof {
    /// 1, or 2 with `beacon_stamps`.
    pub version: u64,
    /// The agent.
    pub agent: AgentId,
    /// Its slot.
    pub slot: u32,
    /// First second of the interval.
    pub from: u64,
    /// Last second of the interval.
    pub to: u64,
    /// Gaps longer than this many seconds are shown one by one, if there are not too many.
    pub gap_limit: u64,
    /// The last census before the interval, if there is one.
    pub start: Option<CensusPart>,
    /// A census after the interval, or the newest.
    pub end: CensusPart,
    /// The agent's tree as of `end`, opened where it must be.
    pub tree: ByteBuf,
    /// What governed the agent.
    pub terms: TermsPart,
    /// Quotes and verdicts of opened leaves, ascending by number.
    pub evidence: Vec<Evidence>,
    /// A checkpoint that covers both census entries and all evidence.
    pub note: ByteBuf,
    /// From `start`'s checkpoint to `end`'s; empty without `start`.
    pub start_to_end: Vec<Digest>,
    /// From `end`'s checkpoint to `note`.
    pub end_to_note: Vec<Digest>,
    /// RFC 3161 tokens.
    pub stamps: Vec<Stamp>,
    /// Of a full proof: the entries of the agent's chain, in order without gaps.
    pub entries: Vec<ByteBuf>,
    /// Time-stamps that beacons commit to; with none of them the item is not there and the version is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beacon_stamps: Option<BeaconStamps>,
}

/// A census entry with one slot opened.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct CensusPart {
    /// Index of the entry.
    pub index: u64,
    /// The entry.
    pub entry: ByteBuf,
    /// From the entry to the root of the proof's last checkpoint.
    pub inclusion: Vec<Digest>,
    /// The agent's slot.
    pub opening: CensusOpening,
    /// The checkpoint of the entries that the census covers.
    pub note: ByteBuf,
}

/// A stretch of the hash chain of what governs the agent, up to `end`.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct TermsPart {
    /// The chain before the first of `entries`; zero if that is the agent's first.
    pub before: Digest,
    /// Entries of kind enrol, policy, retire, maintenance, in order.
    pub entries: Vec<ByteBuf>,
}

/// One leaf's entries.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Evidence {
    /// Number of the leaf.
    pub number: u64,
    /// Index of the verdict's entry.
    pub index: u64,
    /// The verdict's entry.
    pub verdict: ByteBuf,
    /// From the verdict's entry to the root of the proof's last checkpoint.
    pub inclusion: Vec<Digest>,
    /// The quote's entry.
    pub quote: ByteBuf,
    /// The checkpoint that the quote's nonce rests on, if it is to be had.
    pub beacon: Option<ByteBuf>,
}

/// A time-stamp.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Stamp {
    /// What was stamped.
    pub note: StampedNote,
    /// DER of the token, CMS ContentInfo.
    pub token: ByteBuf,
}

/// Time-stamps that lie under the beacons of quotes: each bounds those quotes from below.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct BeaconStamps {
    /// The time-stamps, each of use to one quote at least.
    pub tokens: Vec<LoggedToken>,
    /// Which quote's beacon has which of them in its tree; ascending by number, then by token.
    pub beacons: Vec<BeaconStamp>,
}

/// A time-stamp that an entry of the log names.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct LoggedToken {
    /// Index of the `timestamp` entry.
    pub index: u64,
    /// The entry.
    pub entry: ByteBuf,
    /// The checkpoint that was stamped.
    pub note: ByteBuf,
    /// DER of the token, CMS ContentInfo.
    pub token: ByteBuf,
}

/// That the tree of a quote's beacon contains a `timestamp` entry.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct BeaconStamp {
    /// Number of the quote's leaf; its evidence is shown, with the beacon.
    pub number: u64,
    /// Which of the tokens, from 0.
    pub token: u64,
    /// From the entry to the root of the beacon.
    pub inclusion: Vec<Digest>,
}

/// One of a proof's checkpoints.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum StampedNote {
    /// That of `start`.
    Start = 0,
    /// That of `end`.
    End = 1,
    /// The last.
    Last = 2,
}

impl IntervalProof {
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
        let proof: Self = cbor::decode(bytes)?;
        let lists = proof.beacon_stamps.as_ref().map(|stamps| (stamps.tokens.is_empty(), stamps.beacons.is_empty()));
        match lists {
            None | Some((false, false)) => Ok(proof),
            Some(_) => Err(CborError::Form { offset: 0, found: "an empty list where one element is expected" }),
        }
    }
}

pub(crate) fn digests(hashes: &[Hash]) -> Vec<Digest> {
    hashes.iter().map(|hash| Digest(*hash.as_bytes())).collect()
}

pub(crate) fn inclusion(hashes: &[Digest]) -> InclusionProof {
    InclusionProof::new(hashes.iter().map(hash).collect())
}

pub(crate) fn consistency(hashes: &[Digest]) -> ConsistencyProof {
    ConsistencyProof::new(hashes.iter().map(hash).collect())
}

pub(crate) fn hash(digest: &Digest) -> Hash {
    Hash::from_bytes(digest.0)
}
