//! Evidence, its appraisal, and the keys that depend on it.

use messages::Digest;
use messages::cbor::CborError;
use serde_bytes::ByteBuf;
use serde_repr::{Deserialize_repr, Serialize_repr};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

use super::{Body, reading};
use crate::{Beacon, Kind};

/// Evidence as it arrived, with all that recomputes its nonce.
///
/// ```cddl
/// quote-body = [ beacon: [tree_size: uint, note_digest: digest], salt: bstr .size 32, attest: bstr,
///                signature: bstr, pcrs: [* [alg: uint, [* [index: uint, digest: bstr]]]],
///                ima: [from: uint, count: uint, delta: digest / null], boot_log: digest / null ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct QuoteBody {
    /// The checkpoint the nonce rests on.
    pub beacon: Beacon,
    /// The verifier's randomness in the nonce.
    pub salt: Digest,
    /// TPMS_ATTEST as signed.
    pub attest: ByteBuf,
    /// TPMT_SIGNATURE over it.
    pub signature: ByteBuf,
    /// The PCR values supplied beside the quote, by bank.
    pub pcrs: Vec<BankValues>,
    /// The part of the IMA list that came along.
    pub ima: ImaDelta,
    /// The firmware event log that came along.
    pub boot_log: Option<Digest>,
}

/// Values of one PCR bank.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct BankValues {
    /// TPM_ALG_ID of the bank's hash.
    pub alg: u64,
    /// `[index, value]`, ascending.
    pub values: Vec<(u64, ByteBuf)>,
}

/// A run of IMA entries: `count` of them from number `from` on, kept as a blob.
#[derive(Clone, Copy, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct ImaDelta {
    /// Number of the first entry.
    pub from: u64,
    /// Entries in the blob.
    pub count: u64,
    /// The blob; `None` when nothing came.
    pub delta: Option<Digest>,
}

impl Body for QuoteBody {
    const KIND: Kind = Kind::Quote;

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        reading::quote(bytes)
    }
}

/// What a verifier made of a quote.
///
/// ```cddl
/// verdict-body = [ quote: bstr .size 32, result: 0 pass / 1 fail / 2 error,
///                  findings: [* [component: tstr, event: tstr, severity: uint, text: tstr]],
///                  policies: [* digest], binding: digest, appraiser: tstr, ima_state: [count: uint, running: bstr] ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Verdict {
    /// Leaf hash of the quote's entry.
    pub quote: Digest,
    /// The outcome.
    pub result: VerdictResult,
    /// Every reason, in the order found; empty for a pass unless it carries notices.
    pub findings: Vec<Finding>,
    /// Blobs of the policies that were applied.
    pub policies: Vec<Digest>,
    /// The EK–AK–id record the quote was checked under.
    pub binding: Digest,
    /// Name and version of the engine.
    pub appraiser: String,
    /// Where the IMA list stood afterwards.
    pub ima_state: ImaState,
}

/// The outcome of an appraisal.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, Hash, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum VerdictResult {
    /// Everything the policies ask for is there and right.
    Pass = 0,
    /// Something is wrong or missing.
    Fail = 1,
    /// The evidence could not be judged, e.g. because a policy is gone. Never a pass.
    Error = 2,
}

/// One reason.
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct Finding {
    /// Which check, in Keylime's words: `qoute_validation`, `pcr_validation`, …
    pub component: String,
    /// Which event of it: `invalid_pcr_15`.
    pub event: String,
    /// Index into the severity labels; 0 is a notice.
    pub severity: u8,
    /// What was found, where, and what was expected.
    pub text: String,
}

/// Where a measurement list stood after an appraisal.
#[derive(Clone, Debug, Default, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct ImaState {
    /// Entries replayed.
    pub count: u64,
    /// The register's value there; empty before the first.
    pub running: ByteBuf,
}

impl Body for Verdict {
    const KIND: Kind = Kind::Verdict;

    fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        reading::verdict(bytes)
    }
}

/// A step on a key share's way to a machine.
///
/// ```cddl
/// release-body = [ phase: 0 authorised / 1 delivered / 2 withheld / 3 revoked, verdict: bstr .size 32,
///                  key_id: bstr .size 32, recipient: digest, reason: tstr ]
/// ```
#[derive(Clone, Debug, Deserialize_tuple, Eq, PartialEq, Serialize_tuple)]
pub struct KeyRelease {
    /// Which step.
    pub phase: ReleasePhase,
    /// Leaf hash of the verdict that permits or forbids it.
    pub verdict: Digest,
    /// Names the key without revealing it.
    pub key_id: Digest,
    /// SHA-256 of the PEM of the public key the share is encrypted to; zero if none was shown.
    pub recipient: Digest,
    /// Why, for a person.
    pub reason: String,
}

/// A step of a key release.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, Hash, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum ReleasePhase {
    /// The verdict permits delivery; recorded before the share leaves.
    Authorised = 0,
    /// The agent took it.
    Delivered = 1,
    /// Not given, because of the verdict.
    Withheld = 2,
    /// Given before; the machine has failed since.
    Revoked = 3,
}

impl Body for KeyRelease {
    const KIND: Kind = Kind::KeyRelease;
}
