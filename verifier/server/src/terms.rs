//! What an operator asks of an agent: the add's body, checked.

use std::{collections::BTreeMap, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::public::{Ak, AkRejected, MalformedPublic, Public};
use ledger_protocol::body::{AgentPolicy, Label, NamedDigest};
use messages::{
    Digest,
    keylime::{AddAgent, VERSION_CURRENT, VERSIONS_SUPPORTED},
};
use openssl::pkey::{Id, PKey};
use serde::{Deserialize, Serialize};
use transport::tls::CertificatePin;
use verifier_protocol::{
    policy::{AlgorithmsAccepted, NothingAccepted, TpmPolicy, TpmPolicyError},
    session::Settings,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    config::Polling,
    policies::{Chosen, DocumentError, Kept, Role, Wish},
};

/// What is asked of an agent and where it is found. Holds no secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Terms {
    pub(crate) accept_encryption: Vec<String>,
    pub(crate) accept_hash: Vec<String>,
    pub(crate) accept_signing: Vec<String>,
    /// TPM2B_PUBLIC, base64.
    pub(crate) ak_tpm: String,
    pub(crate) api_version: String,
    pub(crate) host: String,
    pub(crate) interval_ms: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: String,
    /// PEM; `None` for an agent that is asked without TLS.
    pub(crate) mtls_cert: Option<String>,
    pub(crate) port: u16,
    pub(crate) tolerance_ms: u64,
    pub(crate) tpm_policy: String,
    pub(crate) verifier_ip: Option<String>,
    pub(crate) verifier_port: Option<u16>,
    /// What the agent is bound to; see [`Bound`].
    pub(crate) bound: Bound,
    /// What may boot; nothing is asked if none.
    #[serde(default)]
    pub(crate) measured_boot: Option<Chosen>,
    /// What may run; nothing is asked if none.
    #[serde(default)]
    pub(crate) runtime: Option<Chosen>,
}

/// What the add leaves to be found out, or lets the verifier choose.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Bound {
    /// The EK–AK–id record; in an application the one the tenant wants, if it says so.
    pub(crate) binding: Option<Digest>,
    /// The name of K; in an application the one the tenant gave it, if it did.
    pub(crate) key_id: Option<Digest>,
}

/// An add or update as it was asked for, before the ledger is consulted.
pub(crate) struct Application {
    pub(crate) terms: Terms,
    pub(crate) share_v: Option<Zeroizing<Vec<u8>>>,
    pub(crate) revocation_key: Option<Zeroizing<Vec<u8>>>,
    pub(crate) wishes: Wishes,
}

/// The policies that an application asks for; its terms have them once they are chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) measured_boot: Wish,
    pub(crate) runtime: Wish,
}

/// What rounds need of the terms, parsed once.
pub(crate) struct Reference {
    pub(crate) accepted: AlgorithmsAccepted,
    pub(crate) ak: Ak,
    pub(crate) pin: Option<CertificatePin>,
    pub(crate) policy: TpmPolicy,
}

