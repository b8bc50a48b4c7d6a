//! What the ledger may hold and in which order: entries, their bodies, chains, nonces and the sequencer's rules.
//!
//! No files, clocks or sockets: `ledger-server` keeps the bytes, `ledger-tlog` hashes them.

mod answers;
pub mod body;
mod chain;
mod checkpoint_guard;
mod entry;
mod nonce;
mod references;
mod sequencer;

pub use answers::{Answered, Answers, REMEMBERED_GROUPS_MAX, REMEMBERED_REQUESTS_MAX};
pub use chain::{
    AUTHORISED_KEYS_MAX, AgentChain, AuthorisedKey, LatestVerdict, LogState, LogTotals, RuleBroken, Standing,
};
pub use checkpoint_guard::{CheckpointGuard, CheckpointRefused};
pub use entry::{Entry, EntryError, EntryRef, Kind, VERSION};
pub use nonce::{Beacon, NonceInputs, QuoteNonce};
pub use sequencer::{Outcome, RequestRefused, Sequenced, SequencedGroup, Sequencer};
