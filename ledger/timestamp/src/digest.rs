//! Digest algorithms, by their object identifiers.

use openssl::hash::{MessageDigest, hash};

use crate::der::{Der, MalformedDer, NULL, OID, SEQUENCE, element};

/// A digest that a time-stamp may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-1: good enough to name a certificate that is also found and verified otherwise, and for
    /// nothing else (RFC 5816 §2.2.1).
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// 1.3.14.3.2.26
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// 2.16.840.1.101.3.4.2.3
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

impl DigestAlgorithm {
    /// The algorithm of an AlgorithmIdentifier's content; nothing if it is none of these.
    pub(crate) fn read(identifier: &mut Der<'_>, field: &'static str) -> Result<Option<Self>, MalformedDer> {
        let oid = identifier.expect(field, OID)?.content;
        // Parameters are absent or NULL; RFC 5754 §2 demands that both be taken.
        if let Some(parameters) = identifier.optional(field, NULL)?
            && !parameters.content.is_empty()
        {
            return Err(MalformedDer::Value { field, expected: "a digest algorithm without parameters" });
        }
        Ok([Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|known| known.oid() == oid))
    }

    /// AlgorithmIdentifier with the parameters NULL, as authorities know it from openssl.
    pub(crate) fn identifier(self) -> Vec<u8> {
        element(SEQUENCE, &[element(OID, self.oid()), element(NULL, &[])].concat())
    }

    /// The digest of `bytes`; nothing if openssl does not do it.
    pub(crate) fn digest(self, bytes: &[u8]) -> Option<Vec<u8>> {
        hash(self.message_digest(), bytes).ok().map(|digest| digest.to_vec())
    }

    pub(crate) fn message_digest(self) -> MessageDigest {
        match self {
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    const fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha1 => SHA1,
            Self::Sha256 => SHA256,
            Self::Sha384 => SHA384,
            Self::Sha512 => SHA512,
        }
    }
}
