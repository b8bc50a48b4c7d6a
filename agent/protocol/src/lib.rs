//! What an attester decides: whose key shares make a key, which requests are well-formed, when to register again.
//!
//! Not in it: the TPM, sockets, files, a clock or a random source; the daemon brings those and carries out what is
//! decided here.

pub mod identifier;
pub mod measurement_list;
pub mod parameters;
pub mod payload;
pub mod provisioning;
pub mod registration;
pub mod tag;
