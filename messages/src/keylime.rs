//! Bodies of the Keylime REST API, version 2.x.
//!
//! Member names and encodings are the wire's. Unknown members are ignored, as every
//! Keylime peer does; members are checked for meaning by whoever receives them.
//! Base64 is the standard alphabet with padding.

mod agent;
mod policies;
mod registrar;
mod state;
mod verifier;

pub use agent::{
    AgentInfo, AgentVersions, IdentityQuote, IntegrityQuote, KeyVerification, PayloadPublicKey, RevocationMessage,
    RevocationNotice, UKey, VKey,
};
pub use policies::{
    MeasuredBootPolicyNames, MeasuredBootPolicyShown, MeasuredBootPolicyUpload, RuntimePolicyNames, RuntimePolicyShown,
    RuntimePolicyUpload,
};
pub use registrar::{Activate, Challenge, Register, RegisteredAgent, RegistrarAgents};
pub use state::{AttestationStatus, OperationalState};
pub use verifier::{
    AddAgent, AddAgentExtension, AgentStatus, MaintenanceWindow, RuntimeLayer, VerifierAgents, Versions,
};

/// API versions of the v2 family that servers here accept, oldest first.
pub const VERSIONS_SUPPORTED: [&str; 7] = ["2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6"];

/// The newest of [`VERSIONS_SUPPORTED`].
pub const VERSION_CURRENT: &str = "2.6";
