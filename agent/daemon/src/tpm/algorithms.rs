//! The same algorithms in the words of `evidence` and of the TPM's software stack.

use evidence::algorithm::{EncryptionAlgorithm, HashAlgorithm, SignatureScheme};
use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, SignatureSchemeAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;

pub(super) const fn hashing(algorithm: HashAlgorithm) -> HashingAlgorithm {
    match algorithm {
        HashAlgorithm::Sha1 => HashingAlgorithm::Sha1,
        HashAlgorithm::Sha256 => HashingAlgorithm::Sha256,
        HashAlgorithm::Sha384 => HashingAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashingAlgorithm::Sha512,
        HashAlgorithm::Sm3_256 => HashingAlgorithm::Sm3_256,
    }
}

pub(super) const fn signing(scheme: SignatureScheme) -> SignatureSchemeAlgorithm {
    match scheme {
        SignatureScheme::RsaSsa => SignatureSchemeAlgorithm::RsaSsa,
        SignatureScheme::RsaPss => SignatureSchemeAlgorithm::RsaPss,
        SignatureScheme::Ecdsa => SignatureSchemeAlgorithm::EcDsa,
    }
}

/// The EK algorithms of the TCG's EK credential profile that are supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EkAlgorithm {
    /// RSA with a 2048-bit modulus (template L-1).
    Rsa2048,
    /// NIST P-256 (template L-2).
    Ecc256,
    /// NIST P-384 (template H-3).
    Ecc384,
}

impl EkAlgorithm {
    /// Reads Keylime's `tpm_encryption_alg`: `rsa`, `rsa2048`, `ecc`, `ecc256` or `ecc384`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.parse().ok()? {
            EncryptionAlgorithm::Rsa2048 => Some(Self::Rsa2048),
            EncryptionAlgorithm::Ecc256 => Some(Self::Ecc256),
            EncryptionAlgorithm::Ecc384 => Some(Self::Ecc384),
            EncryptionAlgorithm::Rsa1024
            | EncryptionAlgorithm::Rsa3072
            | EncryptionAlgorithm::Rsa4096
            | EncryptionAlgorithm::Ecc192
            | EncryptionAlgorithm::Ecc224
            | EncryptionAlgorithm::Ecc521 => None,
        }
    }

    /// The same for `evidence`.
    #[must_use]
    pub const fn encryption_algorithm(self) -> EncryptionAlgorithm {
        match self {
            Self::Rsa2048 => EncryptionAlgorithm::Rsa2048,
            Self::Ecc256 => EncryptionAlgorithm::Ecc256,
            Self::Ecc384 => EncryptionAlgorithm::Ecc384,
        }
    }

    pub(super) const fn selection(self) -> AsymmetricAlgorithmSelection {
        match self {
            Self::Rsa2048 => AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
            Self::Ecc256 => AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
            Self::Ecc384 => AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384),
        }
    }

    /// The AK's algorithm for a scheme: the EK's where it fits, the family's default otherwise.
    pub(super) const fn of_ak(self, scheme: SignatureScheme) -> AsymmetricAlgorithmSelection {
        match (scheme, self) {
            (SignatureScheme::RsaSsa | SignatureScheme::RsaPss, _) => {
                AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048)
            }
            (SignatureScheme::Ecdsa, Self::Ecc384) => AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384),
            (SignatureScheme::Ecdsa, Self::Ecc256 | Self::Rsa2048) => {
                AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256)
            }
        }
    }
}
