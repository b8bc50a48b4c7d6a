//! The agent against a software TPM, a fresh one for each test, and a registrar that does its part for real.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod api;
mod keys;
mod payload;
mod registration;
mod rig;
