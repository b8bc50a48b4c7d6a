//! What an agent is asked and what it answers.

use serde::{Deserialize, Serialize};

/// Results of `GET /version` at an agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AgentVersions {
    /// The newest version served, kept for older peers.
    pub supported_version: String,
    /// All versions served.
    #[serde(default)]
    pub supported_versions: Vec<String>,
}

/// Results of `GET /v2.x/agent/info`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AgentInfo {
    /// The agent's id.
    pub agent_uuid: String,
    /// Hash algorithm of quotes.
    pub tpm_hash_alg: String,
    /// Algorithm of the EK.
    pub tpm_enc_alg: String,
    /// Signature scheme of the AK.
    pub tpm_sign_alg: String,
    /// Handle of the AK within the agent, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ak_handle: Option<u32>,
}

/// Results of `GET /v2.x/keys/pubkey`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PayloadPublicKey {
    /// PEM (SubjectPublicKeyInfo) of the agent's payload key NK.
    pub pubkey: String,
}

/// `POST /v2.x/keys/ukey`: the tenant's key half and the encrypted payload.
#[derive(Clone, Deserialize, Serialize)]
pub struct UKey {
    /// Base64 of U under RSAES-OAEP (SHA-1) to NK.
    pub encrypted_key: String,
    /// Hex HMAC-SHA384(K, agent id): 96 digits.
    pub auth_tag: String,
    /// Base64 of `IV(16) ‖ AES-256-GCM ciphertext ‖ tag(16)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// `POST /v2.x/keys/vkey`: the verifier's key half.
#[derive(Clone, Deserialize, Serialize)]
pub struct VKey {
    /// Base64 of V under RSAES-OAEP (SHA-1) to NK.
    pub encrypted_key: String,
}

/// Results of `GET /v2.x/keys/verify?challenge=…`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyVerification {
    /// Hex HMAC-SHA384(K, challenge).
    pub hmac: String,
}

/// Results of `GET /v2.x/quotes/identity?nonce=…`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IdentityQuote {
    /// The quote string (see `evidence`), PCR 16 only.
    pub quote: String,
    /// PCR bank and digest algorithm, e.g. `sha256`.
    pub hash_alg: String,
    /// EK algorithm, e.g. `rsa2048`.
    pub enc_alg: String,
    /// AK scheme, e.g. `rsassa`.
    pub sign_alg: String,
    /// PEM of NK; PCR 16 holds its hash.
    pub pubkey: String,
}

/// Results of `GET /v2.x/quotes/integrity?nonce=…&mask=…&partial=…[&ima_ml_entry=…]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IntegrityQuote {
    /// The quote string over the mask and PCR 16.
    pub quote: String,
    /// PCR bank and digest algorithm.
    pub hash_alg: String,
    /// EK algorithm.
    pub enc_alg: String,
    /// AK scheme.
    pub sign_alg: String,
    /// PEM of NK, only with `partial=0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubkey: Option<String>,
    /// Text of the IMA list from the entry below on; absent without a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ima_measurement_list: Option<String>,
    /// Entry number the text starts at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ima_measurement_list_entry: Option<u64>,
    /// Base64 of the whole firmware event log, when PCR 0 is in the mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mb_measurement_list: Option<String>,
}

/// The envelope in which a revocation travels to agents and webhooks.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RevocationNotice {
    /// A [`RevocationMessage`] as JSON text: the bytes that are signed.
    pub msg: String,
    /// Base64 RSASSA-PSS (SHA-256, maximum salt) over `msg`, or empty without a revocation key.
    pub signature: String,
}

/// What a revocation says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RevocationMessage {
    /// `revocation`, or `comm_error` when a good agent became unreachable.
    #[serde(rename = "type")]
    pub kind: String,
    /// Contact address of the agent.
    pub ip: Option<String>,
    /// The agent.
    pub agent_id: String,
    /// Contact port of the agent.
    pub port: Option<u16>,
    /// The TPM policy, JSON text.
    pub tpm_policy: String,
    /// The tenant's metadata, JSON text.
    pub meta_data: String,
    /// When, in C `asctime` form.
    pub event_time: String,
    /// First finding of the highest severity: `component.event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Its severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_label: Option<String>,
    /// Its context, JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}
