//! `attestry-audit`: exports and proves what a log says about machines, checks it offline, replays and watches whole logs.
//!
//! Not in it: a TPM stack, a runtime or a server; it knows the log by bytes and a key, as a stranger would.

pub mod bundle;
mod cause;
pub mod cli;
mod clock;
mod entropy;
pub mod export;
pub mod extract;
mod hashes;
mod history;
mod instant;
pub mod interval;
pub mod ledger;
pub mod log;
pub mod monitor;
pub mod prove;
mod rebuild;
pub mod receipt;
pub mod replay;
pub mod report;
pub mod roots;
pub mod statement;
pub mod text;
pub mod verify;

pub use hashes::HashesLost;
pub use rebuild::{NotKept, NotRebuilt};
