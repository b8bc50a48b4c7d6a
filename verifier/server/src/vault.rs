//! Secrets at rest: shares V and revocation keys under AES-256-GCM.

use std::{fmt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use messages::AgentId;
use openssl::{
    error::ErrorStack,
    symm::{Cipher, decrypt_aead, encrypt_aead},
};
use serde::{Deserialize, Serialize};
use transport::secret_file;
use zeroize::Zeroizing;

use crate::entropy;

/// The key that secrets are kept under.
pub(crate) struct Vault(Zeroizing<[u8; KEY_BYTES]>);

/// A secret as it is stored: base64 of `nonce(12) ‖ ciphertext ‖ tag(16)`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Sealed(String);

/// What a secret is; part of what is authenticated, so that none can stand for another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    RevocationKey,
    ShareV,
}

/// Why there is no vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file holds something else.
    #[error("secret.key has {found} bytes; expected {KEY_BYTES}")]
    KeyLength {
        /// Bytes found.
        found: usize,
    },
    /// No random bytes for a new key.
    #[error("no random bytes for secret.key")]
    Random(#[source] ErrorStack),
    /// The key file cannot be read, or others can read it.
    #[error("secret.key is not usable")]
    Read(#[source] secret_file::ReadError),
    /// The key file cannot be written.
    #[error("secret.key cannot be made")]
    Write(#[source] secret_file::WriteError),
}

/// Why a secret is not opened or sealed. Says nothing about the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the stored secret is damaged or was sealed under another key")]
    Open,
    #[error("the secret could not be sealed")]
    Seal(#[source] ErrorStack),
}

impl Vault {
    /// The vault with the key in `folder/secret.key`, which is made where there is none.
    pub(crate) fn open_or_create(folder: &Path) -> Result<Self, VaultError> {
        let path = folder.join("secret.key");
        match secret_file::read(&path) {
            Ok(bytes) => {
                let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice());
                key.map(|key| Self(Zeroizing::new(key))).map_err(|_| VaultError::KeyLength { found: bytes.len() })
            }
            Err(error) if error.is_missing() => {
                let key = entropy::random().map_err(VaultError::Random)?;
                secret_file::write(&path, key.as_slice()).map_err(VaultError::Write)?;
                Ok(Self(key))
            }
            Err(error) => Err(VaultError::Read(error)),
        }
    }

    pub(crate) fn seal(&self, agent: &AgentId, purpose: Purpose, secret: &[u8]) -> Result<Sealed, SealError> {
        let nonce = entropy::random::<NONCE_BYTES>().map_err(SealError::Seal)?;
        let mut tag = [0; TAG_BYTES];
        let (key, bound) = (self.0.as_slice(), bound_to(agent, purpose));
        let sealed = encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce.as_slice()), &bound, secret, &mut tag);
        let sealed = sealed.map_err(SealError::Seal)?;
        Ok(Sealed(STANDARD.encode([nonce.as_slice(), &sealed, &tag].concat())))
    }

    pub(crate) fn open(
        &self,
        agent: &AgentId,
        purpose: Purpose,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let bytes = STANDARD.decode(&sealed.0).map_err(|_| SealError::Open)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_BYTES).ok_or(SealError::Open)?;
        let body = rest.len().checked_sub(TAG_BYTES).ok_or(SealError::Open)?;
        let (ciphertext, tag) = rest.split_at_checked(body).ok_or(SealError::Open)?;
        let (key, bound) = (self.0.as_slice(), bound_to(agent, purpose));
        let opened = decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), &bound, ciphertext, tag);
        opened.map(Zeroizing::new).map_err(|_| SealError::Open)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

fn bound_to(agent: &AgentId, purpose: Purpose) -> Vec<u8> {
    format!("attestry/verifier/{purpose:?}/v1\0{agent}").into_bytes()
}

/// AES-256.
const KEY_BYTES: usize = 32;
/// GCM's own nonce size; random ones are safe for 2^32 secrets under one key.
const NONCE_BYTES: usize = 12;
/// GCM's full tag.
const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests;
