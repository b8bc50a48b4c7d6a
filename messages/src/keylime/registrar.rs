//! Registration and activation.

use serde::{Deserialize, Serialize};

use crate::AgentId;

/// `POST /v2.x/agents/{id}` at the registrar.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Register {
    /// TPM2B_PUBLIC of the EK, base64. Absent or empty when only an IAK/IDevID identifies the TPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_tpm: Option<String>,
    /// TPM2B_PUBLIC of the AK, base64.
    pub aik_tpm: String,
    /// EK certificate: PEM, perhaps followed by its CA chain, or base64 of DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ekcert: Option<String>,
    /// TPM2B_PUBLIC of the IAK, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_tpm: Option<String>,
    /// TPM2B_PUBLIC of the IDevID key, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idevid_tpm: Option<String>,
    /// IAK certificate, base64 of DER, or PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_cert: Option<String>,
    /// IDevID certificate, base64 of DER, or PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idevid_cert: Option<String>,
    /// TPMS_ATTEST (certify) of the AK by the IAK, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_attest: Option<String>,
    /// TPMT_SIGNATURE over `iak_attest`, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iak_sign: Option<String>,
    /// Where the verifier and tenant reach the agent: host name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port of that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The agent's self-signed TLS certificate, PEM, or the word `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls_cert: Option<String>,
}

/// Results of a registration: the credential to activate.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Challenge {
    /// Base64 of `BADCC0DE ‖ 00000001 ‖ TPM2B_ID_OBJECT ‖ TPM2B_ENCRYPTED_SECRET`.
    pub blob: String,
}

/// `PUT /v2.x/agents/{id}` or `…/activate` at the registrar.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Activate {
    /// Hex HMAC-SHA384 of the agent id, keyed by the base64 text of the recovered credential.
    pub auth_tag: String,
}

/// Results of `GET /v2.x/agents/` at the registrar: a flat list of ids.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RegistrarAgents {
    /// Ids of all active agents.
    pub uuids: Vec<AgentId>,
}

/// Results of `GET /v2.x/agents/{id}` at the registrar.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RegisteredAgent {
    /// The id again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// TPM2B_PUBLIC of the EK, base64.
    pub ek_tpm: String,
    /// EK certificate, base64 of DER; null without one.
    #[serde(default)]
    pub ekcert: Option<String>,
    /// TPM2B_PUBLIC of the AK, base64.
    pub aik_tpm: String,
    /// Contact address.
    pub ip: Option<String>,
    /// Contact port.
    pub port: Option<u16>,
    /// The agent's TLS certificate, PEM, or `disabled`.
    #[serde(default)]
    pub mtls_cert: Option<String>,
    /// How often an identity field changed its value, from 1.
    pub regcount: u64,
    /// SHA-256 of the immutable EK–AK–id record, hex. An addition to the Keylime answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<crate::Digest>,
}
