//! What a verifier decides: whether evidence passes, what happens to an attester next, and how much of it to believe now.
//!
//! No sockets, clocks, randomness, stores or ledger: `verifier-server` carries out what is decided here.

pub mod appraisal;
pub mod policy;
pub mod session;
pub mod status;
