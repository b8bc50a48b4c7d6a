//! The fields of a `TPMT_PUBLIC`.

use std::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;

use super::MalformedPublic;
use crate::algorithm::{DIGEST_BYTES_MAX, HashAlgorithm, SignatureScheme};
use crate::crypto::unavailable;
use crate::reader::{MalformedStructure, Reader};

/// A public area's fields, borrowed from its bytes.
pub(super) struct Area<'a> {
    pub(super) name_algorithm: HashAlgorithm,
    pub(super) attributes: ObjectAttributes,
    pub(super) parameters: Parameters,
    unique: Unique<'a>,
}

enum Unique<'a> {
    Modulus(&'a [u8]),
    Point { x: &'a [u8], y: &'a [u8] },
}

impl<'a> Area<'a> {
    /// type, nameAlg, objectAttributes, authPolicy, parameters, unique: TPM 2.0 Library, Part 2, `TPMT_PUBLIC`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, MalformedStructure> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16("type")?;
        let name_algorithm = reader.hash_algorithm("nameAlg")?;
        let attributes = ObjectAttributes::read(&mut reader)?;
        reader.sized("authPolicy", (0, DIGEST_BYTES_MAX), "at most 64 (TPM2B_DIGEST)")?;
        let (parameters, unique) = match kind {
            ALG_RSA => read_rsa(&mut reader)?,
            ALG_ECC => read_ecc(&mut reader)?,
            other => {
                let (expected, found) = ("0x0001 (RSA) or 0x0023 (ECC)", u64::from(other));
                return Err(MalformedStructure::Value { field: "type", offset: 0, expected, found });
            }
        };
        reader.finish()?;
        Ok(Self { name_algorithm, attributes, parameters, unique })
    }

    /// The key in openssl's form, once its numbers make sense.
    pub(super) fn key(&self) -> Result<PKey<Public>, MalformedPublic> {
        match (self.parameters, &self.unique) {
            (Parameters::Rsa { key_bits, exponent, .. }, Unique::Modulus(modulus)) => {
                rsa_key(key_bits, exponent, modulus)
            }
            (Parameters::Ecc { curve, .. }, Unique::Point { x, y }) => ecc_key(curve, x, y),
            (Parameters::Rsa { key_bits, .. }, Unique::Point { .. }) => {
                Err(MalformedPublic::Modulus { expected_bits: key_bits, found_bits: 0 })
            }
            (Parameters::Ecc { curve, .. }, Unique::Modulus(_)) => Err(MalformedPublic::Point { curve }),
        }
    }
}

fn rsa_key(key_bits: u16, exponent: u32, modulus: &[u8]) -> Result<PKey<Public>, MalformedPublic> {
    let leading = modulus.first().map_or(8, |byte| byte.leading_zeros() as usize);
    let found_bits = (modulus.len() * 8).saturating_sub(leading);
    let odd = modulus.last().is_some_and(|byte| byte % 2 == 1);
    // A shorter modulus would be a weaker key than the area claims; an even one is no product of two odd primes.
    if found_bits != usize::from(key_bits) || !odd {
        return Err(MalformedPublic::Modulus { expected_bits: key_bits, found_bits });
    }
    let number = || {
        let modulus = BigNum::from_slice(modulus)?;
        let exponent = BigNum::from_u32(exponent)?;
        PKey::from_rsa(Rsa::from_public_components(modulus, exponent)?)
    };
    Ok(number().map_err(unavailable("make an RSA key"))?)
}

fn ecc_key(curve: EccCurve, x: &[u8], y: &[u8]) -> Result<PKey<Public>, MalformedPublic> {
    let numbers = || {
        let group = EcGroup::from_curve_name(curve.nid())?;
        Ok((group, BigNum::from_slice(x)?, BigNum::from_slice(y)?, BigNumContext::new()?))
    };
    let (group, x, y, _context) = numbers().map_err(unavailable("make an ECC key"))?;
    // Refuses points off the curve (invalid-curve attacks on the ECDH of make credential).
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y)
        .and_then(|key| key.check_key().map(|()| key))
        .map_err(|_not_on_curve| MalformedPublic::Point { curve })?;
    Ok(PKey::from_ec_key(key).map_err(unavailable("make an ECC key"))?)
}

