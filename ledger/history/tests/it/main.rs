//! Proofs over whole synthetic logs: made, verified, altered and refused.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod days;
mod support;
