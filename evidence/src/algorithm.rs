//! Algorithm identifiers: the TPM's numbers, Keylime's names and openssl's handles for the same things.

use std::fmt;
use std::str::FromStr;

use openssl::hash::MessageDigest;

use crate::crypto::{CryptoUnavailable, unavailable};

#[cfg(test)]
mod tests;

/// A hash algorithm a TPM may name a key, a PCR bank or a signature with.
///
/// Source: TPM 2.0 Library, Part 2, table `TPM_ALG_ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes; parsed so that it can be named when it is refused.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
    /// SM3, 32 bytes.
    Sm3_256,
}

impl HashAlgorithm {
    /// Every algorithm, in the order of the TPM's numbers.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Sm3_256];

    /// The algorithm with this `TPM_ALG_ID`, if it is one of ours.
    #[must_use]
    pub fn from_tpm_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.tpm_id() == id)
    }

    /// The `TPM_ALG_ID`.
    #[must_use]
    pub const fn tpm_id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
            Self::Sm3_256 => 0x0012,
        }
    }

    /// The name used on the Keylime wire: `sha1`, `sha256`, `sha384`, `sha512`, `sm3_256`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sm3_256 => "sm3_256",
        }
    }

    /// Size of a digest in bytes, 20 to 64.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sm3_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Whether its collision resistance reaches 128 bits, the floor for signatures and PCR banks.
    #[must_use]
    pub const fn meets_floor(self) -> bool {
        !matches!(self, Self::Sha1)
    }

    /// openssl's handle for the algorithm.
    #[must_use]
    pub fn message_digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
            Self::Sm3_256 => MessageDigest::sm3(),
        }
    }

    /// Hashes `data`.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the library in use has this algorithm switched off.
    pub fn digest(self, data: &[u8]) -> Result<Digest, CryptoUnavailable> {
        let bytes = openssl::hash::hash(self.message_digest(), data).map_err(unavailable("hash"))?;
        Ok(Digest::filled(self, &bytes))
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = UnknownAlgorithmName;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithmName> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| UnknownAlgorithmName::new("hash", name))
    }
}

/// A digest together with the algorithm that made it, so that digests of different banks never compare equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: HashAlgorithm,
    /// The digest, then zeros.
    bytes: [u8; DIGEST_BYTES_MAX],
}

impl Digest {
    /// Takes `bytes` as a digest of `algorithm`.
    ///
    /// # Errors
    /// [`DigestSize`] if there are not exactly [`HashAlgorithm::digest_bytes`] of them.
    pub fn new(algorithm: HashAlgorithm, bytes: &[u8]) -> Result<Self, DigestSize> {
        if bytes.len() != algorithm.digest_bytes() {
            return Err(DigestSize { algorithm, found: bytes.len() });
        }
        Ok(Self::filled(algorithm, bytes))
    }

    /// The digest of a register nothing was extended into since its reset to zero.
    #[must_use]
    pub const fn zero(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, bytes: [0; DIGEST_BYTES_MAX] }
    }

    /// The algorithm that made it.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest's bytes, as many as the algorithm has.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.algorithm.digest_bytes()).0
    }

    /// Copies `bytes`, which the caller knows to be of the algorithm's size.
    pub(crate) fn filled(algorithm: HashAlgorithm, bytes: &[u8]) -> Self {
        let mut digest = Self::zero(algorithm);
        for (to, from) in digest.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        digest
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

/// A digest has not the size its algorithm gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {algorithm} digest has {} bytes, found {found}", algorithm.digest_bytes())]
pub struct DigestSize {
    /// The algorithm the digest was said to be of.
    pub algorithm: HashAlgorithm,
    /// Bytes found.
    pub found: usize,
}

/// How a TPM signs.
///
/// Source: TPM 2.0 Library, Part 2, `TPMI_ALG_SIG_SCHEME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5.
    RsaSsa,
    /// RSASSA-PSS.
    RsaPss,
    /// ECDSA.
    Ecdsa,
}

