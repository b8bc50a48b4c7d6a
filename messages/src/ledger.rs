//! The ledger's own API: batches in, receipts out. CBOR, deterministic, see [`crate::cbor`].
//!
//! | method, path | who | body → answer |
//! | --- | --- | --- |
//! | `POST /ledger/v1/append` | service | [`AppendRequest`] → [`AppendAnswer`] |
//! | `PUT /ledger/v1/blobs/{sha256}` | service | bytes → 204 |
//! | `GET /ledger/v1/blobs/{sha256}` | reader | bytes |
//! | `GET /ledger/v1/heads/{agent}` | reader | [`Head`] (`~fleet` for the fleet's chain) |
//! | `GET /ledger/v1/agents/{agent}/entries?from_seq=&limit=` | reader | [`EntryPage`] |
//! | `GET /ledger/v1/agents/{agent}/seq-at?ms=` | reader | `[seq]`: first entry recorded at or after that time |
//! | `GET /ledger/v1/entries/{index}` | reader | the entry's bytes |
//! | `GET /ledger/v1/proof/inclusion?index=&tree_size=` | reader | [`Proof`] |
//! | `GET /ledger/v1/proof/consistency?old=&new=` | reader | [`Proof`] |
//! | `GET /ledger/v1/checkpoints?from=&to=` | reader | `[* size]`: sizes of kept checkpoints, at most [`CHECKPOINTS_MAX`] |
//! | `GET /ledger/v1/checkpoints/{size}` | reader | that checkpoint's note |
//! | `GET /ledger/v1/receipts/{index}` | reader | COSE receipt of inclusion under the latest checkpoint |
//! | `GET /ledger/v1/consistency-receipts/{old}` | reader | COSE receipt that the latest checkpoint extends one of that size |
//! | `GET /ledger/v1/timestamps/{size}` | reader | `[* name]`: files of the stamps on that checkpoint |
//! | `GET /ledger/v1/timestamps/{size}/{name}` | reader | that file |
//! | `GET /ledger/v1/info` | reader | JSON [`Info`] |
//! | `GET /checkpoint`, `GET /tile/…` | as configured | C2SP tlog-tiles |

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use crate::cbor::{CborError, Reader};
use crate::{AgentId, Digest, UnixMillis};

/// Entries in one append at most: the largest batch the write path is tuned for (ledger.md §3.3).
pub const APPEND_ENTRIES_MAX: usize = 4_096;

/// Bytes of an append's body at most: 4,096 entries of 2 KiB on average and their frame.
pub const APPEND_BYTES_MAX: usize = 8 << 20;

/// Bytes of one entry at most: tlog-tiles gives an entry a 16-bit length.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Bytes of a blob at most: a boot log is under 1 MiB, a Keylime runtime policy seldom over 20 MiB.
pub const BLOB_BYTES_MAX: usize = 32 << 20;

/// Entries in one [`EntryPage`] at most.
pub const PAGE_ENTRIES_MAX: u64 = 4_096;

/// Bytes of the entries in one [`EntryPage`] after which it ends, unless it would be empty: a
/// page travels in one answer and both ends hold it whole.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// Checkpoint sizes in one listing at most.
pub const CHECKPOINTS_MAX: usize = 4_096;

/// The path segment that names the fleet's chain; no agent id can start with `~`.
pub const FLEET_PATH: &str = "~fleet";

/// Groups of entries to append, each all or nothing.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct AppendRequest {
    /// 1.
    pub version: u64,
    /// Chosen once per batch; a repeated key gets the first answer again.
    pub idempotency_key: IdempotencyKey,
    /// The groups, appended in this order.
    pub groups: Vec<Group>,
}

impl AppendRequest {
    /// Reads a request, accepting exactly what [`decode`](crate::cbor::decode) accepts, in one pass.
    ///
    /// # Errors
    /// The first place where the bytes are no request.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        reader.array_of(3)?;
        let version = reader.unsigned()?;
        let idempotency_key = IdempotencyKey(reader.bytes_of()?);
        let count = reader.array()?;
        let groups = (0..count).map(|_| Group::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { version, idempotency_key, groups })
    }
}

impl Group {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_of(3)?;
        let agent = reader.optional(|reader| {
            let id = reader.text()?;
            id.parse().map_err(|_| CborError::Form { offset: 0, found: "text that is no agent id" })
        })?;
        let expected = reader.optional(|reader| {
            reader.array_of(2)?;
            Ok(Head { seq: reader.unsigned()?, prev: Digest(reader.bytes_of()?) })
        })?;
        let count = reader.array()?;
        let items = (0..count).map(|_| Item::read(reader)).collect::<Result<_, _>>()?;
        Ok(Self { agent, expected, items })
    }
}

