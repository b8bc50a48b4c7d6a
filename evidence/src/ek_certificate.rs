//! EK certificates: a manufacturer's word that an EK lives in one of its TPMs, read from what vendors really ship.

use std::ops::Deref;

use openssl::pkey::PKeyRef;
use openssl::pkey::Public as PublicHalf;

use crate::public::Ek;

pub use certificate::{Certificate, Irregularity, MalformedCertificate};
pub use chain::{ChainLink, ChainReport, EkCertificateRejected, MalformedTrustFile, TrustStore};

mod certificate;
mod chain;
mod key;
mod pem;
#[cfg(test)]
mod tests;
mod time;

/// A certificate that is presented for an EK; well-formed, not yet traced to a root.
#[derive(Clone, Debug)]
pub struct EkCertificate(Certificate);

impl EkCertificate {
    /// Reads one certificate: DER or PEM, as read from a TPM's NV memory or as sent by an agent.
    ///
    /// Tolerated, and named in [`Certificate::irregularities`]: the 7-byte TCG header of an NV index in front, padding
    /// with 0x00 or 0xff behind. Of several certificates in PEM the first is taken, see
    /// [`parse_with_chain`](Self::parse_with_chain).
    ///
    /// # Errors
    /// [`MalformedCertificate`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedCertificate> {
        Certificate::parse_first(bytes).map(Self)
    }

    /// Reads PEM with the certificate first and its issuers behind, as agents send the chain of the TPM's NV memory;
    /// at most 16 issuers are allowed.
    ///
    /// # Errors
    /// [`MalformedCertificate`] for the first certificate that is broken, or if there are too many.
    pub fn parse_with_chain(bytes: &[u8]) -> Result<(Self, Vec<Certificate>), MalformedCertificate> {
        let mut certificates = Certificate::parse_all(bytes, 1 + CHAIN_CERTIFICATES_MAX)?;
        let first = certificates.remove(0);
        Ok((Self(first), certificates))
    }

    /// Checks that this certificate is for `ek`: same key, number for number.
    ///
    /// # Errors
    /// [`EkKeyMismatch`] if not.
    pub fn check_key(&self, ek: &Ek) -> Result<(), EkKeyMismatch> {
        if self.0.public_key().public_eq(ek.key()) {
            Ok(())
        } else {
            Err(EkKeyMismatch { subject: self.0.subject().to_owned(), serial: self.0.serial().to_owned() })
        }
    }

    /// The certified key.
    #[must_use]
    pub fn public_key(&self) -> &PKeyRef<PublicHalf> {
        self.0.public_key()
    }
}

impl Deref for EkCertificate {
    type Target = Certificate;

    fn deref(&self) -> &Certificate {
        &self.0
    }
}

/// The certificate is for another key than the EK beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the EK certificate (subject {subject:?}, serial {serial}) certifies another key than the EK presented")]
pub struct EkKeyMismatch {
    /// The certificate's subject; often empty.
    pub subject: String,
    /// The certificate's serial number in hexadecimal.
    pub serial: String,
}

/// Vendors' chains in NV memory have at most 5 certificates (Intel ODCA); three times that, and a round number.
pub(crate) const CHAIN_CERTIFICATES_MAX: usize = 16;