impl SignatureScheme {
    /// Every scheme, in the order of the TPM's numbers.
    pub const ALL: [Self; 3] = [Self::RsaSsa, Self::RsaPss, Self::Ecdsa];

    /// The scheme with this `TPM_ALG_ID`, if it is one of ours.
    #[must_use]
    pub fn from_tpm_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.tpm_id() == id)
    }

    /// The `TPM_ALG_ID`.
    #[must_use]
    pub const fn tpm_id(self) -> u16 {
        match self {
            Self::RsaSsa => 0x0014,
            Self::RsaPss => 0x0016,
            Self::Ecdsa => 0x0018,
        }
    }

    /// The name used on the Keylime wire: `rsassa`, `rsapss`, `ecdsa`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSsa => "rsassa",
            Self::RsaPss => "rsapss",
            Self::Ecdsa => "ecdsa",
        }
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SignatureScheme {
    type Err = UnknownAlgorithmName;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithmName> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.name() == name)
            .ok_or_else(|| UnknownAlgorithmName::new("signature scheme", name))
    }
}

/// A key's algorithm and size, as Keylime names them (`enc_alg`), although it signs as often as it encrypts.
///
/// The short names `rsa` and `ecc` are aliases: they parse to [`Rsa2048`](Self::Rsa2048) and [`Ecc256`](Self::Ecc256).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncryptionAlgorithm {
    /// RSA with a 1024-bit modulus; named so that lists with it can be read, no key of it parses.
    Rsa1024,
    /// RSA with a 2048-bit modulus.
    Rsa2048,
    /// RSA with a 3072-bit modulus.
    Rsa3072,
    /// RSA with a 4096-bit modulus.
    Rsa4096,
    /// NIST P-192; named so that lists with it can be read, no key of it parses.
    Ecc192,
    /// NIST P-224; named so that lists with it can be read, no key of it parses.
    Ecc224,
    /// NIST P-256.
    Ecc256,
    /// NIST P-384.
    Ecc384,
    /// NIST P-521; named so that lists with it can be read, no key of it parses.
    Ecc521,
}

impl EncryptionAlgorithm {
    /// Whether it is RSA; the others are elliptic curves.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa1024 | Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// Bits of the modulus, or of the curve's field.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa1024 => 1024,
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            Self::Ecc192 => 192,
            Self::Ecc224 => 224,
            Self::Ecc256 => 256,
            Self::Ecc384 => 384,
            Self::Ecc521 => 521,
        }
    }

    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::Rsa1024,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ecc192,
        Self::Ecc224,
        Self::Ecc256,
        Self::Ecc384,
        Self::Ecc521,
    ];

    /// The full name with the size, such as `rsa2048` or `ecc384`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa1024 => "rsa1024",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::Ecc192 => "ecc192",
            Self::Ecc224 => "ecc224",
            Self::Ecc256 => "ecc256",
            Self::Ecc384 => "ecc384",
            Self::Ecc521 => "ecc521",
        }
    }

    /// The name spoken below API version 2.5, where the two default sizes go without their number.
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa",
            Self::Ecc256 => "ecc",
            other => other.name(),
        }
    }
}

impl fmt::Display for EncryptionAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EncryptionAlgorithm {
    type Err = UnknownAlgorithmName;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithmName> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name || algorithm.short_name() == name)
            .ok_or_else(|| UnknownAlgorithmName::new("key", name))
    }
}

/// A name that is none of ours; the peer may mean a real algorithm that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} algorithm {name:?}")]
pub struct UnknownAlgorithmName {
    /// What was being named.
    pub kind: &'static str,
    /// The name, cut to its first 32 characters.
    pub name: String,
}

impl UnknownAlgorithmName {
    fn new(kind: &'static str, name: &str) -> Self {
        Self { kind, name: name.chars().take(32).collect() }
    }
}

/// The longest digest of [`HashAlgorithm`]: SHA-512.
pub(crate) const DIGEST_BYTES_MAX: usize = 64;
