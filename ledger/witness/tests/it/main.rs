//! The witness as its callers meet it: over sockets, killed, raced, lied to.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod process;
mod protocol;
mod rig;
mod vectors;
