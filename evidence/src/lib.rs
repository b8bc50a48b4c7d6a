//! TPM 2.0 evidence: keys, quotes, PCR values and EK certificates, parsed from bytes and then authenticated.
//!
//! Beside them what was measured, boot event logs, and policies' match engines over it. Not in it: which policy applies
//! to whom, who may claim an identity, transport, storage, a clock or a random source. Time and randomness come in as values; nothing here reads a file or opens a socket.
//!
//! The way through the crate follows *parse, then verify, then use*: [`public::Public::from_tpm2b`] gives a key's form,
//! [`public::Ak::new`] decides that it is an attestation key, [`quote::Quote::parse`] gives a quote's form and
//! [`quote::Quote::verify`] is the only maker of a [`quote::AuthenticQuote`].

pub mod algorithm;
pub mod attest;
pub mod boot_log;
pub mod credential;
pub mod crypto;
pub mod der;
pub mod ek_certificate;
pub mod ima;
pub mod json;
pub mod keylime;
pub mod measured_boot;
pub mod name;
pub mod pcr;
pub mod public;
pub mod quote;
pub mod reader;
pub mod runtime_policy;
pub mod signature;
#[cfg(test)]
mod testing;
