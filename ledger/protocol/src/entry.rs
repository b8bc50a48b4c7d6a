//! One entry: seven CBOR items, hashed as they stand.

use ledger_tlog::hash::leaf_hash;
use messages::{
    AgentId, Digest, UnixMillis,
    cbor::{self, CborError},
    ledger::ENTRY_BYTES_MAX,
};

/// The entry format's version, its first item.
pub const VERSION: u64 = 1;

/// An entry of the log.
///
/// ```cddl
/// entry = [ version: 1, kind: uint, agent: tstr / null, seq: uint,
///           prev: bstr .size 32, recorded: uint, body: any ]
/// ```
///
/// Encoded as deterministic CBOR ([`messages::cbor`]), at most 65,535 bytes. The leaf hash
/// is RFC 6962's over exactly these bytes. Source: `docs/spec/entry.md`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What the body is.
    pub kind: Kind,
    /// Whose chain the entry continues; `None` is the fleet's own.
    pub agent: Option<AgentId>,
    /// Number in that chain, from 0.
    pub seq: u64,
    /// Leaf hash of the chain's previous entry; zero at `seq` 0.
    pub prev: Digest,
    /// The sequencer's clock; never decreasing along the log.
    pub recorded: UnixMillis,
    /// The body's CBOR, one item.
    pub body: Vec<u8>,
}

/// What an entry's body is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// The log's first entry.
    Genesis,
    /// An attester's AK became active.
    Enrol,
    /// Evidence that arrived.
    Quote,
    /// Its appraisal.
    Verdict,
    /// A key share's way.
    KeyRelease,
    /// A checkpoint of this log, made part of it.
    Checkpoint,
    /// An RFC 3161 token over a checkpoint.
    Timestamp,
    /// A census root.
    Census,
    /// A policy, or what applies to one agent.
    Policy,
    /// Evidence that was due and did not come.
    Miss,
    /// An agent left the fleet.
    Retire,
    /// Something an operator did.
    OperatorAction,
    /// A failure was made known.
    Revocation,
    /// Announced absence.
    Maintenance,
    /// A service of the operator started.
    ServiceStart,
    /// A kind this version does not know; kept, hashed and proven like any other.
    Unknown(u64),
}

impl Kind {
    /// The kind's number on the wire.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Genesis => 0,
            Self::Enrol => 1,
            Self::Quote => 2,
            Self::Verdict => 3,
            Self::KeyRelease => 4,
            Self::Checkpoint => 5,
            Self::Timestamp => 6,
            Self::Census => 7,
            Self::Policy => 8,
            Self::Miss => 9,
            Self::Retire => 10,
            Self::OperatorAction => 11,
            Self::Revocation => 12,
            Self::Maintenance => 13,
            Self::ServiceStart => 14,
            Self::Unknown(number) => number,
        }
    }

    /// The kind's name in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::Enrol => "enrol",
            Self::Quote => "quote",
            Self::Verdict => "verdict",
            Self::KeyRelease => "key-release",
            Self::Checkpoint => "checkpoint",
            Self::Timestamp => "timestamp",
            Self::Census => "census",
            Self::Policy => "policy",
            Self::Miss => "miss",
            Self::Retire => "retire",
            Self::OperatorAction => "operator-action",
            Self::Revocation => "revocation",
            Self::Maintenance => "maintenance",
            Self::ServiceStart => "service-start",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl From<u64> for Kind {
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Genesis,
            1 => Self::Enrol,
            2 => Self::Quote,
            3 => Self::Verdict,
            4 => Self::KeyRelease,
            5 => Self::Checkpoint,
            6 => Self::Timestamp,
            7 => Self::Census,
            8 => Self::Policy,
            9 => Self::Miss,
            10 => Self::Retire,
            11 => Self::OperatorAction,
            12 => Self::Revocation,
            13 => Self::Maintenance,
            14 => Self::ServiceStart,
            _ => Self::Unknown(number),
        }
    }
}

/// Why bytes are not an entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The agent item is no agent id.
    #[error("entry's agent is not an agent id")]
    Agent(#[source] messages::AgentIdError),
    /// The bytes are not the entry array in deterministic CBOR.
    #[error("entry is not a deterministic CBOR array of seven items")]
    Cbor(#[source] CborError),
    /// One item has another type than the specification gives it.
    #[error("entry's item {item} is malformed; expected {expected}")]
    Item {
        /// Name of the item.
        item: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// More bytes than tlog-tiles can frame.
    #[error("entry has {found} bytes; expected at most {ENTRY_BYTES_MAX}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Another format version.
    #[error("entry has version {found}; expected {VERSION}")]
    Version {
        /// Version found.
        found: u64,
    },
}

impl Entry {
    /// Encodes the entry.
    ///
    /// # Errors
    /// [`EntryError::Length`] past 65,535 bytes; [`EntryError::Cbor`] if `body` is not one
    /// deterministic item.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        cbor::check(&self.body).map_err(EntryError::Cbor)?;
        let mut out = Vec::with_capacity(160 + self.body.len());
        cbor::push_head(&mut out, cbor::ARRAY, 7);
        cbor::push_head(&mut out, cbor::UNSIGNED, VERSION);
        cbor::push_head(&mut out, cbor::UNSIGNED, self.kind.number());
        match &self.agent {
            None => out.push(cbor::NULL),
            Some(agent) => {
                cbor::push_head(&mut out, cbor::TEXT, agent.as_str().len() as u64);
                out.extend_from_slice(agent.as_str().as_bytes());
            }
        }
        cbor::push_head(&mut out, cbor::UNSIGNED, self.seq);
        cbor::push_head(&mut out, cbor::BYTES, 32);
        out.extend_from_slice(self.prev.as_bytes());
        cbor::push_head(&mut out, cbor::UNSIGNED, self.recorded.0);
        out.extend_from_slice(&self.body);
        if out.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Length { found: out.len() });
        }
        Ok(out)
    }

    /// Decodes exactly one entry.
    ///
    /// # Errors
    /// The first thing that is not as [`Entry`] says. An unknown kind is no error.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Length { found: bytes.len() });
        }
        let items = cbor::array_items::<7>(bytes).map_err(EntryError::Cbor)?;
        let [version, kind, agent, seq, prev, recorded, body] = items.map(|range| bytes.get(range).unwrap_or_default());
        let version = integer(version, "version")?;
        if version != VERSION {
            return Err(EntryError::Version { found: version });
        }
        let agent: Option<String> = item(agent, "agent", "text or null")?;
        Ok(Self {
            kind: Kind::from(integer(kind, "kind")?),
            agent: agent.map(|id| id.parse()).transpose().map_err(EntryError::Agent)?,
            seq: integer(seq, "seq")?,
            prev: item(prev, "prev", "32 bytes")?,
            recorded: UnixMillis(integer(recorded, "recorded")?),
            body: body.to_vec(),
        })
    }

    /// RFC 6962 leaf hash of an encoded entry.
    #[must_use]
    pub fn leaf_hash(encoded: &[u8]) -> Digest {
        Digest(*leaf_hash(encoded).as_bytes())
    }
}

fn integer(bytes: &[u8], name: &'static str) -> Result<u64, EntryError> {
    item(bytes, name, "an unsigned integer")
}

fn item<T>(bytes: &[u8], item: &'static str, expected: &'static str) -> Result<T, EntryError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    cbor::decode(bytes).map_err(|_| EntryError::Item { item, expected })
}

#[cfg(test)]
mod tests;
