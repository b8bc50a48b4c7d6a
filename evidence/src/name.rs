//! A TPM object's name: the digest of its public area, by which the TPM itself refers to it.

use std::fmt;

use crate::algorithm::{DIGEST_BYTES_MAX, HashAlgorithm};
use crate::crypto::CryptoUnavailable;
use crate::reader::{MalformedStructure, Reader};

/// `nameAlg` (two bytes, big endian) followed by the digest of the `TPMT_PUBLIC`, 22 to 66 bytes.
///
/// Source: TPM 2.0 Library, Part 1, "Names".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TpmName {
    algorithm: HashAlgorithm,
    /// The name, then zeros.
    bytes: [u8; NAME_BYTES_MAX],
}

impl TpmName {
    /// The name of an object with this public area (`TPMT_PUBLIC`, without the size in front).
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if `algorithm` is switched off in the library.
    pub fn of_public_area(algorithm: HashAlgorithm, tpmt_public: &[u8]) -> Result<Self, CryptoUnavailable> {
        Ok(Self::from_parts(algorithm, algorithm.digest(tpmt_public)?.as_bytes()))
    }

    /// Reads a name from exactly its bytes, without a size in front.
    ///
    /// # Errors
    /// [`MalformedStructure`] for an unknown algorithm or a digest of another length.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedStructure> {
        let mut reader = Reader::new(bytes);
        let algorithm = reader.hash_algorithm("nameAlg")?;
        let digest = reader.take("name digest", algorithm.digest_bytes())?;
        reader.finish()?;
        Ok(Self::from_parts(algorithm, digest))
    }

    /// The qualified name of an object with this name under a parent with the qualified name `parent`.
    ///
    /// A quote carries its key's qualified name, which thus shows the hierarchy the key lives in; for a primary key
    /// the parent is the hierarchy's handle (see [`TpmName::qualified_primary`]).
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the name's algorithm is switched off in the library.
    ///
    /// Source: TPM 2.0 Library, Part 1, "Qualified Names".
    pub fn qualified_under(&self, parent: &Self) -> Result<Self, CryptoUnavailable> {
        self.qualified(parent.as_bytes())
    }

    /// The qualified name of a primary object of the endorsement hierarchy.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the name's algorithm is switched off in the library.
    pub fn qualified_primary(&self) -> Result<Self, CryptoUnavailable> {
        self.qualified(&ENDORSEMENT_HIERARCHY.to_be_bytes())
    }

    /// The algorithm of the digest in it, the object's `nameAlg`.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The whole name: algorithm, then digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(2 + self.algorithm.digest_bytes()).0
    }

    /// Reads a name with its size in front (`TPM2B_NAME`).
    pub(crate) fn read(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, MalformedStructure> {
        let offset = reader.offset();
        let size = usize::from(reader.u16(field)?);
        let algorithm = reader.hash_algorithm(field)?;
        if size != 2 + algorithm.digest_bytes() {
            let expected = "the algorithm's two bytes and a digest of its size";
            return Err(MalformedStructure::Size { field, offset, expected, found: size });
        }
        Ok(Self::from_parts(algorithm, reader.take(field, algorithm.digest_bytes())?))
    }

    fn qualified(&self, parent: &[u8]) -> Result<Self, CryptoUnavailable> {
        let digest = self.algorithm.digest(&[parent, self.as_bytes()].concat())?;
        Ok(Self::from_parts(self.algorithm, digest.as_bytes()))
    }

    fn from_parts(algorithm: HashAlgorithm, digest: &[u8]) -> Self {
        let mut bytes = [0; NAME_BYTES_MAX];
        let source = algorithm.tpm_id().to_be_bytes().into_iter().chain(digest.iter().copied());
        for (to, from) in bytes.iter_mut().zip(source) {
            *to = from;
        }
        Self { algorithm, bytes }
    }
}

impl fmt::Display for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmName({self})")
    }
}

/// The algorithm's two bytes and the longest digest.
const NAME_BYTES_MAX: usize = 2 + DIGEST_BYTES_MAX;
/// `TPM_RH_ENDORSEMENT`, whose bytes are the qualified name of the endorsement hierarchy.
const ENDORSEMENT_HIERARCHY: u32 = 0x4000_000b;
