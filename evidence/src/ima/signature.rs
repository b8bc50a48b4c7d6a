//! A file's signature, as `security.ima` holds it and `ima-sig` entries carry it.
//!
//! ```text
//! type u8 | version u8 | hash u8 | key id u32 | size u16 | signature        (big endian)
//! ```
//!
//! Source: Linux, `struct signature_v2_hdr` in `security/integrity/integrity.h`.

use openssl::md::Md;
use openssl::pkey::{Id, PKeyRef, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;

use super::entry::{DigestKind, FileDigest};
use super::keyring::KeyId;
use super::register::hash_parts;
use crate::algorithm::{Digest, HashAlgorithm};
use crate::crypto::{CryptoUnavailable, unavailable};

/// A parsed signature; whether it is good is asked of a [`Keyring`](super::Keyring).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSignature<'a>(pub(super) SignedAttribute<'a>);

/// An attribute's header and the signature behind it, whatever is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedAttribute<'a> {
    version: Version,
    /// The first byte: what kind of extended attribute this is.
    pub(super) kind: u8,
    pub(super) hash: HashAlgorithm,
    pub(super) key_id: KeyId,
    bytes: &'a [u8],
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// The digest.
    V2,
    /// The hash of `struct ima_file_id`: attribute type, hash algorithm, the digest. Only this version binds
    /// whether the digest is one of the content, of fs-verity or of the attributes.
    V3,
}

/// Why an attribute is no signature that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableSignature {
    /// A signature of the file's attributes by EVM, which says nothing of the content by itself.
    #[error("it is EVM's portable signature, which an ima-sig entry does not carry whole")]
    Evm,
    /// The hash algorithm is none of ours, or not the one of the file's digest.
    #[error("it names hash algorithm {found}, which is unknown here or not that of the file's digest")]
    Hash {
        /// The kernel's number of it.
        found: u8,
    },
    /// The attribute type is none of a file's signature.
    #[error("it has attribute type {found}, expected 3 (content) or 6 (fs-verity)")]
    Kind {
        /// The type found.
        found: u8,
    },
    /// The attribute's length does not fit.
    #[error("it has {found} bytes, its header asks for {expected}")]
    Size {
        /// Bytes the header asks for, with itself.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The format version is none of ours.
    #[error("it has version {found}, expected 2 or 3")]
    Version {
        /// The version found.
        found: u8,
    },
}

impl<'a> SignedAttribute<'a> {
    /// Reads an attribute of any type that carries a signature, to its last byte.
    pub(super) fn parse(attribute: &'a [u8]) -> Result<Self, UnusableSignature> {
        let size = UnusableSignature::Size { expected: HEADER_BYTES, found: attribute.len() };
        let (header, bytes) = attribute.split_first_chunk::<HEADER_BYTES>().ok_or(size)?;
        let [kind, version, hash, id0, id1, id2, id3, size0, size1] = *header;
        let version = match version {
            2 => Version::V2,
            3 => Version::V3,
            found => return Err(UnusableSignature::Version { found }),
        };
        let expected = HEADER_BYTES + usize::from(u16::from_be_bytes([size0, size1]));
        if expected != attribute.len() {
            return Err(UnusableSignature::Size { expected, found: attribute.len() });
        }
        let hash = hash_of(hash).ok_or(UnusableSignature::Hash { found: hash })?;
        Ok(Self { version, kind, hash, key_id: KeyId(u32::from_be_bytes([id0, id1, id2, id3])), bytes })
    }

    /// Whether this is `key`'s signature of `digest`, which is of [`hash`](Self::hash).
    pub(super) fn is_valid(&self, key: &PKeyRef<Public>, digest: &[u8]) -> Result<bool, CryptoUnavailable> {
        let file_id: Digest;
        let signed = match self.version {
            Version::V2 => digest,
            Version::V3 => {
                file_id = hash_parts(self.hash, &[self.kind, number_of(self.hash)], digest)?;
                file_id.as_bytes()
            }
        };
        verify_digest(key, self.hash, signed, self.bytes)
    }
}

impl<'a> FileSignature<'a> {
    /// Reads the attribute of a file with this digest.
    ///
    /// # Errors
    /// [`UnusableSignature`] with what was found and expected.
    pub fn parse(attribute: &'a [u8], digest: &FileDigest<'_>) -> Result<Self, UnusableSignature> {
        match attribute.first() {
            Some(&(DIGSIG | VERITY_DIGSIG)) | None => (),
            Some(&EVM_PORTABLE_DIGSIG) => return Err(UnusableSignature::Evm),
            Some(&found) => return Err(UnusableSignature::Kind { found }),
        }
        let signed = SignedAttribute::parse(attribute)?;
        // The kernel takes version 2 for contents only: a bare digest would not say which kind it is.
        let right_kind = match digest.kind {
            DigestKind::Content => signed.kind == DIGSIG,
            DigestKind::Verity => signed.kind == VERITY_DIGSIG && signed.version == Version::V3,
        };
        if !right_kind {
            return Err(UnusableSignature::Kind { found: signed.kind });
        }
        if digest.hash_algorithm() != Some(signed.hash) {
            return Err(UnusableSignature::Hash { found: number_of(signed.hash) });
        }
        Ok(Self(signed))
    }

    /// The key it says it was made with.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.0.key_id
    }
}

/// Whether `signature` is `key`'s over `digest`: RSA with PKCS #1 padding, or ECDSA.
pub(super) fn verify_digest(
    key: &PKeyRef<Public>,
    hash: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<bool, CryptoUnavailable> {
    let prepare = || {
        let mut context = PkeyCtx::new(key)?;
        context.verify_init()?;
        if key.id() == Id::RSA {
            context.set_rsa_padding(Padding::PKCS1)?;
        }
        context.set_signature_md(match hash {
            HashAlgorithm::Sha1 => Md::sha1(),
            HashAlgorithm::Sha256 => Md::sha256(),
            HashAlgorithm::Sha384 => Md::sha384(),
            HashAlgorithm::Sha512 => Md::sha512(),
            HashAlgorithm::Sm3_256 => Md::sm3(),
        })?;
        Ok(context)
    };
    let mut context = prepare().map_err(unavailable("prepare a file signature's check"))?;
    // From here on every failure is a property of the signature.
    Ok(context.verify(digest, signature).unwrap_or(false))
}

/// The algorithm with this number of the kernel's `enum hash_algo`.
pub(super) const fn hash_of(number: u8) -> Option<HashAlgorithm> {
    Some(match number {
        2 => HashAlgorithm::Sha1,
        4 => HashAlgorithm::Sha256,
        5 => HashAlgorithm::Sha384,
        6 => HashAlgorithm::Sha512,
        17 => HashAlgorithm::Sm3_256,
        _ => return None,
    })
}

/// The kernel's number of an algorithm.
const fn number_of(hash: HashAlgorithm) -> u8 {
    match hash {
        HashAlgorithm::Sha1 => 2,
        HashAlgorithm::Sha256 => 4,
        HashAlgorithm::Sha384 => 5,
        HashAlgorithm::Sha512 => 6,
        HashAlgorithm::Sm3_256 => 17,
    }
}

/// `struct signature_v2_hdr`.
const HEADER_BYTES: usize = 9;
/// `EVM_IMA_XATTR_DIGSIG`.
pub(super) const DIGSIG: u8 = 3;
/// `EVM_XATTR_PORTABLE_DIGSIG`.
pub(super) const EVM_PORTABLE_DIGSIG: u8 = 5;
/// `IMA_VERITY_DIGSIG`.
const VERITY_DIGSIG: u8 = 6;