impl Item {
    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_of(3)?;
        let kind = reader.unsigned()?;
        let body = ByteBuf::from(reader.bytes()?);
        let after = reader.optional(|reader| reader.bytes().map(ByteBuf::from))?;
        Ok(Self { kind, body, after })
    }
}

/// Sixteen random bytes that name a batch.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IdempotencyKey(pub [u8; 16]);

impl Serialize for IdempotencyKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = ByteBuf::deserialize(deserializer)?;
        let error = |_| serde::de::Error::invalid_length(bytes.len(), &"16 bytes");
        <[u8; 16]>::try_from(bytes.as_slice()).map(Self).map_err(error)
    }
}

/// Entries of one chain that are appended contiguously or not at all.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Group {
    /// The agent; `None` is the fleet's chain.
    pub agent: Option<AgentId>,
    /// Where the submitter believes the chain ends. `None` is allowed for the fleet's chain
    /// only, which has many writers: append wherever it ends.
    pub expected: Option<Head>,
    /// At least one entry.
    pub items: Vec<Item>,
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Head {
    /// The number the next entry will take; 0 for an empty chain.
    pub seq: u64,
    /// Leaf hash of the chain's last entry; zero for an empty chain.
    pub prev: Digest,
}

/// One entry to append: its kind and its body's CBOR.
///
/// When `after` is present, the body is `body ‖ 58 20 ‖ leaf hash of the group's previous
/// item ‖ after`: so a verdict can name, in the same group, the quote whose leaf hash only
/// the sequencer knows.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Item {
    /// Kind of entry.
    pub kind: u64,
    /// The body, or its part before the link.
    pub body: ByteBuf,
    /// The body's part after the link.
    pub after: Option<ByteBuf>,
}

/// Results of an append, one per group in the request's order. Sent when all that was
/// appended is durable.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct AppendAnswer {
    /// 1.
    pub version: u64,
    /// One per group.
    pub results: Vec<GroupResult>,
}

/// What became of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupResult {
    /// Appended and durable: `[0, [receipt…]]`.
    Appended(Vec<Receipt>),
    /// The chain ends elsewhere: `[1, seq, prev]`.
    Conflict(Head),
    /// The group breaks a rule of the log: `[2, text]`.
    Refused(String),
}

/// Where an entry went.
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Receipt {
    /// Index in the log.
    pub index: u64,
    /// Number in its chain.
    pub seq: u64,
    /// Sequencer's clock.
    pub recorded: UnixMillis,
    /// RFC 6962 leaf hash.
    pub leaf_hash: Digest,
}

impl Serialize for GroupResult {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Appended(receipts) => (0u8, receipts).serialize(serializer),
            Self::Conflict(head) => (1u8, head.seq, head.prev).serialize(serializer),
            Self::Refused(reason) => (2u8, reason).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GroupResult {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(GroupResultVisitor)
    }
}

struct GroupResultVisitor;

impl<'de> serde::de::Visitor<'de> for GroupResultVisitor {
    type Value = GroupResult;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[0, receipts], [1, seq, prev] or [2, text]")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<GroupResult, A::Error> {
        use serde::de::Error;
        let short = || A::Error::invalid_length(0, &"a group result");
        match seq.next_element::<u8>()?.ok_or_else(short)? {
            0 => Ok(GroupResult::Appended(seq.next_element()?.ok_or_else(short)?)),
            1 => Ok(GroupResult::Conflict(Head {
                seq: seq.next_element()?.ok_or_else(short)?,
                prev: seq.next_element()?.ok_or_else(short)?,
            })),
            2 => Ok(GroupResult::Refused(seq.next_element()?.ok_or_else(short)?)),
            other => Err(A::Error::invalid_value(serde::de::Unexpected::Unsigned(other.into()), &"0, 1 or 2")),
        }
    }
}

/// A run of one chain's entries.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct EntryPage {
    /// The chain's end when the page was made.
    pub head: Head,
    /// `[index, entry]`, in the chain's order.
    pub entries: Vec<(u64, ByteBuf)>,
}

/// A Merkle proof: its hashes, lowest first.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Proof {
    /// At most 64 hashes.
    pub hashes: Vec<Digest>,
}

/// What a ledger says of itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Info {
    /// The checkpoint origin and key name.
    pub origin: String,
    /// Verifier key of the log. Trust it only from elsewhere.
    pub vkey: String,
    /// Entries that are durable.
    pub durable_size: u64,
    /// Entries under the latest checkpoint.
    pub checkpoint_size: u64,
    /// The slot the next new agent must be enrolled into.
    pub next_slot: u64,
    /// The oldest index whose entry is still kept.
    pub minimum_index: u64,
    /// The key that signs the log's COSE receipts, SubjectPublicKeyInfo in PEM. Trust it only
    /// from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<String>,
}

#[cfg(test)]
mod tests;