/// symmetric, scheme, keyBits, exponent; then the modulus: `TPMS_RSA_PARMS`, `TPM2B_PUBLIC_KEY_RSA`.
fn read_rsa<'a>(reader: &mut Reader<'a>) -> Result<(Parameters, Unique<'a>), MalformedStructure> {
    let symmetric = Symmetric::read(reader)?;
    let scheme = KeyScheme::read(reader)?;
    let offset = reader.offset();
    let key_bits = reader.u16("keyBits")?;
    if !matches!(key_bits, 2048 | 3072 | 4096) {
        let (expected, found) = ("2048, 3072 or 4096", u64::from(key_bits));
        return Err(MalformedStructure::Value { field: "keyBits", offset, expected, found });
    }
    let offset = reader.offset();
    let exponent = match reader.u32("exponent")? {
        0 => DEFAULT_EXPONENT,
        other if other >= DEFAULT_EXPONENT && other % 2 == 1 => other,
        other => {
            let (expected, found) = ("0 (for 65537) or an odd number from 65537 up", u64::from(other));
            return Err(MalformedStructure::Value { field: "exponent", offset, expected, found });
        }
    };
    let modulus = reader.sized("modulus", (1, MODULUS_BYTES_MAX), "1 to 512")?;
    Ok((Parameters::Rsa { symmetric, scheme, key_bits, exponent }, Unique::Modulus(modulus)))
}

/// symmetric, scheme, curve, kdf; then the point: `TPMS_ECC_PARMS`, `TPMS_ECC_POINT`.
fn read_ecc<'a>(reader: &mut Reader<'a>) -> Result<(Parameters, Unique<'a>), MalformedStructure> {
    let symmetric = Symmetric::read(reader)?;
    let scheme = KeyScheme::read(reader)?;
    let offset = reader.offset();
    let curve = match reader.u16("curveID")? {
        0x0003 => EccCurve::P256,
        0x0004 => EccCurve::P384,
        other => {
            let (expected, found) = ("0x0003 (P-256) or 0x0004 (P-384)", u64::from(other));
            return Err(MalformedStructure::Value { field: "curveID", offset, expected, found });
        }
    };
    let offset = reader.offset();
    match reader.u16("kdf")? {
        ALG_NULL => {}
        // TPMT_KDF_SCHEME: MGF1, KDF1_SP800_56A, KDF2, KDF1_SP800_108, each with a hash. "Not used" says Part 2.
        0x0007 | 0x0020 | 0x0021 | 0x0022 => {
            reader.hash_algorithm("kdf hash")?;
        }
        other => {
            let (expected, found) = ("a key derivation function or 0x0010 (null)", u64::from(other));
            return Err(MalformedStructure::Value { field: "kdf", offset, expected, found });
        }
    }
    let x = reader.sized("x", (1, curve.coordinate_bytes()), "1 to the curve's coordinate size")?;
    let y = reader.sized("y", (1, curve.coordinate_bytes()), "1 to the curve's coordinate size")?;
    Ok((Parameters::Ecc { symmetric, scheme, curve }, Unique::Point { x, y }))
}

/// The algorithm-specific part of a public area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameters {
    Ecc { symmetric: Symmetric, scheme: KeyScheme, curve: EccCurve },
    Rsa { symmetric: Symmetric, scheme: KeyScheme, key_bits: u16, exponent: u32 },
}

/// A NIST curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EccCurve {
    /// NIST P-256 (secp256r1).
    P256,
    /// NIST P-384 (secp384r1).
    P384,
}

impl EccCurve {
    /// Size of one coordinate in bytes, also of `r` and `s` in a signature.
    #[must_use]
    pub const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    pub(crate) const fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
        }
    }
}

/// `TPMA_OBJECT`: what the TPM lets the object do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectAttributes(u32);

impl ObjectAttributes {
    /// The object cannot leave its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// The object cannot be moved to another parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// The TPM made the private part itself, from its own random source.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// The object may be used with a password or HMAC.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// Administration needs the policy.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Failed authorisations do not count against the dictionary-attack limit.
    pub const NO_DA: Self = Self(1 << 10);
    /// The key works on structures of the TPM's own making only.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// The key decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// The key signs.
    pub const SIGN: Self = Self(1 << 18);

    /// The attributes with these bits, without the check for reserved ones that parsing makes.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as the TPM numbers them.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `wanted` are set.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let offset = reader.offset();
        let bits = reader.u32("objectAttributes")?;
        if bits & RESERVED_ATTRIBUTES != 0 {
            let (field, found) = ("objectAttributes", u64::from(bits));
            return Err(MalformedStructure::Value { field, offset, expected: "no reserved bit set", found });
        }
        Ok(Self(bits))
    }
}

impl fmt::Debug for ObjectAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectAttributes({:#010x})", self.0)
    }
}

