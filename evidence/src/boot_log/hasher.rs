//! One bank's hash function, fetched once and used for every event.

use openssl::md::Md;
use openssl::md_ctx::MdCtx;

use crate::algorithm::{DIGEST_BYTES_MAX, Digest, HashAlgorithm};
use crate::crypto::{CryptoUnavailable, unavailable};

pub(crate) struct BankHasher {
    algorithm: HashAlgorithm,
    md: Md,
    context: MdCtx,
}

impl BankHasher {
    pub(crate) fn new(algorithm: HashAlgorithm) -> Result<Self, CryptoUnavailable> {
        let md = Md::fetch(None, openssl_name(algorithm), None).map_err(unavailable("fetch a hash function"))?;
        let context = MdCtx::new().map_err(unavailable("allocate a hash context"))?;
        Ok(Self { algorithm, md, context })
    }

    pub(crate) const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest of `first` and `second`, one after the other.
    pub(crate) fn hash(&mut self, first: &[u8], second: &[u8]) -> Result<Digest, CryptoUnavailable> {
        let mut bytes = [0; DIGEST_BYTES_MAX];
        let (out, _) = bytes.split_at_mut(self.algorithm.digest_bytes());
        let hashed = (|| {
            self.context.digest_init(&self.md)?;
            self.context.digest_update(first)?;
            self.context.digest_update(second)?;
            self.context.digest_final(out)
        })();
        hashed.map_err(unavailable("hash"))?;
        Ok(Digest::filled(self.algorithm, out))
    }

    /// The register's value after `digest` is extended into `value`.
    ///
    /// Source: TPM 2.0 Library, Part 1, "Extend of a PCR".
    pub(crate) fn extend(&mut self, value: &Digest, digest: &Digest) -> Result<Digest, CryptoUnavailable> {
        self.hash(value.as_bytes(), digest.as_bytes())
    }
}

const fn openssl_name(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Sha1 => "SHA1",
        HashAlgorithm::Sha256 => "SHA256",
        HashAlgorithm::Sha384 => "SHA384",
        HashAlgorithm::Sha512 => "SHA512",
        HashAlgorithm::Sm3_256 => "SM3",
    }
}
