//! The real verifier with the real ledger on loopback ports, against attesters with software TPMs.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod appraisal;
mod attester;
mod chain;
mod evidence;
mod history;
mod maintenance;
mod measured;
mod notices;
mod operators;
mod outage;
mod process;
mod release;
mod stand;
