//! Private keys of signed notes: a log's and a witness's.
//!
//! Where a key is kept, and who may read it there, is the caller's to see to.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign;

use crate::key::{KeyName, MalformedKey, NoteVerifier, PosixSeconds, cosigned_message};
use crate::ml_dsa;
pub use crate::ml_dsa::{ML_DSA_SEED_BYTES, ml_dsa_from_seed, ml_dsa_is_available};

/// An Ed25519 (type 0x01) or ECDSA P-256 (type 0x02) private key with its name, which signs notes
/// as a log.
///
/// openssl holds the key and clears its memory; it is never shown.
pub struct NoteSigner {
    key: PKey<Private>,
    verifier: NoteVerifier,
}

/// An Ed25519 (type 0x04) or ML-DSA-44 (type 0x06) private key with its name, which cosigns
/// checkpoints, saying when.
///
/// The message of type 0x04 does not name the cosigner: such a key must never serve two names.
/// openssl holds the key and clears its memory; it is never shown.
pub struct Cosigner {
    key: PKey<Private>,
    kind: CosignerKind,
    verifier: NoteVerifier,
}

#[derive(Clone, Copy)]
enum CosignerKind {
    Ed25519,
    MlDsa44,
}

impl NoteSigner {
    /// Gives `key` the name under which it signs; its kind decides how.
    ///
    /// # Errors
    /// [`MalformedSigner::Kind`] if it is neither Ed25519 nor on P-256.
    pub fn new(name: KeyName, key: PKey<Private>) -> Result<Self, MalformedSigner> {
        let unusable = |_: ErrorStack| MalformedSigner::Kind;
        let verifier = match key.id() {
            Id::ED25519 => NoteVerifier::ed25519(name, &key.raw_public_key().map_err(unusable)?),
            Id::EC => NoteVerifier::ecdsa_p256(name, &key.public_key_to_der().map_err(unusable)?),
            _ => return Err(MalformedSigner::Kind),
        };
        let verifier = verifier.map_err(|source| MalformedSigner::Public { source })?;
        Ok(Self { key, verifier })
    }

    /// Reads a PKCS#8 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`MalformedSigner::Pem`] or [`MalformedSigner::Kind`].
    pub fn from_pem(name: KeyName, pem: &[u8]) -> Result<Self, MalformedSigner> {
        Self::new(name, private_from_pem(pem)?)
    }

    /// Takes the 32 bytes that RFC 8032 calls the private key.
    ///
    /// # Errors
    /// [`MalformedSigner::Seed`] if openssl refuses them.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Result<Self, MalformedSigner> {
        Self::new(name, ed25519_private(seed)?)
    }

    /// The public side, to publish and to verify with.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// For ECDSA in DER, and openssl draws the nonce: signing twice gives two signatures.
    pub(crate) fn sign(&self, text: &str) -> Result<Vec<u8>, SigningFailed> {
        if self.key.id() == Id::EC {
            let signed = sign::Signer::new(MessageDigest::sha256(), &self.key)
                .and_then(|mut signer| signer.sign_oneshot_to_vec(text.as_bytes()));
            return signed.map_err(|source| SigningFailed::Openssl { source });
        }
        sign_without_digest(&self.key, text.as_bytes())
    }
}

impl Cosigner {
    /// Gives `key` the name under which it cosigns; its kind decides how.
    ///
    /// # Errors
    /// [`MalformedSigner::CosignerKind`] if it is neither Ed25519 nor ML-DSA-44.
    pub fn new(name: KeyName, key: PKey<Private>) -> Result<Self, MalformedSigner> {
        let unusable = |_: ErrorStack| MalformedSigner::CosignerKind;
        let (kind, verifier) = if key.id() == Id::ED25519 {
            let public = key.raw_public_key().map_err(unusable)?;
            (CosignerKind::Ed25519, NoteVerifier::cosignature_v1(name, &public))
        } else if ml_dsa::is_of_kind(&key) {
            let public = key.raw_public_key().map_err(unusable)?;
            (CosignerKind::MlDsa44, NoteVerifier::cosignature_ml_dsa_44(name, &public))
        } else {
            return Err(MalformedSigner::CosignerKind);
        };
        let verifier = verifier.map_err(|source| MalformedSigner::Public { source })?;
        Ok(Self { key, kind, verifier })
    }

    /// Reads a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`MalformedSigner::Pem`], as for ML-DSA-44 before openssl 3.5, or
    /// [`MalformedSigner::CosignerKind`].
    pub fn from_pem(name: KeyName, pem: &[u8]) -> Result<Self, MalformedSigner> {
        Self::new(name, private_from_pem(pem)?)
    }

    /// Takes the 32 bytes that RFC 8032 calls the private key.
    ///
    /// # Errors
    /// [`MalformedSigner::Seed`] if openssl refuses them.
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Result<Self, MalformedSigner> {
        Self::new(name, ed25519_private(seed)?)
    }

    /// The public side, to publish and to verify with.
    #[must_use]
    pub const fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// Time and signature, as they stand in the signature line.
    pub(crate) fn cosign(&self, text: &str, time: PosixSeconds) -> Result<Vec<u8>, SigningFailed> {
        let message = match self.kind {
            CosignerKind::Ed25519 => cosigned_message(time, text).into_bytes(),
            CosignerKind::MlDsa44 => {
                ml_dsa::message(self.verifier.name(), time, text).ok_or(SigningFailed::NoCheckpoint)?
            }
        };
        let signature = sign_without_digest(&self.key, &message)?;
        Ok([time.0.to_be_bytes().as_slice(), &signature].concat())
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({})", self.verifier)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.verifier)
    }
}

/// Why a private key cannot sign notes. Never shows the key.
#[derive(Debug, thiserror::Error)]
pub enum MalformedSigner {
    /// The key cannot cosign.
    #[error("the private key is neither Ed25519 nor ML-DSA-44")]
    CosignerKind,
    /// The key cannot sign as a log.
    #[error("the private key is neither Ed25519 nor ECDSA on P-256")]
    Kind,
    /// The text is not an unencrypted private key in PEM.
    #[error("the private key is not unencrypted PEM, or of a kind that this OpenSSL does not know")]
    Pem {
        /// openssl's reasons.
        source: ErrorStack,
    },
    /// The public side cannot be used.
    #[error("the public side of the private key cannot be used")]
    Public {
        /// What is wrong with it.
        source: MalformedKey,
    },
    /// openssl does not take the bytes.
    #[error("the seed of the private key cannot be read")]
    Seed {
        /// openssl's reasons.
        source: ErrorStack,
    },
}

/// A note was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningFailed {
    /// An ML-DSA-44 cosignature is on a checkpoint whose names have at most 255 bytes.
    #[error("the text of the note is no checkpoint that an ML-DSA-44 key can cosign")]
    NoCheckpoint,
    /// openssl could not sign.
    #[error("signing a note failed")]
    Openssl {
        /// openssl's reasons.
        source: ErrorStack,
    },
}

fn private_from_pem(pem: &[u8]) -> Result<PKey<Private>, MalformedSigner> {
    PKey::private_key_from_pem(pem).map_err(|source| MalformedSigner::Pem { source })
}

fn ed25519_private(seed: &[u8; 32]) -> Result<PKey<Private>, MalformedSigner> {
    PKey::private_key_from_raw_bytes(seed, Id::ED25519).map_err(|source| MalformedSigner::Seed { source })
}

fn sign_without_digest(key: &PKey<Private>, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
    sign::Signer::new_without_digest(key)
        .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
        .map_err(|source| SigningFailed::Openssl { source })
}

#[cfg(test)]
mod tests;
