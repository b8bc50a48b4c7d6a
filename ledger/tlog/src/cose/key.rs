//! Keys that sign receipts: ECDSA on P-256 (ES256) and Ed25519 (EdDSA).

use std::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::PointConversionForm;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::sha::sha256;
use openssl::sign;

use super::cbor::{BYTES, MAP, NEGATIVE, UNSIGNED, push_bytes, push_head};
use crate::hash::Hash;

/// Bytes of each half of an ES256 signature, and of each coordinate of a P-256 key.
const SCALAR_BYTES: usize = 32;

/// How a receipt is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519 (RFC 9053 §2.2).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 9053 §2.1).
    Es256,
}

impl Algorithm {
    /// The number in the header `alg`.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Es256 => -7,
        }
    }

    /// The algorithm of a number, if it is one of these.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            -8 => Some(Self::EdDsa),
            -7 => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A private key that signs receipts. openssl holds it and clears its memory; it is never shown.
///
/// It must not be a key that signs notes: one key serves one format.
pub struct ReceiptSigner {
    key: PKey<Private>,
    verifier: ReceiptVerifier,
}

/// A public key that verifies receipts.
#[derive(Clone)]
pub struct ReceiptVerifier {
    algorithm: Algorithm,
    key: PKey<Public>,
    key_id: Hash,
}

/// Why a key cannot sign or verify receipts. Never shows a private key.
#[derive(Debug, thiserror::Error)]
pub enum MalformedReceiptKey {
    /// Neither P-256 nor Ed25519.
    #[error("a receipt's key is ECDSA on P-256 or Ed25519; this one is neither")]
    Kind,
    /// Private and public side do not belong together.
    #[error("the private and the public side of the receipt's key do not belong together")]
    Mismatch,
    /// Not a key in PEM.
    #[error("the receipt's key is not an unencrypted PEM key")]
    Pem {
        /// openssl's reasons.
        source: ErrorStack,
    },
    /// openssl does not give the public key.
    #[error("the public side of the receipt's key cannot be used")]
    Public {
        /// openssl's reasons.
        source: ErrorStack,
    },
}

/// openssl could not sign.
#[derive(Debug, thiserror::Error)]
#[error("signing a receipt failed")]
pub struct ReceiptSigningFailed {
    /// openssl's reasons.
    pub source: ErrorStack,
}

impl ReceiptSigner {
    /// Takes a P-256 or Ed25519 key; its kind decides the algorithm.
    ///
    /// # Errors
    /// [`MalformedReceiptKey`].
    pub fn new(key: PKey<Private>) -> Result<Self, MalformedReceiptKey> {
        let verifier = ReceiptVerifier::of(&key)?;
        let signer = Self { key, verifier };
        // A P-256 key file holds the public side as well; altered, it would verify nothing.
        let trial = signer.sign(b"").map_err(|failed| MalformedReceiptKey::Public { source: failed.source })?;
        if signer.verifier.verify(b"", &trial) { Ok(signer) } else { Err(MalformedReceiptKey::Mismatch) }
    }

    /// Reads a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`MalformedReceiptKey`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, MalformedReceiptKey> {
        let key = PKey::private_key_from_pem(pem).map_err(|source| MalformedReceiptKey::Pem { source })?;
        Self::new(key)
    }

    /// The public side, to publish and to verify with.
    #[must_use]
    pub const fn verifier(&self) -> &ReceiptVerifier {
        &self.verifier
    }

    /// A signature as COSE has it. For ECDSA openssl draws the nonce.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ReceiptSigningFailed> {
        let signed = match self.verifier.algorithm {
            Algorithm::EdDsa => {
                sign::Signer::new_without_digest(&self.key).and_then(|mut signer| signer.sign_oneshot_to_vec(message))
            }
            Algorithm::Es256 => sign_es256(&self.key, message),
        };
        signed.map_err(|source| ReceiptSigningFailed { source })
    }
}

impl fmt::Debug for ReceiptSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptSigner({:?})", self.verifier)
    }
}

