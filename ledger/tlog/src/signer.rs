//! Private keys of signed notes: a log's and a witness's.
//!
//! Where a key is kept, and who may read it there, is the caller's to see to.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign;

use crate::key::{KeyName, MalformedKey, NoteVerifier, PosixSeconds, cosigned_message};

/// An Ed25519 private key with its name, which signs notes as a log (type 0x01).
///
/// openssl holds the key and clears its memory; it is never shown.
pub struct NoteSigner {
    key: PKey<Private>,
    verifier: NoteVerifier,
}

/// An Ed25519 private key with its name, which cosigns notes as a witness (type 0x04).
///
/// The signed message does not name the witness: a key must never serve two names.
/// openssl holds the key and clears its memory; it is never shown.
pub struct Cosigner {
    key: PKey<Private>,
    verifier: NoteVerifier,
}

impl NoteSigner {
    /// Gives `key` the name under which it signs.
    ///
    /// # Errors
    /// [`MalformedSigner::Kind`] if it is not an Ed25519 key.
    pub fn new(name: KeyName, key: PKey<Private>) -> Result<Self, MalformedSigner> {
        let public = ed25519_public_of(&key)?;
        let verifier = NoteVerifier::ed25519(name, &public).map_err(|source| MalformedSigner::Public { source })?;
        Ok(Self { key, verifier })
    }

    /// Reads a PKCS#8 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`MalformedSigner::Pem`] or [`MalformedSigner::Kind`].
    pub fn from_pem(name: KeyName, pem: &[u8]) -> Result<Self, MalformedSigner> {
        let key = PKey::private_key_from_pem(pem).map_err(|source| MalformedSigner::Pem { source })?;
        Self::new(name, key)
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

    pub(crate) fn sign(&self, text: &str) -> Result<Vec<u8>, SigningFailed> {
        sign_ed25519(&self.key, text.as_bytes())
    }
}

impl Cosigner {
    /// Gives `key` the name under which it cosigns.
    ///
    /// # Errors
    /// [`MalformedSigner::Kind`] if it is not an Ed25519 key.
    pub fn new(name: KeyName, key: PKey<Private>) -> Result<Self, MalformedSigner> {
        let public = ed25519_public_of(&key)?;
        let verifier =
            NoteVerifier::cosignature_v1(name, &public).map_err(|source| MalformedSigner::Public { source })?;
        Ok(Self { key, verifier })
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
        let signature = sign_ed25519(&self.key, cosigned_message(time, text).as_bytes())?;
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
    /// The key is not Ed25519.
    #[error("the private key is not an Ed25519 key")]
    Kind,
    /// The text is not an unencrypted private key in PEM.
    #[error("the private key is not unencrypted PEM")]
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

/// openssl could not sign.
#[derive(Debug, thiserror::Error)]
#[error("signing a note failed")]
pub struct SigningFailed {
    /// openssl's reasons.
    pub source: ErrorStack,
}

fn ed25519_private(seed: &[u8; 32]) -> Result<PKey<Private>, MalformedSigner> {
    PKey::private_key_from_raw_bytes(seed, Id::ED25519).map_err(|source| MalformedSigner::Seed { source })
}

fn ed25519_public_of(key: &PKey<Private>) -> Result<Vec<u8>, MalformedSigner> {
    if key.id() != Id::ED25519 {
        return Err(MalformedSigner::Kind);
    }
    key.raw_public_key().map_err(|_| MalformedSigner::Kind)
}

fn sign_ed25519(key: &PKey<Private>, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
    sign::Signer::new_without_digest(key)
        .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
        .map_err(|source| SigningFailed { source })
}

#[cfg(test)]
mod tests;
