//! Which public areas may serve as attestation key or endorsement key.

use openssl::pkey::{PKeyRef, Public as PublicHalf};

use super::{KeyScheme, ObjectAttributes, Parameters, Public, SigningScheme, Symmetric};
use crate::algorithm::{HashAlgorithm, SignatureScheme};
use crate::name::TpmName;

/// An attestation key: a restricted signing key that was made in a TPM and cannot leave it.
///
/// The attributes are the key's own claim. They become fact when the TPM that holds the EK activates a credential made
/// for this key's [`name`](Self::name), because the name covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ak {
    public: Public,
    scheme: SigningScheme,
}

impl Ak {
    /// Takes `public` as attestation key.
    ///
    /// Checks in order: fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign, not decrypt; then that the key is
    /// bound to a signature scheme fit for its kind, with a hash of at least 256 bits, and named with one.
    ///
    /// # Errors
    /// [`AkRejected`], one variant per attribute.
    pub fn new(public: Public) -> Result<Self, AkRejected> {
        let has = |attribute| public.attributes().contains(attribute);
        if !has(ObjectAttributes::FIXED_TPM) {
            return Err(AkRejected::NotFixedTpm);
        }
        if !has(ObjectAttributes::FIXED_PARENT) {
            return Err(AkRejected::NotFixedParent);
        }
        if !has(ObjectAttributes::SENSITIVE_DATA_ORIGIN) {
            return Err(AkRejected::NotSensitiveDataOrigin);
        }
        // Without this the key would sign a forged TPMS_ATTEST handed to it as plain data.
        if !has(ObjectAttributes::RESTRICTED) {
            return Err(AkRejected::NotRestricted);
        }
        if !has(ObjectAttributes::SIGN) {
            return Err(AkRejected::NotSigning);
        }
        if has(ObjectAttributes::DECRYPT) {
            return Err(AkRejected::Decrypting);
        }
        let scheme = usable_scheme(&public)?;
        if !public.name_algorithm().meets_floor() {
            return Err(AkRejected::WeakName { found: public.name_algorithm() });
        }
        Ok(Self { public, scheme })
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &TpmName {
        self.public.name()
    }

    /// The public area.
    #[must_use]
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// The one scheme the key signs with.
    #[must_use]
    pub const fn scheme(&self) -> SigningScheme {
        self.scheme
    }

    /// The key as openssl handles it.
    #[must_use]
    pub fn key(&self) -> &PKeyRef<PublicHalf> {
        self.public.key()
    }
}

impl TryFrom<Public> for Ak {
    type Error = AkRejected;

    fn try_from(public: Public) -> Result<Self, AkRejected> {
        Self::new(public)
    }
}

fn usable_scheme(public: &Public) -> Result<SigningScheme, AkRejected> {
    let KeyScheme::Signing(scheme) = public.scheme() else {
        return Err(AkRejected::Scheme { found: public.scheme() });
    };
    let fits = match public.parameters() {
        Parameters::Rsa { .. } => matches!(scheme.scheme, SignatureScheme::RsaSsa | SignatureScheme::RsaPss),
        Parameters::Ecc { .. } => scheme.scheme == SignatureScheme::Ecdsa,
    };
    if !fits {
        return Err(AkRejected::Scheme { found: public.scheme() });
    }
    if !scheme.hash.meets_floor() {
        return Err(AkRejected::WeakHash { found: scheme.hash });
    }
    Ok(scheme)
}

/// Why a key is not accepted as attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AkRejected {
    /// It decrypts too.
    #[error("the attestation key must not have decrypt set")]
    Decrypting,
    /// It could be moved to another parent.
    #[error("the attestation key must have fixedParent set")]
    NotFixedParent,
    /// It could be moved to another TPM.
    #[error("the attestation key must have fixedTPM set")]
    NotFixedTpm,
    /// It would sign anything, so also a made-up quote.
    #[error("the attestation key must have restricted set")]
    NotRestricted,
    /// Its private half may have come from outside the TPM.
    #[error("the attestation key must have sensitiveDataOrigin set")]
    NotSensitiveDataOrigin,
    /// It does not sign.
    #[error("the attestation key must have sign set")]
    NotSigning,
    /// It has no signature scheme, or one that does not fit its kind.
    #[error("the attestation key must be bound to RSASSA or RSAPSS (RSA) or ECDSA (ECC), found {found:?}")]
    Scheme {
        /// The scheme in the public area.
        found: KeyScheme,
    },
    /// It signs with a hash below the floor.
    #[error("the attestation key must sign with sha256 or stronger, found {found}")]
    WeakHash {
        /// The hash in the public area.
        found: HashAlgorithm,
    },
    /// Its name is made with a hash below the floor, so another key might share it.
    #[error("the attestation key must be named with sha256 or stronger, found {found}")]
    WeakName {
        /// The name's hash.
        found: HashAlgorithm,
    },
}

