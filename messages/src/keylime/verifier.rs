//! Agents at the verifier.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AttestationStatus, OperationalState};
use crate::{AgentId, Digest, FindingText, UnixMillis};

/// Results of `GET /version` at the verifier and the registrar.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Versions {
    /// The version that is preferred.
    pub current_version: String,
    /// All versions accepted.
    pub supported_versions: Vec<String>,
}

/// `POST /v2.x/agents/{id}` at the verifier.
#[derive(Clone, Deserialize, Serialize)]
pub struct AddAgent {
    /// Base64 of the 32-byte share V, or null when nothing is provisioned.
    #[serde(default)]
    pub v: Option<String>,
    /// Where the verifier polls.
    pub cloudagent_ip: Option<String>,
    /// Port there. Stock tenants send a number or its text.
    #[serde(default, deserialize_with = "port_or_text")]
    pub cloudagent_port: Option<u16>,
    /// Stored and echoed.
    #[serde(default)]
    pub verifier_ip: Option<String>,
    /// Stored and echoed; arrives as text.
    #[serde(default, deserialize_with = "port_or_text")]
    pub verifier_port: Option<u16>,
    /// JSON text `{"<pcr>": ["hex", …], "mask": "0x…"}`.
    pub tpm_policy: String,
    /// Base64 of the runtime policy's JSON; empty for none.
    #[serde(default)]
    pub runtime_policy: Option<String>,
    /// Name of a stored runtime policy; empty for none.
    #[serde(default)]
    pub runtime_policy_name: Option<String>,
    /// Base64 of the key that signed the runtime policy; empty for none.
    #[serde(default)]
    pub runtime_policy_key: Option<String>,
    /// JSON text of the measured-boot reference state, or null.
    #[serde(default)]
    pub mb_policy: Option<String>,
    /// Name of a stored measured-boot policy; empty for none.
    #[serde(default)]
    pub mb_policy_name: Option<String>,
    /// JSON text of a keyring for IMA signatures; empty for none.
    #[serde(default)]
    pub ima_sign_verification_keys: Option<String>,
    /// JSON text the tenant keeps with the agent.
    #[serde(default)]
    pub metadata: Option<String>,
    /// PEM RSA private key that signs revocations, or empty. Secret.
    #[serde(default)]
    pub revocation_key: Option<String>,
    /// Hash algorithms the tenant accepts.
    pub accept_tpm_hash_algs: Vec<String>,
    /// EK algorithms the tenant accepts.
    pub accept_tpm_encryption_algs: Vec<String>,
    /// AK schemes the tenant accepts.
    pub accept_tpm_signing_algs: Vec<String>,
    /// TPM2B_PUBLIC of the AK as the tenant got it from the registrar, base64.
    pub ak_tpm: String,
    /// The agent's TLS certificate, PEM, or `disabled`.
    #[serde(default)]
    pub mtls_cert: Option<String>,
    /// API version the tenant negotiated with the agent.
    #[serde(default)]
    pub supported_version: Option<String>,
    /// What stock tenants do not send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestry: Option<AddAgentExtension>,
}

/// Additions to [`AddAgent`]; every member may be left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddAgentExtension {
    /// Labels recorded with the agent, e.g. `role` → `hypervisor`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The name of K: SHA-256 over a random id chosen with the key, never over the key.
    #[serde(default)]
    pub key_id: Option<Digest>,
    /// The binding the tenant checked the agent's TPM against.
    #[serde(default)]
    pub binding: Option<Digest>,
    /// Time between quotes, milliseconds.
    #[serde(default)]
    pub interval_ms: Option<u64>,
    /// How much later than its interval a quote may be before it counts as missed, milliseconds.
    #[serde(default)]
    pub tolerance_ms: Option<u64>,
    /// Stored runtime policies the agent's own is put on top of, the lowest first.
    #[serde(default)]
    pub runtime_layers: Vec<RuntimeLayer>,
}

/// A layer of runtime policies: what any of them allows is allowed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeLayer {
    /// What findings call it: `base`, `site`.
    pub layer: String,
    /// The name of a stored runtime policy; when the name is given another policy, the agent follows.
    pub policy: String,
}

/// Results of `GET /v2.x/agents/{id}` at the verifier.
///
/// `v` is always null here: the share is a secret and is not given back.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AgentStatus {
    /// Where the agent is in its life.
    pub operational_state: OperationalState,
    /// Always null.
    pub v: Option<String>,
    /// Where the agent is polled.
    pub ip: Option<String>,
    /// Port there.
    pub port: Option<u16>,
    /// The TPM policy, JSON text.
    pub tpm_policy: String,
    /// The tenant's metadata, JSON text.
    pub meta_data: String,
    /// 1 if a measured-boot policy applies.
    pub has_mb_refstate: u8,
    /// 1 if a runtime policy applies.
    pub has_runtime_policy: u8,
    /// As given at the add.
    pub accept_tpm_hash_algs: Vec<String>,
    /// As given at the add.
    pub accept_tpm_encryption_algs: Vec<String>,
    /// As given at the add.
    pub accept_tpm_signing_algs: Vec<String>,
    /// Of the last quote; empty before the first.
    pub hash_alg: String,
    /// Of the last quote.
    pub enc_alg: String,
    /// Of the last quote.
    pub sign_alg: String,
    /// Which verifier has the agent.
    pub verifier_id: String,
    /// Echo of the add.
    pub verifier_ip: Option<String>,
    /// Echo of the add.
    pub verifier_port: Option<u16>,
    /// Index of the severity of the last failure.
    pub severity_level: Option<u8>,
    /// `component.event` of the last failure.
    pub last_event_id: Option<String>,
    /// What that failure says, in its parts. An addition to the Keylime answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_finding: Option<FindingText>,
    /// Passed attestations since the add.
    pub attestation_count: u64,
    /// Seconds since 1970 of the last quote received; 0 before the first.
    pub last_received_quote: u64,
    /// Seconds since 1970 of the last passed attestation; 0 before the first.
    pub last_successful_attestation: u64,
    /// A function of the last verdict and the age of its quote, computed when read.
    pub attestation_status: AttestationStatus,
    /// Interval as text, `2s`.
    pub attestation_period: String,
    /// Age from which a pass no longer counts, as text.
    pub maximum_attestation_interval: String,
    /// Why the agent is in this state, for a person. An addition to the Keylime answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Age of the last verified quote, milliseconds. An addition to the Keylime answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_age_ms: Option<u64>,
    /// What became of the key: `none`, `pending`, `released`, `withheld`, `revoked`. An addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_state: Option<String>,
    /// Labels given at the add. An addition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The binding quotes are judged under. An addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Digest>,
    /// Announced maintenance that is not over, in the order it was announced. An addition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<MaintenanceWindow>,
}

/// `POST /v2.x/agents/{id}/maintenance` at the verifier: an absence that is announced. An addition to Keylime's routes.
///
/// It stands on record before it is answered. Histories count it for a gap that begins after it only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// When it is to begin, milliseconds since 1970.
    pub from: UnixMillis,
    /// When it is to be over, milliseconds since 1970; later than `from`.
    pub to: UnixMillis,
    /// Why, for a person.
    pub reason: String,
}

/// Results of `GET /v2.x/agents/` at the verifier: a list of one-element lists.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct VerifierAgents {
    /// One list of one id per agent.
    pub uuids: Vec<[AgentId; 1]>,
}

fn port_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Number(u16),
        Text(String),
    }
    match Option::<Port>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Port::Number(port)) => Ok(Some(port)),
        Some(Port::Text(text)) if text.is_empty() => Ok(None),
        Some(Port::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