/// Why an add or update is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TermsError {
    #[error("{0}")]
    Accepted(#[source] NothingAccepted),
    #[error("cloudagent_ip {0:?} is neither a host name nor an address")]
    Address(String),
    #[error("ak_tpm is not base64")]
    AkBase64,
    #[error("ak_tpm is no TPM2B_PUBLIC")]
    AkMalformed(#[source] MalformedPublic),
    #[error("ak_tpm is no attestation key")]
    AkRejected(#[source] AkRejected),
    #[error("{member} is {found}; expected at most {max}")]
    Bound { member: &'static str, found: u64, max: u64 },
    #[error("the body is not the JSON of an agent: {0}")]
    Json(String),
    #[error("metadata is not JSON")]
    Metadata,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("mTLS certificate for agent is required!")]
    MtlsDisabled,
    #[error("mtls_cert is no PEM certificate")]
    MtlsMalformed,
    #[error("revocation_key is no PEM RSA private key of {REVOCATION_KEY_BITS_MIN} bits or more")]
    RevocationKey,
    #[error("v is not base64 of 16 or 32 bytes")]
    ShareV,
    #[error("the policy asked for cannot be taken")]
    Policy(#[from] DocumentError),
    #[error("{0}")]
    TpmPolicy(#[source] TpmPolicyError),
}

impl Application {
    /// Checks a body. What can be decided without the ledger is decided here.
    pub(crate) fn parse(body: &[u8], polling: &Polling, plain_allowed: bool) -> Result<Self, TermsError> {
        let mut add: AddAgent = serde_json::from_slice(body).map_err(|error| TermsError::Json(harmless(&error)))?;
        let result = Self::checked(&add, polling, plain_allowed);
        add.v.zeroize();
        add.revocation_key.zeroize();
        result
    }

    fn checked(add: &AddAgent, polling: &Polling, plain_allowed: bool) -> Result<Self, TermsError> {
        let extension = add.attestry.clone().unwrap_or_default();
        let default_interval = millis(polling.interval);
        let interval_ms = limited("interval_ms", extension.interval_ms.unwrap_or(default_interval), INTERVAL_MS_MAX)?;
        let tolerance = polling.tolerance.map_or(interval_ms.saturating_mul(4), millis);
        let tolerance_ms = limited("tolerance_ms", extension.tolerance_ms.unwrap_or(tolerance), TOLERANCE_MS_MAX)?;
        let labels = extension.labels;
        limited("labels", labels.len() as u64, LABELS_MAX)?;
        let longest = labels.iter().map(|(name, value)| name.len().max(value.len())).max().unwrap_or(0);
        limited("a label's length", longest as u64, LABEL_BYTES_MAX)?;
        let metadata = add.metadata.clone().unwrap_or_else(|| "{}".to_owned());
        limited("metadata's length", metadata.len() as u64, METADATA_BYTES_MAX)?;
        if serde_json::from_str::<serde::de::IgnoredAny>(&metadata).is_err() {
            return Err(TermsError::Metadata);
        }
        for list in [&add.accept_tpm_hash_algs, &add.accept_tpm_encryption_algs, &add.accept_tpm_signing_algs] {
            limited("a list of algorithms", list.len() as u64, ALGORITHMS_MAX)?;
            let longest = list.iter().map(String::len).max().unwrap_or(0);
            limited("an algorithm name's length", longest as u64, ALGORITHM_BYTES_MAX)?;
        }
        let terms = Terms {
            accept_encryption: add.accept_tpm_encryption_algs.clone(),
            accept_hash: add.accept_tpm_hash_algs.clone(),
            accept_signing: add.accept_tpm_signing_algs.clone(),
            ak_tpm: add.ak_tpm.clone(),
            api_version: supported_version(add.supported_version.as_deref()).to_owned(),
            host: checked_host(add.cloudagent_ip.as_deref().ok_or(TermsError::Missing("cloudagent_ip"))?)?,
            interval_ms,
            labels,
            metadata,
            mtls_cert: certificate(add.mtls_cert.as_deref(), plain_allowed)?,
            port: add.cloudagent_port.ok_or(TermsError::Missing("cloudagent_port"))?,
            tolerance_ms,
            tpm_policy: add.tpm_policy.clone(),
            verifier_ip: add.verifier_ip.clone(),
            verifier_port: add.verifier_port,
            bound: Bound { binding: extension.binding, key_id: extension.key_id },
            measured_boot: None,
            runtime: None,
        };
        let wishes = Wishes {
            measured_boot: Wish::measured_boot(add.mb_policy_name.as_deref(), add.mb_policy.as_deref())?,
            runtime: Wish::runtime(
                add.runtime_policy_name.as_deref(),
                add.runtime_policy.as_deref(),
                add.runtime_policy_key.as_deref(),
            )?
            .layered(extension.runtime_layers, add.ima_sign_verification_keys.as_deref())?,
        };
        // Everything that rounds will need is parsed now, so that none of it fails later.
        terms.reference()?;
        Ok(Self {
            terms,
            share_v: share_v(add.v.as_deref())?,
            revocation_key: rsa_key(add.revocation_key.as_deref())?,
            wishes,
        })
    }
}

impl Terms {
    pub(crate) fn reference(&self) -> Result<Reference, TermsError> {
        let accepted = AlgorithmsAccepted::from_names(&self.accept_hash, &self.accept_encryption, &self.accept_signing)
            .map_err(TermsError::Accepted)?;
        let public = Public::from_tpm2b(&self.ak_tpm2b()?).map_err(TermsError::AkMalformed)?;
        let pin = self.mtls_cert.as_deref().map(|pem| CertificatePin::of_pem(pem.as_bytes())).transpose();
        Ok(Reference {
            ak: Ak::new(public).map_err(TermsError::AkRejected)?,
            pin: pin.map_err(|_| TermsError::MtlsMalformed)?,
            policy: TpmPolicy::parse(&self.tpm_policy, accepted.hash()).map_err(TermsError::TpmPolicy)?,
            accepted,
        })
    }

    /// The AK's TPM2B_PUBLIC.
    pub(crate) fn ak_tpm2b(&self) -> Result<Vec<u8>, TermsError> {
        STANDARD.decode(&self.ak_tpm).map_err(|_| TermsError::AkBase64)
    }

    /// How the agent is asked.
    pub(crate) fn settings(&self, polling: &Polling) -> Settings {
        Settings {
            interval_ms: self.interval_ms,
            tolerance_ms: self.tolerance_ms,
            retry_base_ms: millis(polling.retry_base),
            retries_max: polling.retries_max,
            ledger_retry_ms: millis(polling.ledger_retry),
        }
    }

    /// `https://host:port/v2.x`, or `http://` for an agent without TLS.
    pub(crate) fn base_url(&self, api_version: &str) -> String {
        let scheme = if self.mtls_cert.is_some() { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{scheme}://{host}:{}/v{api_version}", self.port)
    }

    /// One role's policy.
    pub(crate) const fn chosen(&self, role: Role) -> Option<&Chosen> {
        match role {
            Role::MeasuredBoot => self.measured_boot.as_ref(),
            Role::Runtime => self.runtime.as_ref(),
        }
    }

    /// All that evidence is judged by, as entries name it: blobs by their roles.
    pub(crate) fn policies(&self) -> Vec<NamedDigest> {
        let named = |role: String, digest| NamedDigest { role, digest };
        let tpm = Digest(openssl::sha::sha256(self.tpm_policy.as_bytes()));
        let mut policies = vec![named("tpm".to_owned(), tpm)];
        for role in [Role::Runtime, Role::MeasuredBoot] {
            let Some(Chosen { kept, layers, keys, .. }) = self.chosen(role) else { continue };
            policies.push(named(role.name().to_owned(), kept.content));
            policies.extend(signatures(role.name(), "", kept));
            for layer in layers {
                policies.push(named(format!("{}-layer/{}", role.name(), layer.layer), layer.kept.content));
                policies.extend(signatures(role.name(), &format!("/{}", layer.layer), &layer.kept));
            }
            policies.extend(keys.map(|keys| named(format!("{}-signers", role.name()), keys)));
        }
        policies
    }

    /// The body of the policy entry.
    pub(crate) fn policy_entry(&self, binding: Digest) -> AgentPolicy {
        let label = |(name, value): (&String, &String)| Label { name: name.clone(), value: value.clone() };
        AgentPolicy {
            interval_ms: self.interval_ms,
            tolerance_ms: self.tolerance_ms,
            hash_algs: self.accept_hash.clone(),
            enc_algs: self.accept_encryption.clone(),
            sign_algs: self.accept_signing.clone(),
            labels: self.labels.iter().map(label).collect(),
            policies: self.policies(),
            binding,
        }
    }
}

/// The envelope a policy came in and the key it was checked with, as entries name them.
fn signatures(role: &str, layer: &str, kept: &Kept) -> Vec<NamedDigest> {
    let Some(signed) = kept.signed else { return Vec::new() };
    vec![
        NamedDigest { role: format!("{role}-envelope{layer}"), digest: signed.envelope },
        NamedDigest { role: format!("{role}-key{layer}"), digest: signed.key },
    ]
}

fn checked_host(text: &str) -> Result<String, TermsError> {
    let name = |text: &str| {
        let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
        letters && (1..=HOST_BYTES_MAX).contains(&text.len()) && !text.starts_with(['-', '.'])
    };
    if text.parse::<IpAddr>().is_ok() || name(text) {
        return Ok(text.to_owned());
    }
    Err(TermsError::Address(text.chars().take(64).collect()))
}

fn certificate(text: Option<&str>, plain_allowed: bool) -> Result<Option<String>, TermsError> {
    match text.map(str::trim) {
        None | Some("" | "disabled") if plain_allowed => Ok(None),
        None | Some("" | "disabled") => Err(TermsError::MtlsDisabled),
        Some(pem) => {
            limited("mtls_cert's length", pem.len() as u64, CERTIFICATE_BYTES_MAX)?;
            CertificatePin::of_pem(pem.as_bytes()).map_err(|_| TermsError::MtlsMalformed)?;
            Ok(Some(pem.to_owned()))
        }
    }
}

/// A version that is not known is replaced by the current one, as Keylime does.
fn supported_version(wanted: Option<&str>) -> &'static str {
    let known = |version: &&&str| Some(**version) == wanted;
    VERSIONS_SUPPORTED.iter().find(known).copied().unwrap_or(VERSION_CURRENT)
}

fn share_v(text: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, TermsError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let share = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| TermsError::ShareV)?;
    if matches!(share.len(), 16 | 32) { Ok(Some(share)) } else { Err(TermsError::ShareV) }
}

fn rsa_key(pem: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, TermsError> {
    let Some(pem) = pem.filter(|pem| !pem.trim().is_empty()) else {
        return Ok(None);
    };
    // The callback answers "no password"; without it openssl would ask at the terminal.
    let key = PKey::private_key_from_pem_callback(pem.as_bytes(), |_| Ok(0));
    match key {
        Ok(key) if key.id() == Id::RSA && key.bits() >= REVOCATION_KEY_BITS_MIN => {
            Ok(Some(Zeroizing::new(pem.as_bytes().to_vec())))
        }
        Ok(_) | Err(_) => Err(TermsError::RevocationKey),
    }
}

fn limited(member: &'static str, found: u64, max: u64) -> Result<u64, TermsError> {
    if found <= max { Ok(found) } else { Err(TermsError::Bound { member, found, max }) }
}

/// A JSON error without the value it stumbled over, which may be a secret.
fn harmless(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!("line {} column {}", error.line(), error.column());
    match text.starts_with("missing field") || text.starts_with("unknown field") {
        true => text,
        false => format!("malformed at {place}"),
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A day: whoever asks more seldom does not watch.
const INTERVAL_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Thirty days, so that no agent looks fresh for ever.
const TOLERANCE_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// With [`LABEL_BYTES_MAX`] below 17 KiB, a quarter of what an entry may have.
const LABELS_MAX: u64 = 32;
/// A DNS name's length.
const LABEL_BYTES_MAX: u64 = 255;
/// A tenant puts a certificate's serial number and subject there.
const METADATA_BYTES_MAX: u64 = 64 << 10;
/// Twice the number of algorithms Keylime has names for.
const ALGORITHMS_MAX: u64 = 32;
/// The longest name, `ecschnorr`, has nine.
const ALGORITHM_BYTES_MAX: u64 = 32;
/// An RSA-4096 certificate with a long list of names has 4 KiB.
const CERTIFICATE_BYTES_MAX: u64 = 16 << 10;
/// Every tenant's size; a key too small for the signature would leave all channels untold when it counts.
const REVOCATION_KEY_BITS_MIN: u32 = 2_048;
/// RFC 1035 §2.3.4.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests;
