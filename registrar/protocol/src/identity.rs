//! A TPM's identity: an EK that someone vouches for and an AK that may live beside it.

use evidence::crypto::CryptoUnavailable;
use evidence::ek_certificate::{ChainReport, EkCertificateRejected, EkKeyMismatch, TrustStore};
use evidence::public::{Ak, AkRejected, Ek, EkRejected};

use crate::claim::Claim;

pub use holder::{Holder, IdentityPart, IdentityTaken};

mod holder;
#[cfg(test)]
mod tests;

/// Whether a TPM needs an EK certificate that leads to a trusted root.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EkCertificatePolicy {
    /// It does.
    #[default]
    Required,
    /// It does not: anyone can then enrol a TPM made of software, and every `enrol` entry of a TPM whose certificate
    /// did not lead to a trusted root says so. A certificate that is there must still be the EK's own.
    DangerNotRequired,
}

/// What vouches for an EK.
#[derive(Debug)]
pub enum EkCertificateStanding {
    /// Nothing that is trusted; tolerated by [`EkCertificatePolicy::DangerNotRequired`]. Why the certificate was not
    /// believed, or `None` if there is none.
    DangerUnverified(Option<EkCertificateRejected>),
    /// A certificate that led to a trusted root at the time of the registration, and how.
    Verified(ChainReport),
}

/// The verified half of an attester's identity.
///
/// That the AK lives in the EK's TPM is *not* part of it: only the activation of a credential made for both shows it.
#[derive(Debug)]
pub struct Identity {
    ek: Ek,
    ak: Ak,
    certificate: Option<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    standing: EkCertificateStanding,
}

/// Why a well-formed registration gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityRejected {
    /// `aik_tpm` is no attestation key.
    #[error("aik_tpm is refused")]
    Ak(#[source] AkRejected),
    /// `ekcert` does not lead to a trusted root now.
    #[error("ekcert is refused")]
    Certificate(#[source] EkCertificateRejected),
    /// `ekcert` certifies another key than `ek_tpm`.
    #[error("ekcert is not the certificate of ek_tpm")]
    CertificateKey(#[source] EkKeyMismatch),
    /// There is no `ekcert`.
    #[error("ekcert is missing; expected a certificate of this EK that leads to a trusted root")]
    CertificateMissing,
    /// There is no `ekcert`, but an IAK or IDevID, which this version does not judge.
    #[error("ekcert is missing, and IAK and IDevID are not judged here; expected a certificate of this EK")]
    CertificateMissingBesideIak,
    /// `ek_tpm` is no endorsement key.
    #[error("ek_tpm is refused")]
    Ek(#[source] EkRejected),
    /// The cryptographic library failed: no answer, so no identity.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}

impl Claim {
    /// Decides whether the claimed EK and AK may be an attester's, at `at_unix_seconds`.
    ///
    /// Checks in order:
    /// 1. the EK's attributes: a key that decrypts anything would open a credential for a key outside the TPM;
    /// 2. the AK's attributes: a key that is not restricted signs made-up quotes;
    /// 3. there is an EK certificate, if `policy` asks for one;
    /// 4. its key is the EK: the certificate's key is the one canonical EK;
    /// 5. it leads to a root of `trust`, if `policy` asks for that.
    ///
    /// # Errors
    /// [`IdentityRejected`] for the first check that fails.
    pub fn verify(
        &self,
        trust: &TrustStore,
        policy: EkCertificatePolicy,
        at_unix_seconds: i64,
    ) -> Result<Identity, IdentityRejected> {
        let ek = Ek::new(self.ek.clone()).map_err(IdentityRejected::Ek)?;
        let ak = Ak::new(self.ak.clone()).map_err(IdentityRejected::Ak)?;
        let standing = match (self.standing(&ek, trust, at_unix_seconds)?, policy) {
            (EkCertificateStanding::DangerUnverified(why), EkCertificatePolicy::Required) => {
                return Err(self.refusal(why));
            }
            (standing, EkCertificatePolicy::Required | EkCertificatePolicy::DangerNotRequired) => standing,
        };
        Ok(Identity {
            ek,
            ak,
            certificate: self.certificate.as_ref().map(|certificate| certificate.der().to_vec()),
            chain: self.chain.iter().map(|certificate| certificate.der().to_vec()).collect(),
            standing,
        })
    }

    fn standing(
        &self,
        ek: &Ek,
        trust: &TrustStore,
        at_unix_seconds: i64,
    ) -> Result<EkCertificateStanding, IdentityRejected> {
        let Some(certificate) = &self.certificate else {
            return Ok(EkCertificateStanding::DangerUnverified(None));
        };
        certificate.check_key(ek).map_err(IdentityRejected::CertificateKey)?;
        match trust.verify_chain(certificate, &self.chain, at_unix_seconds) {
            Ok(report) => Ok(EkCertificateStanding::Verified(report)),
            // No answer is neither yes nor no, whatever the policy.
            Err(EkCertificateRejected::Unavailable(failure)) => Err(failure.into()),
            Err(why) => Ok(EkCertificateStanding::DangerUnverified(Some(why))),
        }
    }

    fn refusal(&self, why: Option<EkCertificateRejected>) -> IdentityRejected {
        match why {
            Some(why) => IdentityRejected::Certificate(why),
            None if self.unjudged.is_empty() => IdentityRejected::CertificateMissing,
            None => IdentityRejected::CertificateMissingBesideIak,
        }
    }
}

impl Identity {
    /// The endorsement key, for which a credential is made.
    #[must_use]
    pub const fn ek(&self) -> &Ek {
        &self.ek
    }

    /// The attestation key, whose name the credential carries.
    #[must_use]
    pub const fn ak(&self) -> &Ak {
        &self.ak
    }

    /// The EK certificate without what an NV index adds around it; `None` only when the policy allows it.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// The certificates that came with it, in the order they came.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// What vouches for the EK.
    #[must_use]
    pub const fn standing(&self) -> &EkCertificateStanding {
        &self.standing
    }
}
