//! Keylime's numbers for an agent's state.

use serde::{Deserialize, Serialize};
use serde_repr::{Deserialize_repr, Serialize_repr};

/// `operational_state` at the verifier.
#[derive(Clone, Copy, Debug, Deserialize_repr, Eq, Hash, PartialEq, Serialize_repr)]
#[repr(u8)]
pub enum OperationalState {
    /// Known to the registrar only.
    Registered = 0,
    /// Added; the first quote is due.
    Start = 1,
    /// Stored, not polled.
    Saved = 2,
    /// Polled at its interval.
    GetQuote = 3,
    /// A quote is being asked for again.
    GetQuoteRetry = 4,
    /// V is being delivered.
    ProvideV = 5,
    /// V is being delivered again.
    ProvideVRetry = 6,
    /// Given up: unreachable or an error of the verifier.
    Failed = 7,
    /// Being deleted.
    Terminated = 8,
    /// Failed appraisal.
    InvalidQuote = 9,
    /// Stopped by the tenant.
    TenantFailed = 10,
}

/// `attestation_status` at the verifier.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AttestationStatus {
    /// Failed appraisal, stopped, or given up.
    Fail,
    /// The last verified quote passed and is recent enough.
    Pass,
    /// Not judged yet.
    Pending,
    /// The last verified quote is older than the policy allows.
    Timeout,
}
