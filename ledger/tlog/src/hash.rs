//! The log's hash: SHA-256 with RFC 6962 domain separation.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::sha::Sha256;

/// The root of a tree without leaves: SHA-256 of nothing.
///
/// Source: RFC 6962 §2.1.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Prefix of what is hashed for a leaf, so that no node can pass for a leaf.
const LEAF_PREFIX: u8 = 0x00;
/// Prefix of what is hashed for an interior node.
const NODE_PREFIX: u8 = 0x01;
/// One prefix byte and two hashes.
const NODE_BYTES: usize = 1 + 2 * Hash::LEN;

/// A SHA-256 value in the log: a leaf hash, a node hash, a root or a digest of a note.
///
/// Shown in lower-case hexadecimal; the text formats of the log use [`Hash::to_base64`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// Takes bytes that are a SHA-256 value; nothing is hashed here.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// SHA-256 of `bytes` without any prefix; for digests of files, not for tree nodes.
    #[must_use]
    pub fn digest(bytes: &[u8]) -> Self {
        let mut sha = Sha256::new();
        sha.update(bytes);
        Self(sha.finish())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads standard base64 with padding, as checkpoints and proofs write hashes.
    ///
    /// # Errors
    /// [`MalformedHash::Base64`] or [`MalformedHash::Length`].
    pub fn from_base64(text: &str) -> Result<Self, MalformedHash> {
        let bytes = STANDARD.decode(text).map_err(|source| MalformedHash::Base64 { source })?;
        Self::try_from(bytes.as_slice())
    }

    /// Reads hexadecimal of either case, as people and URLs write hashes.
    ///
    /// # Errors
    /// [`MalformedHash::Hex`] or [`MalformedHash::Length`].
    pub fn from_hex(text: &str) -> Result<Self, MalformedHash> {
        let bytes = hex::decode(text).map_err(|source| MalformedHash::Hex { source })?;
        Self::try_from(bytes.as_slice())
    }

    /// Standard base64 with padding, 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = MalformedHash;

    fn try_from(bytes: &[u8]) -> Result<Self, MalformedHash> {
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(MalformedHash::Length { found: bytes.len() }),
        }
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why text or bytes are not a hash.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MalformedHash {
    /// The text is not standard base64 with padding and zero trailing bits.
    #[error("a hash is not standard base64 with padding")]
    Base64 {
        /// What the decoder saw.
        source: base64::DecodeError,
    },
    /// The text is not hexadecimal.
    #[error("a hash is not hexadecimal")]
    Hex {
        /// What the decoder saw.
        source: hex::FromHexError,
    },
    /// The value has another length than SHA-256.
    #[error("a hash has {found} bytes, expected 32")]
    Length {
        /// Bytes found.
        found: usize,
    },
}

/// The hash of a leaf: SHA-256(0x00 ‖ entry).
///
/// Source: RFC 6962 §2.1.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    // The stateful form: openssl's one-shot looks the algorithm up anew each time, which costs
    // three times the hash itself.
    let mut sha = Sha256::new();
    sha.update(&[LEAF_PREFIX]);
    sha.update(entry);
    Hash(sha.finish())
}

/// The hash of an interior node: SHA-256(0x01 ‖ left ‖ right).
///
/// Source: RFC 6962 §2.1.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut node = [NODE_PREFIX; NODE_BYTES];
    let (_prefix, children) = node.split_at_mut(1);
    let (left_half, right_half) = children.split_at_mut(Hash::LEN);
    left_half.copy_from_slice(&left.0);
    right_half.copy_from_slice(&right.0);
    let mut sha = Sha256::new();
    sha.update(&node);
    Hash(sha.finish())
}

#[cfg(test)]
mod tests;
