//! RFC 3161 time-stamps: what to ask an authority, and whether its token is to be believed.
//!
//! Not in here: sockets, clocks, random numbers, and where tokens are kept (`ledger-server`).
//!
//! A token is judged at its own time: a certificate that has expired since takes nothing from what
//! it signed while it was valid. The signer is the certificate that the *signed* attributes name
//! (ESSCertID, RFC 2634 and RFC 5035); the names and the order of the certificates that travel in
//! the token decide nothing.
//!
//! Sources: RFC 3161, RFC 5816, RFC 5652 (CMS), RFC 5035.

mod certificates;
mod der;
mod digest;
mod request;
mod response;
mod time;
mod token;
mod tst_info;
mod verify;

pub use self::certificates::{Authorities, MalformedAuthorities, crl_addresses};
pub use self::der::MalformedDer;
pub use self::digest::DigestAlgorithm;
pub use self::request::{MalformedRequest, Nonce, TimestampRequest};
pub use self::response::{MalformedResponse, TimestampRefused, TimestampResponse};
pub use self::time::GenTime;
pub use self::token::{MalformedToken, Token};
pub use self::tst_info::{Accuracy, TstInfo};
pub use self::verify::{Revocation, TokenRejected, VerifiedToken};
