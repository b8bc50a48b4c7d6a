//! `attestry-audit`: exports one agent's entries with their proofs, and checks such a bundle offline.
//!
//! Not in it: a TPM stack, a runtime or a server; it knows the log by bytes and a key, as a stranger would.

pub mod bundle;
mod cause;
pub mod cli;
mod clock;
pub mod export;
pub mod extract;
mod history;
mod instant;
pub mod ledger;
pub mod receipt;
pub mod report;
pub mod roots;
pub mod statement;
pub mod text;
pub mod verify;
