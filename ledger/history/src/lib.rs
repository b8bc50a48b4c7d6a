//! What follows from a log's entries: each agent's history with its sums, the census of all, and proofs of an interval.
//!
//! Not in here: which entries a log may hold (`ledger-protocol`), where leaves and nodes are kept, clocks, files, sockets.
//!
//! Formats and rules: `docs/spec/history.md`, `docs/spec/interval-proof.md`.

mod agent;
pub mod aggregate;
pub mod census;
pub mod clock_info;
mod due;
pub mod fleet;
pub mod history;
pub mod interval;
mod json;
pub mod node;
mod peaks;
pub mod reading;
mod times;

pub use agent::WINDOWS_MAX;
pub use times::CHECKPOINTS_REMEMBERED;
