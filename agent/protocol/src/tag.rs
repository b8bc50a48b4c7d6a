//! HMAC-SHA384 tags: proofs that somebody holds a key, without the key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messages::AgentId;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// An HMAC-SHA384: 48 bytes, 96 hex digits on the wire.
///
/// A tag proves possession of a key and does not give it away, so it may be printed and stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag([u8; TAG_BYTES]);

impl Tag {
    /// Reads 96 hex digits of either case.
    ///
    /// # Errors
    /// [`MalformedTag`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, MalformedTag> {
        let mut tag = [0; TAG_BYTES];
        hex::decode_to_slice(text, &mut tag).map_err(|_| MalformedTag { found: text.len() })?;
        Ok(Self(tag))
    }

    /// 96 lower-case hex digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether the two are equal, in time that does not tell where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        openssl::memcmp::eq(&self.0, &other.0)
    }
}

/// The tag over `message` under `key`.
///
/// # Errors
/// [`TagUnavailable`] if the cryptographic library fails.
pub fn hmac_sha384(key: &[u8], message: &[u8]) -> Result<Tag, TagUnavailable> {
    let compute = || -> Result<Tag, ErrorStack> {
        let key = PKey::hmac(key)?;
        let mut signer = Signer::new(MessageDigest::sha384(), &key)?;
        let mut tag = [0; TAG_BYTES];
        signer.update(message)?;
        signer.sign(&mut tag)?;
        Ok(Tag(tag))
    };
    compute().map_err(|source| TagUnavailable { source })
}

/// The tag that shows a registrar that the TPM recovered its credential.
///
/// The key is the ASCII base64 *text* of the credential's bytes, as Keylime registrars have it.
///
/// Source: Keylime registrar, activation (`auth_tag`).
///
/// # Errors
/// [`TagUnavailable`] if the cryptographic library fails.
pub fn activation_tag(credential: &[u8], id: &AgentId) -> Result<Tag, TagUnavailable> {
    let key = Zeroizing::new(STANDARD.encode(credential));
    hmac_sha384(key.as_bytes(), id.as_str().as_bytes())
}

/// A text is no tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tag is 96 hex digits, found {found} bytes that are not")]
pub struct MalformedTag {
    /// Bytes of the text.
    pub found: usize,
}

/// The cryptographic library could not make a tag.
#[derive(Debug, thiserror::Error)]
#[error("cannot compute an HMAC-SHA384")]
pub struct TagUnavailable {
    /// What the library says.
    source: ErrorStack,
}

/// Bytes of a SHA-384 digest.
const TAG_BYTES: usize = 48;
