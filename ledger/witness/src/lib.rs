//! A C2SP witness that anyone can run: cosigns a log's checkpoints, each an extension of the last one, by its own clock.
//!
//! Not in here: what the log's entries say, or any part of the log itself; a witness looks at tree heads only.
//!
//! Source: C2SP [tlog-witness](https://c2sp.org/tlog-witness), as `docs/spec/witness.md` lists it.

mod api;
mod clock;
pub mod decision;
pub mod identity;
pub mod logs;
pub mod request;
pub mod service;
mod store;
mod witness;

pub use store::StoreError;
pub use witness::{AddFailed, Witness};
