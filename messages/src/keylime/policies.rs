//! Named policies at the verifier.

use serde::{Deserialize, Serialize};

/// `POST` and `PUT /v2.x/allowlists/{name}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RuntimePolicyUpload {
    /// Stock tenants send one; no verifier judges by it.
    #[serde(default)]
    pub tpm_policy: Option<String>,
    /// Base64 of the policy's JSON, or of the DSSE envelope it is signed in.
    pub runtime_policy: String,
    /// Base64 of the PEM of the key or certificate that signed it; empty for none.
    #[serde(default)]
    pub runtime_policy_key: Option<String>,
}

/// Results of `GET /v2.x/allowlists/{name}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RuntimePolicyShown {
    /// Its name.
    pub name: String,
    /// Always null; the member's name is Keylime's spelling.
    pub tmp_policy: Option<String>,
    /// The text as it was uploaded.
    pub runtime_policy: String,
}

/// Results of `GET /v2.x/allowlists/`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RuntimePolicyNames {
    /// Ascending.
    #[serde(rename = "runtimepolicy names")]
    pub names: Vec<String>,
}

/// `POST` and `PUT /v2.x/mbpolicies/{name}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MeasuredBootPolicyUpload {
    /// The policy's JSON text.
    pub mb_policy: String,
}

/// Results of `GET /v2.x/mbpolicies/{name}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MeasuredBootPolicyShown {
    /// Its name.
    pub name: String,
    /// The text as it was uploaded.
    pub mb_policy: String,
}

/// Results of `GET /v2.x/mbpolicies/`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct MeasuredBootPolicyNames {
    /// Ascending.
    #[serde(rename = "mbpolicy names")]
    pub names: Vec<String>,
}
