//! The log itself, its services and operators, and the binding record.

use messages::{AgentId, Digest, UnixMillis};
use serde_bytes::ByteBuf;
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::Body;
use crate::Kind;

/// The log's first entry: what it is and whose key signs it.
///
/// ```cddl
/// genesis-body = [ format: 1, origin: tstr, vkey: tstr, created: uint ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Genesis {
    /// 1.
    pub format: u64,
    /// The checkpoint origin.
    pub origin: String,
    /// The log's verifier key.
    pub vkey: String,
    /// When the log was created.
    pub created: UnixMillis,
}

impl Body for Genesis {
    const KIND: Kind = Kind::Genesis;
}

/// A checkpoint of this log.
///
/// ```cddl
/// checkpoint-body = [ tree_size: uint, note: digest ]
/// ```
#[derive(Clone, Copy, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct CheckpointBody {
    /// Entries under it.
    pub tree_size: u64,
    /// Blob of the note, signatures included.
    pub note: Digest,
}

impl Body for CheckpointBody {
    const KIND: Kind = Kind::Checkpoint;
}

/// An RFC 3161 token over a checkpoint: the log existed up to there when the authority says so.
///
/// ```cddl
/// timestamp-body = [ tree_size: uint, note: digest, token: digest, tsa: tstr, gen_time: uint ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct TimestampBody {
    /// Entries under the checkpoint.
    pub tree_size: u64,
    /// Blob of the note that was stamped, signatures included.
    pub note: Digest,
    /// Blob of the token, DER of a CMS ContentInfo.
    pub token: Digest,
    /// The operator's name for the authority; a claim, the token says who signed.
    pub tsa: String,
    /// The token's time, cut to milliseconds.
    pub gen_time: UnixMillis,
}

impl Body for TimestampBody {
    const KIND: Kind = Kind::Timestamp;
}

/// What all machines' histories come to, under the checkpoint entry before it.
///
/// ```cddl
/// census-body = [ prefix_size: uint, F: bstr .size 68, root: bstr .size 32, epoch: uint ]
/// ```
///
/// Everything in it can be recomputed from the entries. Source: `docs/spec/history.md` section 4.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct CensusBody {
    /// Entries covered: those under the last checkpoint entry.
    pub prefix_size: u64,
    /// The sums over all slots, 68 bytes.
    pub sums: ByteBuf,
    /// The census root.
    pub root: Digest,
    /// Number of the census, from 0.
    pub epoch: u64,
}

/// Bytes of [`CensusBody::sums`].
pub const CENSUS_SUMS_BYTES: usize = 68;

impl Body for CensusBody {
    const KIND: Kind = Kind::Census;
}

/// Something an operator did through an administrative route.
///
/// ```cddl
/// operator-action-body = [ action: tstr, actor: tstr, target: tstr / null, detail: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct OperatorAction {
    /// `agent-add`, `agent-delete`, `agent-stop`, `agent-reactivate`, …
    pub action: String,
    /// Common name of the client certificate.
    pub actor: String,
    /// What it was done to.
    pub target: Option<String>,
    /// More, for a person; never a secret.
    pub detail: String,
}

impl Body for OperatorAction {
    const KIND: Kind = Kind::OperatorAction;
}

/// A failure is made known.
///
/// ```cddl
/// revocation-body = [ phase: 0 raised / 1 delivered / 2 given-up, verdict: bstr .size 32, channel: tstr, event: tstr, text: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Revocation {
    /// Which step.
    pub phase: RevocationPhase,
    /// Leaf hash of the verdict that raised it.
    pub verdict: Digest,
    /// `webhook`, `agent:<id>`; empty for `raised`.
    pub channel: String,
    /// `component.event` of the finding that raised it.
    pub event: String,
    /// More, for a person.
    pub text: String,
}

/// A step of a revocation's way.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum RevocationPhase {
    /// Recorded before anyone is told.
    Raised = 0,
    /// The channel acknowledged it.
    Delivered = 1,
    /// The channel did not take it in the time allowed.
    GivenUp = 2,
}

impl Body for Revocation {
    const KIND: Kind = Kind::Revocation;
}

/// A service of the operator started.
///
/// ```cddl
/// service-start-body = [ service: tstr, build: tstr, instance: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct ServiceStart {
    /// `ledger`, `registrar`, `verifier`.
    pub service: String,
    /// Name and version.
    pub build: String,
    /// Which one of several.
    pub instance: String,
}

impl Body for ServiceStart {
    const KIND: Kind = Kind::ServiceStart;
}

/// The immutable EK–AK–id record: the blob that an `enrol` entry names. Not an entry body.
///
/// ```cddl
/// binding = [ version: 1, agent: tstr, ek: bstr, ak: bstr, ek_certificate: bstr / null, chain: [* bstr] ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Binding {
    /// 1.
    pub version: u64,
    /// The attester.
    pub agent: AgentId,
    /// TPM2B_PUBLIC of the EK.
    pub ek: ByteBuf,
    /// TPM2B_PUBLIC of the AK.
    pub ak: ByteBuf,
    /// The EK certificate as the TPM holds it.
    pub ek_certificate: Option<ByteBuf>,
    /// Issuer certificates that came from the TPM with it, DER.
    pub chain: Vec<ByteBuf>,
}

impl Binding {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        messages::cbor::encode(self)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If the bytes are not this record, deterministically encoded.
    pub fn decode(bytes: &[u8]) -> Result<Self, messages::cbor::CborError> {
        messages::cbor::decode(bytes)
    }

    /// The record's name.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(openssl::sha::sha256(&self.encode()))
    }
}
