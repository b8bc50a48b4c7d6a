//! The secret that only the TPM with the EK can recover, and the proof that it did.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::AgentId;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Characters of a credential, as Keylime has it: 32 of 62 kinds are 190 bits.
pub const CREDENTIAL_CHARS: usize = 32;

/// A credential: 32 characters of `[A-Z0-9a-z]`. Wiped when dropped, never printed.
///
/// Source: keylime-wire.md §5.2.
pub struct CredentialSecret(Zeroizing<[u8; CREDENTIAL_CHARS]>);

impl CredentialSecret {
    /// Takes the characters from `randomness`, or `None` if it does not hold enough.
    ///
    /// Bytes of 248 and above are skipped, so that each character is equally likely. Twice as many bytes as
    /// characters fail with a chance below 2^-90.
    #[must_use]
    pub fn from_randomness(randomness: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; CREDENTIAL_CHARS]);
        let mut fair = randomness.iter().filter(|byte| **byte < FAIR_LIMIT);
        for character in secret.iter_mut() {
            let place = usize::from(*fair.next()?) % ALPHABET.len();
            *character = *ALPHABET.get(place)?;
        }
        Some(Self(secret))
    }

    /// The characters, which is what the credential made for the TPM holds.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for CredentialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialSecret(..)")
    }
}

/// A proof of activation: 48 bytes, 96 hex digits on the wire. Knowing one is as good as the credential, so it is
/// wiped and never printed either.
pub struct AuthTag(Zeroizing<[u8; AUTH_TAG_BYTES]>);

impl AuthTag {
    /// Reads 96 hexadecimal digits of either case; `None` is a wrong tag like any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut tag = Zeroizing::new([0; AUTH_TAG_BYTES]);
        hex::decode_to_slice(text, tag.as_mut_slice()).ok()?;
        Some(Self(tag))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        openssl::memcmp::eq(self.0.as_slice(), other.0.as_slice())
    }

    /// The tag as it travels.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_slice()))
    }
}

impl fmt::Debug for AuthTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthTag(..)")
    }
}

/// The tag that proves knowledge of `credential` for `agent`: HMAC-SHA384 of the id, keyed by the base64 *text* of the
/// credential (44 characters for 32 bytes).
///
/// `credential` is what the TPM gave back, so any length.
///
/// # Errors
/// What openssl says if it has no HMAC-SHA384.
///
/// Source: keylime-wire.md §5.3.
pub fn auth_tag(credential: &[u8], agent: &AgentId) -> Result<AuthTag, ErrorStack> {
    let text = Zeroizing::new(STANDARD.encode(credential));
    let key = PKey::hmac(text.as_bytes())?;
    let mut signer = Signer::new(MessageDigest::sha384(), &key)?;
    signer.update(agent.as_str().as_bytes())?;
    let mut tag = Zeroizing::new([0; AUTH_TAG_BYTES]);
    signer.sign(tag.as_mut_slice())?;
    Ok(AuthTag(tag))
}

/// SHA-384.
const AUTH_TAG_BYTES: usize = 48;
/// What a credential is written with.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz";
/// 4 × 62: below it every character stands for four bytes.
const FAIR_LIMIT: u8 = 248;
