//! What may boot, as a tenant gives it: a declarative policy or a reference state of Keylime's.

use evidence::{
    measured_boot::{KeylimePolicyName, MalformedPolicy, Policy, UnknownKeylimePolicy},
    pcr::{PcrBank, PcrSelection},
};
use messages::Digest;
use openssl::sha::sha256;
use serde::{Deserialize, de::IgnoredAny};

/// A measured-boot policy, compiled. Immutable; shared by all agents it is asked of.
#[derive(Clone, Debug)]
pub struct MeasuredBootPolicy {
    digest: Digest,
    mask: u32,
    policy: Policy,
}

/// Why a document is no measured-boot policy.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredBootPolicyError {
    /// Its form or a value in it.
    #[error("the measured-boot policy is malformed")]
    Malformed(#[source] MalformedPolicy),
    /// It asks for a policy of Keylime's that is none of those built in.
    #[error("keylime-policy is {found:?}")]
    Name {
        /// The name given, cut to 64 characters.
        found: String,
        /// Which there are.
        source: UnknownKeylimePolicy,
    },
}

impl MeasuredBootPolicy {
    /// Reads a document: a declarative policy if it has a member `version` or `accept`, else a
    /// reference state of Keylime's.
    ///
    /// A reference state is judged by Keylime's policy `example`, unless it names another of
    /// Keylime's in a member `keylime-policy`: `{"keylime-policy": "accept-all"}` is a whole
    /// document that says what it does.
    ///
    /// # Errors
    /// [`MeasuredBootPolicyError`] with the place.
    pub fn parse(document: &[u8]) -> Result<Self, MeasuredBootPolicyError> {
        // A document that is not even an object is told of by the reader it is handed to.
        let marks: Marks = serde_json::from_slice(document).unwrap_or_default();
        let policy = match marks {
            Marks { version: Some(_), .. } | Marks { accept: Some(_), .. } => Policy::from_json(document),
            Marks { keylime_policy: None, .. } => Policy::keylime(KeylimePolicyName::Example, document),
            Marks { keylime_policy: Some(found), .. } => {
                let name = found.parse().map_err(|source| {
                    let found = found.chars().take(64).collect();
                    MeasuredBootPolicyError::Name { found, source }
                })?;
                Policy::keylime(name, document)
            }
        };
        let policy = policy.map_err(MeasuredBootPolicyError::Malformed)?;
        let required = PcrSelection::from_indices(
            PcrBank(evidence::algorithm::HashAlgorithm::Sha256),
            policy.required_registers(),
        );
        let mask = if policy.accepts_every_event() { MASK_ACCEPT_ALL } else { required.mask() | MASK_LOG };
        Ok(Self { digest: Digest(sha256(document)), mask, policy })
    }

    /// SHA-256 of the document: the blob it is kept as.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The registers to ask for, bit 0 being PCR 0: those the policy relies on, and PCR 0, without
    /// which agents do not send their log.
    #[must_use]
    pub const fn mask(&self) -> u32 {
        self.mask
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// What tells the kinds of documents apart.
#[derive(Default, Deserialize)]
struct Marks {
    accept: Option<IgnoredAny>,
    #[serde(rename = "keylime-policy")]
    keylime_policy: Option<String>,
    version: Option<IgnoredAny>,
}

/// PCR 0.
const MASK_LOG: u32 = 1;
/// `accept-all` relies on no register and compares all that firmware and loaders extend: 0 to 9, 11 to 14.
const MASK_ACCEPT_ALL: u32 = 0x7bff;