impl ReceiptVerifier {
    /// Reads a public key in PEM (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// [`MalformedReceiptKey`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, MalformedReceiptKey> {
        let key = PKey::public_key_from_pem(pem).map_err(|source| MalformedReceiptKey::Pem { source })?;
        Self::of(&key)
    }

    fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, MalformedReceiptKey> {
        let unusable = |source| MalformedReceiptKey::Public { source };
        let (algorithm, key_id) = match key.id() {
            Id::ED25519 => (Algorithm::EdDsa, thumbprint_ed25519(&key.raw_public_key().map_err(unusable)?)),
            Id::EC => {
                let point = p256_point(key).map_err(unusable)?.ok_or(MalformedReceiptKey::Kind)?;
                (Algorithm::Es256, thumbprint_p256(&point))
            }
            _ => return Err(MalformedReceiptKey::Kind),
        };
        let key = key.public_key_to_der().and_then(|der| PKey::public_key_from_der(&der)).map_err(unusable)?;
        Ok(Self { algorithm, key, key_id })
    }

    /// What it verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The COSE Key Thumbprint (RFC 9679) with SHA-256, which our receipts carry as `kid`.
    #[must_use]
    pub const fn key_id(&self) -> &Hash {
        &self.key_id
    }

    /// SubjectPublicKeyInfo in PEM, as published.
    ///
    /// # Errors
    /// [`MalformedReceiptKey::Public`] if openssl does not write it.
    pub fn to_pem(&self) -> Result<String, MalformedReceiptKey> {
        let pem = self.key.public_key_to_pem().map_err(|source| MalformedReceiptKey::Public { source })?;
        Ok(String::from_utf8_lossy(&pem).into_owned())
    }

    /// openssl's own failures count as "not genuine".
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self.algorithm {
            Algorithm::EdDsa => sign::Verifier::new_without_digest(&self.key)
                .and_then(|mut verifier| verifier.verify_oneshot(signature, message)),
            Algorithm::Es256 => verify_es256(&self.key, message, signature),
        };
        verified.unwrap_or(false)
    }
}

impl fmt::Debug for ReceiptVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptVerifier({:?}, {})", self.algorithm, self.key_id)
    }
}

/// r ‖ s, each of 32 bytes.
fn sign_es256(key: &PKey<Private>, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let key = key.ec_key()?;
    let signature = EcdsaSig::sign(&sha256(message), &key)?;
    let width = i32::try_from(SCALAR_BYTES).unwrap_or(i32::MAX);
    Ok([signature.r().to_vec_padded(width)?, signature.s().to_vec_padded(width)?].concat())
}

fn verify_es256(key: &PKey<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    // A signature has one length only, or it would have several forms.
    if signature.len() != 2 * SCALAR_BYTES {
        return Ok(false);
    }
    let (r, s) = signature.split_at(SCALAR_BYTES);
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    let key = key.ec_key()?;
    signature.verify(&sha256(message), &key)
}

/// 0x04 ‖ x ‖ y; nothing if the key is on another curve.
fn p256_point<T: HasPublic>(key: &PKeyRef<T>) -> Result<Option<Vec<u8>>, ErrorStack> {
    let key = key.ec_key()?;
    if key.group().curve_name() != Some(Nid::X9_62_PRIME256V1) {
        return Ok(None);
    }
    let mut context = BigNumContext::new()?;
    let form = PointConversionForm::UNCOMPRESSED;
    key.public_key().to_bytes(key.group(), form, &mut context).map(Some)
}

/// SHA-256 of `{ 1: 2, -1: 1, -2: x, -3: y }`. Source: RFC 9679 §4.2.
fn thumbprint_p256(point: &[u8]) -> Hash {
    let coordinates = point.split_first().map_or(&[][..], |(_, coordinates)| coordinates);
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let mut key = Vec::new();
    push_head(&mut key, MAP, 4);
    for (major, value) in [(UNSIGNED, 1), (UNSIGNED, 2), (NEGATIVE, 0), (UNSIGNED, 1)] {
        push_head(&mut key, major, value);
    }
    push_head(&mut key, NEGATIVE, 1);
    push_bytes(&mut key, x);
    push_head(&mut key, NEGATIVE, 2);
    push_bytes(&mut key, y);
    Hash::digest(&key)
}

/// SHA-256 of `{ 1: 1, -1: 6, -2: x }`. Source: RFC 9679 §4.1.
fn thumbprint_ed25519(public: &[u8]) -> Hash {
    let mut key = Vec::new();
    push_head(&mut key, MAP, 3);
    for (major, value) in [(UNSIGNED, 1), (UNSIGNED, 1), (NEGATIVE, 0), (UNSIGNED, 6), (NEGATIVE, 1)] {
        push_head(&mut key, major, value);
    }
    push_head(&mut key, BYTES, public.len() as u64);
    key.extend_from_slice(public);
    Hash::digest(&key)
}
