//! The records' JSON.

use ledger_protocol::body::Binding;
use messages::cbor::CborError;
use messages::{AgentId, Digest};
use registrar_protocol::{ChainStanding, Contact, ContactRejected, Slot};
use serde::{Deserialize, Serialize};

use super::{AgentRecord, ChainMark};

/// An active agent's row.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentRow {
    version: u64,
    /// The binding's CBOR in hexadecimal: its digest is the ledger's name for it, so the bytes are kept.
    binding: String,
    host: Option<String>,
    port: Option<u16>,
    certificate: Option<String>,
}

/// Why a row is no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowFlaw {
    /// The binding is not the canonical encoding of one.
    #[error("its binding is damaged: {0}")]
    Binding(CborError),
    /// The binding is not hexadecimal.
    #[error("its binding is not hexadecimal")]
    BindingHex,
    /// The contact data are not well-formed.
    #[error("its contact data are damaged: {0}")]
    Contact(ContactRejected),
    /// Not the JSON of a row.
    #[error("it is not the JSON of an agent: {0}")]
    Json(serde_json::Error),
    /// The row stands under another id than it names.
    #[error("it is about {0}")]
    Misplaced(AgentId),
    /// A row of another version.
    #[error("it has version {0}; expected {VERSION}")]
    Version(u64),
}

impl AgentRow {
    pub(super) fn encode(record: &AgentRecord) -> Result<Vec<u8>, serde_json::Error> {
        let contact = &record.contact;
        serde_json::to_vec(&Self {
            version: VERSION,
            binding: hex::encode(record.binding.encode()),
            host: contact.host.clone(),
            port: contact.port,
            certificate: contact.certificate.as_ref().map(|certificate| certificate.as_wire().to_owned()),
        })
    }

    pub(super) fn decode(key: &[u8], row: &[u8]) -> Result<AgentRecord, RowFlaw> {
        let row: Self = serde_json::from_slice(row).map_err(RowFlaw::Json)?;
        if row.version != VERSION {
            return Err(RowFlaw::Version(row.version));
        }
        let binding = hex::decode(&row.binding).map_err(|_| RowFlaw::BindingHex)?;
        let binding = Binding::decode(&binding).map_err(RowFlaw::Binding)?;
        if binding.agent.as_str().as_bytes() != key {
            return Err(RowFlaw::Misplaced(binding.agent));
        }
        let contact = Contact::parse(row.host.as_deref(), row.port, row.certificate.as_deref());
        Ok(AgentRecord { binding, contact: contact.map_err(RowFlaw::Contact)? })
    }
}

/// A chain mark's row.
#[derive(Deserialize, Serialize)]
pub(super) struct ChainRow {
    next_seq: u64,
    standing: StandingRow,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StandingRow {
    Absent,
    Enrolled { slot: u64, binding: Digest },
    Retired { slot: u64 },
}

impl ChainRow {
    pub(super) fn encode(mark: &ChainMark) -> Result<Vec<u8>, serde_json::Error> {
        let standing = match mark.standing {
            ChainStanding::Absent => StandingRow::Absent,
            ChainStanding::Enrolled { slot: Slot(slot), binding } => StandingRow::Enrolled { slot, binding },
            ChainStanding::Retired { slot: Slot(slot) } => StandingRow::Retired { slot },
        };
        serde_json::to_vec(&Self { next_seq: mark.next_seq, standing })
    }

    pub(super) fn decode(row: &[u8]) -> Option<ChainMark> {
        let row: Self = serde_json::from_slice(row).ok()?;
        let standing = match row.standing {
            StandingRow::Absent => ChainStanding::Absent,
            StandingRow::Enrolled { slot, binding } => ChainStanding::Enrolled { slot: Slot(slot), binding },
            StandingRow::Retired { slot } => ChainStanding::Retired { slot: Slot(slot) },
        };
        Some(ChainMark { next_seq: row.next_seq, standing })
    }
}

const VERSION: u64 = 1;
