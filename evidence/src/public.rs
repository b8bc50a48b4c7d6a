//! `TPMT_PUBLIC`: a TPM key's public area, and which of them may serve as AK or EK.

use std::fmt;

use openssl::pkey::{self, PKey, PKeyRef};

use crate::algorithm::{EncryptionAlgorithm, HashAlgorithm};
use crate::crypto::{CryptoUnavailable, unavailable};
use crate::name::TpmName;
use crate::reader::{MalformedStructure, Reader};

pub use role::{Ak, AkRejected, Ek, EkRejected};

mod area;
mod role;
#[cfg(test)]
mod tests;

pub(crate) use area::Parameters;
pub use area::{EccCurve, KeyScheme, ObjectAttributes, SigningScheme, Symmetric};

/// A well-formed RSA (2048 to 4096 bits) or ECC (P-256, P-384) public area, with the bytes its name is made of.
///
/// Well-formed says nothing about which TPM holds the private half, or whether any TPM does.
#[derive(Clone)]
pub struct Public {
    /// The `TPMT_PUBLIC` as it came.
    tpmt: Vec<u8>,
    name: TpmName,
    attributes: ObjectAttributes,
    parameters: Parameters,
    key: PKey<pkey::Public>,
}

impl Public {
    /// Reads a `TPM2B_PUBLIC`: a 16-bit size and the public area, to the last byte.
    ///
    /// # Errors
    /// [`MalformedPublic`] naming the field that is wrong.
    pub fn from_tpm2b(bytes: &[u8]) -> Result<Self, MalformedPublic> {
        let mut reader = Reader::new(bytes);
        let tpmt = reader.sized("TPM2B_PUBLIC", (1, area::PUBLIC_BYTES_MAX), "1 to 1024")?;
        reader.finish()?;
        Self::from_tpmt(tpmt)
    }

    /// Reads a bare `TPMT_PUBLIC` to the last byte.
    ///
    /// # Errors
    /// [`MalformedPublic`] naming the field that is wrong; offsets count from the start of the `TPMT_PUBLIC`.
    pub fn from_tpmt(bytes: &[u8]) -> Result<Self, MalformedPublic> {
        if bytes.len() > area::PUBLIC_BYTES_MAX {
            let (field, found) = ("TPMT_PUBLIC", bytes.len());
            return Err(MalformedStructure::Size { field, offset: 0, expected: "at most 1024", found }.into());
        }
        let area = area::Area::parse(bytes)?;
        let key = area.key()?;
        Ok(Self {
            tpmt: bytes.to_vec(),
            name: TpmName::of_public_area(area.name_algorithm, bytes)?,
            attributes: area.attributes,
            parameters: area.parameters,
            key,
        })
    }

    /// The object's name, computed from the bytes as they came.
    #[must_use]
    pub const fn name(&self) -> &TpmName {
        &self.name
    }

    /// The object's attributes.
    #[must_use]
    pub const fn attributes(&self) -> ObjectAttributes {
        self.attributes
    }

    /// The `TPMT_PUBLIC` as it came.
    #[must_use]
    pub fn tpmt(&self) -> &[u8] {
        &self.tpmt
    }

    /// The `TPM2B_PUBLIC`: the same with its size in front.
    #[must_use]
    pub fn to_tpm2b(&self) -> Vec<u8> {
        // from_tpmt let at most PUBLIC_BYTES_MAX bytes in, so the size fits.
        let size = u16::try_from(self.tpmt.len()).unwrap_or(u16::MAX);
        [&size.to_be_bytes(), self.tpmt.as_slice()].concat()
    }

    /// The key as openssl handles it.
    #[must_use]
    pub fn key(&self) -> &PKeyRef<pkey::Public> {
        &self.key
    }

    /// The key as `SubjectPublicKeyInfo` in PEM, ending in a newline.
    ///
    /// # Errors
    /// [`CryptoUnavailable`] if the library cannot encode it.
    pub fn public_key_pem(&self) -> Result<String, CryptoUnavailable> {
        let pem = self.key.public_key_to_pem().map_err(unavailable("encode a public key"))?;
        Ok(String::from_utf8_lossy(&pem).into_owned())
    }

    /// The key's kind and size.
    #[must_use]
    pub const fn encryption_algorithm(&self) -> EncryptionAlgorithm {
        match self.parameters {
            Parameters::Rsa { key_bits: 3072, .. } => EncryptionAlgorithm::Rsa3072,
            Parameters::Rsa { key_bits: 4096, .. } => EncryptionAlgorithm::Rsa4096,
            Parameters::Rsa { .. } => EncryptionAlgorithm::Rsa2048,
            Parameters::Ecc { curve: EccCurve::P256, .. } => EncryptionAlgorithm::Ecc256,
            Parameters::Ecc { curve: EccCurve::P384, .. } => EncryptionAlgorithm::Ecc384,
        }
    }

    /// The key's kind and size as Keylime names it, such as `rsa2048`.
    #[must_use]
    pub const fn enc_alg_name(&self) -> &'static str {
        self.encryption_algorithm().name()
    }

    /// The key's fixed scheme, if it has one.
    #[must_use]
    pub const fn scheme(&self) -> KeyScheme {
        match self.parameters {
            Parameters::Rsa { scheme, .. } | Parameters::Ecc { scheme, .. } => scheme,
        }
    }

    /// The symmetric cipher a storage key protects its children with.
    #[must_use]
    pub const fn symmetric(&self) -> Symmetric {
        match self.parameters {
            Parameters::Rsa { symmetric, .. } | Parameters::Ecc { symmetric, .. } => symmetric,
        }
    }

    /// The algorithm of the object's name and, for a storage key, of what it protects.
    #[must_use]
    pub const fn name_algorithm(&self) -> HashAlgorithm {
        self.name.algorithm()
    }

    /// Size of this key's signatures in bytes, and whether it is exact (RSA) or a limit for `r` and `s` (ECDSA).
    pub(crate) const fn signature_bytes(&self) -> (usize, bool) {
        match self.parameters {
            Parameters::Rsa { key_bits, .. } => (key_bits as usize / 8, true),
            Parameters::Ecc { curve, .. } => (curve.coordinate_bytes(), false),
        }
    }

    pub(crate) const fn parameters(&self) -> Parameters {
        self.parameters
    }
}

/// Two public areas are equal when their bytes are.
impl PartialEq for Public {
    fn eq(&self, other: &Self) -> bool {
        self.tpmt == other.tpmt
    }
}

impl Eq for Public {}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Public")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Why bytes are no public area of a key that is supported.
#[derive(Debug, thiserror::Error)]
pub enum MalformedPublic {
    /// The bytes break the structure.
    #[error("not a TPM public area")]
    Structure(#[from] MalformedStructure),
    /// The modulus has not the size `keyBits` says, or is even.
    #[error("the modulus must be odd and have exactly {expected_bits} bits, found {found_bits}")]
    Modulus {
        /// `keyBits`.
        expected_bits: u16,
        /// Bits of the modulus found.
        found_bits: usize,
    },
    /// The point is not on the curve, or a coordinate is too large.
    #[error("the ECC point is not on {curve:?}")]
    Point {
        /// The curve named in the public area.
        curve: EccCurve,
    },
    /// The cryptographic library failed.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}
