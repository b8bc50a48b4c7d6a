//! The Merkle log: math and formats, what anyone verifies with.
//!
//! Not in here: what an entry means, where hashes and entries are stored, when a log signs.
//!
//! Everything is a function of its arguments: no clock, no randomness, no input or output.
//! The formats are those of RFC 6962 / RFC 9162 and C2SP ([`tlog-tiles`], [`signed-note`],
//! [`tlog-checkpoint`], [`tlog-cosignature`], [`tlog-proof`], [`tlog-policy`]), without additions, and of COSE receipts
//! (RFC 9942).
//!
//! [`tlog-tiles`]: https://c2sp.org/tlog-tiles
//! [`signed-note`]: https://c2sp.org/signed-note
//! [`tlog-checkpoint`]: https://c2sp.org/tlog-checkpoint
//! [`tlog-cosignature`]: https://c2sp.org/tlog-cosignature
//! [`tlog-proof`]: https://c2sp.org/tlog-proof
//! [`tlog-policy`]: https://c2sp.org/tlog-policy

pub mod bundle;
pub mod checkpoint;
pub mod cose;
mod decimal;
pub mod frontier;
pub mod hash;
pub mod key;
mod ml_dsa;
pub mod note;
pub mod policy;
pub mod proof;
pub mod signer;
pub mod subtree;
pub mod tile;
pub mod tlog_proof;
pub mod tree;

#[cfg(test)]
mod naive;
