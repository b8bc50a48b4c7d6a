//! Trust in exactly one certificate.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::x509::{X509, X509Ref, X509StoreContextRef, X509VerifyResult};

/// The SHA-256 of a certificate's DER: names that certificate and no other.
///
/// An agent's certificate is signed by its own key, so there is no authority to trust; whoever
/// knows an agent knows its pin. The certificate's dates still count, its names do not.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct CertificatePin([u8; 32]);

impl CertificatePin {
    /// The pin of `certificate`.
    ///
    /// # Errors
    /// What openssl says when it cannot encode the certificate.
    pub fn of(certificate: &X509Ref) -> Result<Self, ErrorStack> {
        Ok(Self(sha256(&certificate.to_der()?)))
    }

    /// The pin of the first certificate in `pem`, such as a registrar's `mtls_cert`.
    ///
    /// # Errors
    /// What openssl says of text that is no certificate.
    pub fn of_pem(pem: &[u8]) -> Result<Self, ErrorStack> {
        Self::of(X509::from_pem(pem)?.as_ref())
    }

    /// Whether `certificate` is the pinned one.
    pub(super) fn is(self, certificate: &X509Ref) -> bool {
        Self::of(certificate).is_ok_and(|found| found == self)
    }

    /// Decides one step of openssl's chain building. It is asked once per finding, so "accept"
    /// covers only that finding: the leaf must be the pinned one each time, and a finding about
    /// anything but trust, above all about dates, stands.
    pub(super) fn accepts(self, fine: bool, context: &mut X509StoreContextRef) -> bool {
        let leaf = context.chain().and_then(|chain| chain.iter().next());
        if !leaf.is_some_and(|leaf| self.is(leaf)) {
            context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
            return false;
        }
        fine || UNTRUSTED.contains(&context.error().as_raw())
    }
}

impl fmt::Debug for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificatePin(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The findings that only say "nobody we know vouches for this certificate", which is what the pin
/// does. Source: openssl's `x509_vfy.h`.
const UNTRUSTED: [i32; 6] = [
    18, // depth zero self-signed certificate
    19, // self-signed certificate in chain
    20, // unable to get local issuer certificate
    21, // unable to verify the first certificate
    26, // unsuitable certificate purpose: peers' own certificates often name none or only one
    27, // certificate not trusted
];