/// An endorsement key: a restricted decryption key that was made in a TPM and cannot leave it.
///
/// That a real TPM holds it is the EK certificate's statement, see [`crate::ek_certificate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ek {
    public: Public,
    symmetric_key_bits: u16,
}

impl Ek {
    /// Takes `public` as endorsement key.
    ///
    /// Checks in order: fixedTPM, fixedParent, sensitiveDataOrigin, restricted, decrypt, not sign; then the cipher
    /// (AES-128 or AES-256 in CFB mode) and the name's hash.
    ///
    /// # Errors
    /// [`EkRejected`], one variant per attribute.
    pub fn new(public: Public) -> Result<Self, EkRejected> {
        let has = |attribute| public.attributes().contains(attribute);
        if !has(ObjectAttributes::FIXED_TPM) {
            return Err(EkRejected::NotFixedTpm);
        }
        if !has(ObjectAttributes::FIXED_PARENT) {
            return Err(EkRejected::NotFixedParent);
        }
        if !has(ObjectAttributes::SENSITIVE_DATA_ORIGIN) {
            return Err(EkRejected::NotSensitiveDataOrigin);
        }
        // An unrestricted key would decrypt a credential without checking that its AK is loaded beside it.
        if !has(ObjectAttributes::RESTRICTED) {
            return Err(EkRejected::NotRestricted);
        }
        if !has(ObjectAttributes::DECRYPT) {
            return Err(EkRejected::NotDecrypting);
        }
        if has(ObjectAttributes::SIGN) {
            return Err(EkRejected::Signing);
        }
        let Symmetric::AesCfb { key_bits: symmetric_key_bits @ (128 | 256) } = public.symmetric() else {
            return Err(EkRejected::Symmetric { found: public.symmetric() });
        };
        if !public.name_algorithm().meets_floor() {
            return Err(EkRejected::WeakName { found: public.name_algorithm() });
        }
        Ok(Self { public, symmetric_key_bits })
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &TpmName {
        self.public.name()
    }

    /// The public area.
    #[must_use]
    pub const fn public(&self) -> &Public {
        &self.public
    }

    /// Size of the AES key a credential is encrypted with: 128 or 256 bits.
    #[must_use]
    pub const fn symmetric_key_bits(&self) -> u16 {
        self.symmetric_key_bits
    }

    /// The key as openssl handles it.
    #[must_use]
    pub fn key(&self) -> &PKeyRef<PublicHalf> {
        self.public.key()
    }
}

impl TryFrom<Public> for Ek {
    type Error = EkRejected;

    fn try_from(public: Public) -> Result<Self, EkRejected> {
        Self::new(public)
    }
}

/// Why a key is not accepted as endorsement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EkRejected {
    /// It does not decrypt.
    #[error("the endorsement key must have decrypt set")]
    NotDecrypting,
    /// It could be moved to another parent.
    #[error("the endorsement key must have fixedParent set")]
    NotFixedParent,
    /// It could be moved to another TPM.
    #[error("the endorsement key must have fixedTPM set")]
    NotFixedTpm,
    /// It would decrypt anything, so also a credential for a key that is not in the TPM.
    #[error("the endorsement key must have restricted set")]
    NotRestricted,
    /// Its private half may have come from outside the TPM.
    #[error("the endorsement key must have sensitiveDataOrigin set")]
    NotSensitiveDataOrigin,
    /// It signs too.
    #[error("the endorsement key must not have sign set")]
    Signing,
    /// Its cipher is not one a credential is made with.
    #[error("the endorsement key must protect with AES-128 or AES-256 in CFB mode, found {found:?}")]
    Symmetric {
        /// The cipher in the public area.
        found: Symmetric,
    },
    /// Its name, and so its key derivation, is made with a hash below the floor.
    #[error("the endorsement key must be named with sha256 or stronger, found {found}")]
    WeakName {
        /// The name's hash.
        found: HashAlgorithm,
    },
}
