//! The bodies of the entries this version writes, each an array in deterministic CBOR.
//!
//! The CDDL stands in `docs/spec/entry.md`; the order of the fields here is the order on
//! the wire. `digest` names a blob of the content-addressed store by SHA-256.

mod chain;
mod evidence;
pub(crate) mod glance;
mod reading;
mod service;

use messages::cbor::{self, CborError};
use serde::{Serialize, de::DeserializeOwned};

pub use chain::{
    AgentPolicy, Enrol, Label, Maintenance, Miss, MissReason, NamedDigest, NamedPolicy, PolicyBody, Retire,
};
pub use evidence::{
    BankValues, Finding, ImaDelta, ImaState, KeyRelease, QuoteBody, ReleasePhase, Verdict, VerdictResult,
};
pub use service::{
    Binding, CENSUS_SUMS_BYTES, CensusBody, CheckpointBody, Genesis, OperatorAction, Revocation, RevocationPhase,
    ServiceStart, TimestampBody,
};

use crate::Kind;

/// A body that an entry can carry.
pub trait Body: Serialize + DeserializeOwned {
    /// The kind its entries have.
    const KIND: Kind;

    /// The body's CBOR.
    fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a body of this kind.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are not this body, deterministically encoded.
    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        cbor::decode(bytes)
    }
}

#[cfg(test)]
mod tests;
