//! Who an attester is: what a registration claims, whether its EK vouches for its AK, and who may hold an id.
//!
//! No stores, sockets, clocks or random source: `registrar-server` makes the credential, keeps the records and writes
//! the ledger; this crate says what may be made, kept and written.
//!
//! The way through it: [`Claim::parse`] gives a registration's form, [`Claim::verify`] is the only maker of an
//! [`Identity`], [`Holder::admits`] decides whether that identity may have the id it asks for, [`CredentialSecret`] and
//! [`AuthTag`] are the proof that EK and AK sit in one TPM, and [`EnrolmentStep`] is what the ledger must hold before
//! the AK counts.

mod claim;
mod contact;
mod credential;
mod enrolment;
mod identity;

pub use claim::{Claim, ClaimField, MalformedClaim};
pub use contact::{Contact, ContactRejected, TlsCertificate};
pub use credential::{AuthTag, CREDENTIAL_CHARS, CredentialSecret, auth_tag};
pub use enrolment::{ChainStanding, EnrolmentStep, Slot, SlotChoice};
pub use identity::{
    EkCertificatePolicy, EkCertificateStanding, Holder, Identity, IdentityPart, IdentityRejected, IdentityTaken,
};
