//! What the roles say to each other: Keylime API v2 bodies, the ledger API, and the encodings both rest on.
//!
//! Types and codecs only: nothing here decides, stores, sends or reads a clock.

mod agent_id;
pub mod cbor;
mod digest;
pub mod envelope;
mod finding;
pub mod keylime;
pub mod ledger;
mod time;

pub use agent_id::{AGENT_ID_BYTES_MAX, AgentId, AgentIdError, AgentIdRef};
pub use digest::{Digest, DigestError};
pub use finding::{FINDING_TEXT_BYTES_MAX, FindingText};
pub use time::UnixMillis;
