//! The ledger's service: keeps the bytes of the log, signs its checkpoints, answers over mutual TLS.
//!
//! Not in here: what an entry may say and what may follow it (`ledger-protocol`), and how a
//! stranger verifies the log (`ledger-tlog`).

mod blobs;
mod checkpoints;
mod clock;
mod engine;
mod entropy;
mod folder;
mod identity;
mod levels;
mod ownership;
mod segment;
mod store;

pub use checkpoints::NoteFlaw;
pub use engine::{AppendFailed, CHECKPOINT_INTERVAL, Ledger, LogConfig, OpenError, SEGMENT_BYTES_MAX};
pub use identity::IdentityError;
pub use ownership::OwnershipError;
pub use segment::BatchFlaw;
pub use store::IndexError;
