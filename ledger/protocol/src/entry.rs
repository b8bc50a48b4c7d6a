//! One entry: seven CBOR items, hashed as they stand.

use ledger_tlog::hash::leaf_hash;
use messages::{
    AgentId, AgentIdRef, Digest, UnixMillis,
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

    /// Whether no entry of the kind is accepted before its rule has read the whole body, as strictly
    /// as [`cbor::check`]: the kinds that come by the million, whose bodies are read once.
    pub(crate) const fn is_read_by_rules(self) -> bool {
        matches!(self, Self::Quote | Self::Verdict | Self::Miss | Self::OperatorAction)
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

/// An [`Entry`] whose parts are somebody else's: for those who read millions and keep none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EntryRef<'a> {
    /// As [`Entry::kind`].
    pub kind: Kind,
    /// As [`Entry::agent`].
    pub agent: Option<AgentIdRef<'a>>,
    /// As [`Entry::seq`].
    pub seq: u64,
    /// As [`Entry::prev`].
    pub prev: Digest,
    /// As [`Entry::recorded`].
    pub recorded: UnixMillis,
    /// As [`Entry::body`].
    pub body: &'a [u8],
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> Self {
        let Entry { kind, agent, seq, prev, recorded, body } = entry;
        Self {
            kind: *kind,
            agent: agent.as_ref().map(AgentIdRef::from),
            seq: *seq,
            prev: *prev,
            recorded: *recorded,
            body,
        }
    }
}

impl<'a> EntryRef<'a> {
    /// Decodes exactly one entry, where it lies.
    ///
    /// # Errors
    /// The first thing that is not as [`Entry`] says. An unknown kind is no error.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (entry, reader) = Self::head(bytes)?;
        reader.last_item(1).map_err(EntryError::Cbor)?;
        Ok(entry)
    }

    /// As [`Self::decode`], but takes whatever follows the other items for the body: for those who read entries again that
    /// were checked when they came into the log.
    ///
    /// # Errors
    /// The first thing before the body that is not as [`Entry`] says.
    pub fn decode_head(bytes: &'a [u8]) -> Result<Self, EntryError> {
        Self::head(bytes).map(|(entry, _)| entry)
    }

    /// The entry with all that follows the other items for its body, and the reader that stands there.
    fn head(bytes: &'a [u8]) -> Result<(Self, cbor::Reader<'a>), EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Length { found: bytes.len() });
        }
        let mut reader = cbor::Reader::new(bytes);
        reader.array_of(7).map_err(EntryError::Cbor)?;
        let version = reader.unsigned().map_err(malformed("version", "an unsigned integer"))?;
        if version != VERSION {
            return Err(EntryError::Version { found: version });
        }
        let kind = Kind::from(reader.unsigned().map_err(malformed("kind", "an unsigned integer"))?);
        let agent = reader.optional(cbor::Reader::text).map_err(malformed("agent", "text or null"))?;
        let agent = agent.map(AgentIdRef::parse).transpose().map_err(EntryError::Agent)?;
        let seq = reader.unsigned().map_err(malformed("seq", "an unsigned integer"))?;
        let prev = Digest(reader.bytes_of().map_err(malformed("prev", "32 bytes"))?);
        let recorded = UnixMillis(reader.unsigned().map_err(malformed("recorded", "an unsigned integer"))?);
        let body = reader.rest();
        Ok((Self { kind, agent, seq, prev, recorded, body }, reader))
    }

    /// Appends the entry's bytes to `out`, which is as it was if there is an error. The body is taken
    /// to be one deterministic item.
    pub(crate) fn push_to(&self, out: &mut Vec<u8>) -> Result<(), EntryError> {
        let start = out.len();
        cbor::push_head(out, cbor::ARRAY, 7);
        cbor::push_head(out, cbor::UNSIGNED, VERSION);
        cbor::push_head(out, cbor::UNSIGNED, self.kind.number());
        match self.agent {
            None => out.push(cbor::NULL),
            Some(agent) => {
                cbor::push_head(out, cbor::TEXT, agent.as_str().len() as u64);
                out.extend_from_slice(agent.as_str().as_bytes());
            }
        }
        cbor::push_head(out, cbor::UNSIGNED, self.seq);
        cbor::push_head(out, cbor::BYTES, 32);
        out.extend_from_slice(self.prev.as_bytes());
        cbor::push_head(out, cbor::UNSIGNED, self.recorded.0);
        out.extend_from_slice(self.body);
        let found = out.len() - start;
        if found > ENTRY_BYTES_MAX {
            out.truncate(start);
            return Err(EntryError::Length { found });
        }
        Ok(())
    }
}

impl Entry {
    /// Encodes the entry.
    ///
    /// # Errors
    /// [`EntryError::Length`] past 65,535 bytes; [`EntryError::Cbor`] if `body` is not one
    /// deterministic item.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let mut out = Vec::with_capacity(HEAD_BYTES_MAX + self.body.len());
        cbor::check(&self.body).map_err(EntryError::Cbor)?;
        EntryRef::from(self).push_to(&mut out)?;
        Ok(out)
    }

    /// Decodes exactly one entry.
    ///
    /// # Errors
    /// The first thing that is not as [`Entry`] says. An unknown kind is no error.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let EntryRef { kind, agent, seq, prev, recorded, body } = EntryRef::decode(bytes)?;
        Ok(Self { kind, agent: agent.map(AgentIdRef::to_id), seq, prev, recorded, body: body.to_vec() })
    }

    /// RFC 6962 leaf hash of an encoded entry.
    #[must_use]
    pub fn leaf_hash(encoded: &[u8]) -> Digest {
        Digest(*leaf_hash(encoded).as_bytes())
    }
}

fn malformed(item: &'static str, expected: &'static str) -> impl Fn(CborError) -> EntryError {
    move |_| EntryError::Item { item, expected }
}

/// Bytes before the body at most: array head, version, a kind of nine bytes, an agent of 80, a
/// number, a hash and a time, each with its head.
pub(crate) const HEAD_BYTES_MAX: usize = 1 + 1 + 9 + 2 + 80 + 9 + 2 + 32 + 9;

#[cfg(test)]
mod tests;
