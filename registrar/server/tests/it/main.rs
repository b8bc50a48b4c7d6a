//! The real registrar on loopback ports, with TPMs in software for agents, beside a real ledger.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod access;
mod attester;
mod enrolment;
mod ledger;
mod outage;
mod process;
mod refusal;
mod stand;
