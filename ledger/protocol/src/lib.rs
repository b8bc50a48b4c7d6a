//! What the ledger may hold and in which order: entries, their bodies, chains, nonces and the sequencer's rules.
//!
//! No files, clocks or sockets: `ledger-server` keeps the bytes, `ledger-tlog` hashes them.

pub mod body;
mod entry;
mod nonce;

pub use entry::{Entry, EntryError, Kind, VERSION};
pub use nonce::{Beacon, NonceInputs, QuoteNonce};