/// The scheme a key is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyScheme {
    /// No scheme, or one for encryption or key exchange: the key makes no signature we read.
    NotSigning,
    /// A signature scheme that is not supported (ECDAA, SM2, EC-Schnorr), by its `TPM_ALG_ID`.
    OtherSigning(u16),
    /// Signs with exactly this.
    Signing(SigningScheme),
}

/// A signature scheme and its hash, `TPMT_SIG_SCHEME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SigningScheme {
    /// The scheme.
    pub scheme: SignatureScheme,
    /// The hash of what is signed.
    pub hash: HashAlgorithm,
}

impl fmt::Display for SigningScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.scheme, self.hash)
    }
}

impl KeyScheme {
    /// `TPMT_RSA_SCHEME` or `TPMT_ECC_SCHEME`: an algorithm, and a hash for all but NULL and RSAES.
    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let offset = reader.offset();
        let id = reader.u16("scheme")?;
        if let Some(scheme) = SignatureScheme::from_tpm_id(id) {
            let hash = reader.hash_algorithm("scheme hash")?;
            return Ok(Self::Signing(SigningScheme { scheme, hash }));
        }
        match id {
            ALG_NULL | 0x0015 /* RSAES */ => Ok(Self::NotSigning),
            0x0017 /* OAEP */ | 0x0019 /* ECDH */ | 0x001d /* ECMQV */ => {
                reader.hash_algorithm("scheme hash")?;
                Ok(Self::NotSigning)
            }
            0x001b /* SM2 */ | 0x001c /* ECSCHNORR */ => {
                reader.hash_algorithm("scheme hash")?;
                Ok(Self::OtherSigning(id))
            }
            0x001a /* ECDAA */ => {
                reader.hash_algorithm("scheme hash")?;
                reader.u16("ECDAA count")?;
                Ok(Self::OtherSigning(id))
            }
            other => {
                let (expected, found) = ("an asymmetric scheme or 0x0010 (null)", u64::from(other));
                Err(MalformedStructure::Value { field: "scheme", offset, expected, found })
            }
        }
    }
}

/// `TPMT_SYM_DEF_OBJECT`: the cipher of a storage key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symmetric {
    /// AES in CFB mode, the only mode for storage keys.
    AesCfb {
        /// 128, 192 or 256.
        key_bits: u16,
    },
    /// None: not a storage key.
    Null,
    /// Another cipher or mode, by its `TPM_ALG_ID`s.
    Other {
        /// The cipher.
        algorithm: u16,
        /// Size of its key.
        key_bits: u16,
        /// The block mode.
        mode: u16,
    },
}

impl Symmetric {
    fn read(reader: &mut Reader<'_>) -> Result<Self, MalformedStructure> {
        let offset = reader.offset();
        let algorithm = reader.u16("symmetric")?;
        match algorithm {
            ALG_NULL => return Ok(Self::Null),
            ALG_AES | 0x0003 /* TDES */ | 0x0013 /* SM4 */ | 0x0026 /* CAMELLIA */ => {}
            other => {
                let (expected, found) = ("a block cipher or 0x0010 (null)", u64::from(other));
                return Err(MalformedStructure::Value { field: "symmetric", offset, expected, found });
            }
        }
        let key_bits = reader.u16("symmetric keyBits")?;
        let mode = reader.u16("symmetric mode")?;
        Ok(match (algorithm, mode, key_bits) {
            (ALG_AES, ALG_CFB, 128 | 192 | 256) => Self::AesCfb { key_bits },
            _ => Self::Other { algorithm, key_bits, mode },
        })
    }
}

/// `TPM_ALG_RSA`.
const ALG_RSA: u16 = 0x0001;
/// `TPM_ALG_AES`.
const ALG_AES: u16 = 0x0006;
/// `TPM_ALG_NULL`.
const ALG_NULL: u16 = 0x0010;
/// `TPM_ALG_ECC`.
const ALG_ECC: u16 = 0x0023;
/// `TPM_ALG_CFB`.
const ALG_CFB: u16 = 0x0043;
/// What an exponent of zero stands for.
const DEFAULT_EXPONENT: u32 = 65_537;
/// RSA-4096.
const MODULUS_BYTES_MAX: usize = 512;
/// The largest area we read is an RSA-4096 key: 12 fixed bytes, a 66-byte policy, 16 bytes of parameters and 514 of
/// modulus make 608; rounded up to a power of two.
pub(super) const PUBLIC_BYTES_MAX: usize = 1024;
/// Bits of `TPMA_OBJECT` that no version of the specification up to 1.83 gives a meaning: 0, 3, 12 to 15, 20 to 31.
const RESERVED_ATTRIBUTES: u32 = 0xfff0_f009;
