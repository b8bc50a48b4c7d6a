//! A register as IMA extends it, and the hashing both need.

use openssl::hash::Hasher;
use openssl::sha::{Sha1, Sha256, Sha384, Sha512};

use crate::algorithm::{DIGEST_BYTES_MAX, Digest, HashAlgorithm};
use crate::crypto::{CryptoUnavailable, unavailable};

/// Hashes two parts one behind the other.
///
/// openssl's stateful low-level hashes take a fraction of what its one-shot functions take for such short inputs.
pub(crate) fn hash_parts(algorithm: HashAlgorithm, first: &[u8], second: &[u8]) -> Result<Digest, CryptoUnavailable> {
    macro_rules! stateful {
        ($hash:ty) => {{
            let mut hash = <$hash>::new();
            hash.update(first);
            hash.update(second);
            Digest::filled(algorithm, &hash.finish())
        }};
    }
    Ok(match algorithm {
        HashAlgorithm::Sha1 => stateful!(Sha1),
        HashAlgorithm::Sha256 => stateful!(Sha256),
        HashAlgorithm::Sha384 => stateful!(Sha384),
        HashAlgorithm::Sha512 => stateful!(Sha512),
        HashAlgorithm::Sm3_256 => {
            let mut hasher = Hasher::new(algorithm.message_digest()).map_err(unavailable("hash"))?;
            hasher.update(first).map_err(unavailable("hash"))?;
            hasher.update(second).map_err(unavailable("hash"))?;
            Digest::filled(algorithm, &hasher.finish().map_err(unavailable("hash"))?)
        }
    })
}

/// Hashes one part.
pub(crate) fn hash(algorithm: HashAlgorithm, data: &[u8]) -> Result<Digest, CryptoUnavailable> {
    hash_parts(algorithm, data, &[])
}

/// The register after `extension` was extended into it; any length is taken, as for looking at broken lists.
pub(crate) fn extend(register: &Digest, extension: &[u8]) -> Result<Digest, CryptoUnavailable> {
    hash_parts(register.algorithm(), register.as_bytes(), extension)
}

/// What the kernel extends for a violation: all ones, so that the list's zeros never replay.
pub(crate) fn violation_extension(algorithm: HashAlgorithm) -> &'static [u8] {
    ONES.split_at(algorithm.digest_bytes()).0
}

/// `digest` padded with zeros to the size of `algorithm`: what kernels before 5.8 extend into other banks than SHA-1.
pub(crate) fn padded(algorithm: HashAlgorithm, digest: &[u8]) -> Digest {
    Digest::filled(algorithm, digest.get(..algorithm.digest_bytes()).unwrap_or(digest))
}

const ONES: [u8; DIGEST_BYTES_MAX] = [0xff; DIGEST_BYTES_MAX];
