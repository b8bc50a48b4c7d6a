//! The bootstrap key, its shares and what it decrypts.

use std::fmt;

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;
use zeroize::{Zeroize, Zeroizing};

#[cfg(test)]
mod tests;

/// One half of a bootstrap key, U or V: 16 or 32 bytes, wiped when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyShare(Zeroizing<Vec<u8>>);

impl KeyShare {
    /// Takes the decrypted bytes of a share.
    ///
    /// # Errors
    /// [`ShareLength`] unless there are 16 or 32 of them.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, ShareLength> {
        if matches!(bytes.len(), 16 | 32) { Ok(Self(bytes)) } else { Err(ShareLength { found: bytes.len() }) }
    }

    /// The key that this and the other half make, if they are of one length.
    #[must_use]
    pub fn combine(&self, other: &Self) -> Option<BootstrapKey> {
        if self.0.len() != other.0.len() {
            return None;
        }
        let mut key = Zeroizing::new(Vec::with_capacity(self.0.len()));
        key.extend(self.0.iter().zip(other.0.iter()).map(|(mine, theirs)| mine ^ theirs));
        Some(BootstrapKey(key))
    }
}

impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyShare(secret)")
    }
}

/// A share has a length that no key has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a key share has 16 or 32 bytes, found {found}")]
pub struct ShareLength {
    /// Bytes found.
    pub found: usize,
}

/// K, the key of a payload: 16 or 32 bytes, wiped when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct BootstrapKey(Zeroizing<Vec<u8>>);

impl BootstrapKey {
    /// Takes a key that was stored.
    ///
    /// # Errors
    /// [`ShareLength`] unless there are 16 or 32 bytes.
    pub fn from_stored(bytes: Zeroizing<Vec<u8>>) -> Result<Self, ShareLength> {
        KeyShare::new(bytes).map(|share| Self(share.0))
    }

    /// The key itself. Not to be printed or sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decrypts `IV(16) ‖ ciphertext ‖ tag(16)` under AES-GCM with this key (AES-256 for 32 bytes) and no
    /// associated data.
    ///
    /// # Errors
    /// [`PayloadRejected`]; nothing of the plaintext is given out unless the whole of it is authentic.
    pub fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, PayloadRejected> {
        let short = PayloadRejected::Short { found: sealed.len() };
        let (iv, rest) = sealed.split_at_checked(IV_BYTES).ok_or(short)?;
        let split = rest.len().checked_sub(GCM_TAG_BYTES).ok_or(PayloadRejected::Short { found: sealed.len() })?;
        let (ciphertext, tag) = rest.split_at(split);
        let cipher = if self.0.len() == 16 { Cipher::aes_128_gcm() } else { Cipher::aes_256_gcm() };
        let mut context = CipherCtx::new().map_err(|source| PayloadRejected::Unavailable { source })?;
        // The IV's length is not GCM's default of 12, so it has to be set between algorithm and key.
        let mut prepare = || -> Result<(), ErrorStack> {
            context.decrypt_init(Some(cipher), None, None)?;
            context.set_iv_length(IV_BYTES)?;
            context.decrypt_init(None, Some(&self.0), Some(iv))?;
            context.set_tag(tag)
        };
        prepare().map_err(|source| PayloadRejected::Unavailable { source })?;
        // Room for everything from the start: a buffer that grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(ciphertext.len() + 2 * BLOCK_BYTES));
        let opened =
            context.cipher_update_vec(ciphertext, &mut plain).and_then(|_| context.cipher_final_vec(&mut plain));
        if opened.is_err() {
            plain.zeroize();
            return Err(PayloadRejected::NotAuthentic);
        }
        Ok(plain)
    }
}

impl fmt::Debug for BootstrapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootstrapKey(secret)")
    }
}

/// Why a payload does not open.
#[derive(Debug, thiserror::Error)]
pub enum PayloadRejected {
    /// It was altered, or sealed under another key.
    #[error("the payload was altered or is sealed under another key")]
    NotAuthentic,
    /// Not even an IV and a tag.
    #[error("a sealed payload has at least {} bytes, found {found}", IV_BYTES + GCM_TAG_BYTES)]
    Short {
        /// Bytes found.
        found: usize,
    },
    /// The cryptographic library failed.
    #[error("cannot set up AES-GCM")]
    Unavailable {
        /// What the library says.
        source: ErrorStack,
    },
}

/// Keylime's IV is 16 bytes, not the usual 12.
const IV_BYTES: usize = 16;
const GCM_TAG_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
