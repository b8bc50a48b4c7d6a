//! `TPMT_SIGNATURE`: a TPM's signature, and its check under an attestation key.

use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use crate::algorithm::{HashAlgorithm, SignatureScheme};
use crate::crypto::{CryptoUnavailable, unavailable};
use crate::public::SigningScheme;
use crate::reader::{MalformedStructure, Reader};

#[cfg(test)]
mod tests;

/// A parsed signature in the form openssl checks: as it came for RSA, as DER for ECDSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    scheme: SigningScheme,
    /// Big-endian integer of the modulus' size (RSA), or a DER `ECDSA-Sig-Value`.
    encoded: Vec<u8>,
    /// The longer of `r` and `s` as they came, or the RSA signature's length; in bytes.
    bytes_max: usize,
}

impl Signature {
    /// Reads a `TPMT_SIGNATURE` of scheme RSASSA, RSAPSS or ECDSA, to its last byte.
    ///
    /// Shape: `sigAlg` u16, `hashAlg` u16, then one `TPM2B` (RSA) or two, r and s (ECDSA).
    ///
    /// # Errors
    /// [`MalformedStructure`] naming the field, its offset, what was expected and what was found.
    ///
    /// Source: TPM 2.0 Library, Part 2, `TPMT_SIGNATURE`.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedStructure> {
        let mut reader = Reader::new(bytes);
        let id = reader.u16("sigAlg")?;
        let scheme = SignatureScheme::from_tpm_id(id).ok_or(MalformedStructure::Value {
            field: "sigAlg",
            offset: 0,
            expected: "0x0014 (RSASSA), 0x0016 (RSAPSS) or 0x0018 (ECDSA)",
            found: u64::from(id),
        })?;
        let hash = reader.hash_algorithm("hashAlg")?;
        let (encoded, bytes_max) = match scheme {
            SignatureScheme::RsaSsa | SignatureScheme::RsaPss => {
                let signature = reader.sized("sig", (1, RSA_BYTES_MAX), "1 to 512")?;
                (signature.to_vec(), signature.len())
            }
            SignatureScheme::Ecdsa => {
                let r = reader.sized("signatureR", (1, COORDINATE_BYTES_MAX), "1 to 48")?;
                let s = reader.sized("signatureS", (1, COORDINATE_BYTES_MAX), "1 to 48")?;
                (ecdsa_der(r, s), r.len().max(s.len()))
            }
        };
        reader.finish()?;
        Ok(Self { scheme: SigningScheme { scheme, hash }, encoded, bytes_max })
    }

    /// The scheme and hash the signature says it was made with.
    #[must_use]
    pub const fn scheme(&self) -> SigningScheme {
        self.scheme
    }

    /// The hash of the signed bytes, and for a quote of the register values.
    #[must_use]
    pub const fn hash(&self) -> HashAlgorithm {
        self.scheme.hash
    }

    /// The signature in the form openssl checks: the big-endian integer for RSA, a DER `ECDSA-Sig-Value` for ECDSA.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Bytes of the RSA signature, or of the longer of `r` and `s`.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether this is a signature over `message` under `key`, whose kind the caller has matched with the scheme.
    pub(crate) fn is_valid(&self, key: &PKeyRef<Public>, message: &[u8]) -> Result<bool, CryptoUnavailable> {
        let mut verifier = self.verifier(key).map_err(unavailable("prepare a signature check"))?;
        // At this point every failure is a property of the bytes: openssl reports most as false, some as an error.
        Ok(verifier.verify_oneshot(&self.encoded, message).unwrap_or(false))
    }

    fn verifier<'a>(&self, key: &'a PKeyRef<Public>) -> Result<Verifier<'a>, ErrorStack> {
        let mut verifier = Verifier::new(self.scheme.hash.message_digest(), key)?;
        if self.scheme.scheme == SignatureScheme::RsaPss {
            verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
            // In a check this length means "whatever the signer took": TPMs use the largest salt that fits or, in
            // FIPS mode, one of the hash's size.
            verifier.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)?;
        }
        Ok(verifier)
    }
}

/// `SEQUENCE { INTEGER r, INTEGER s }`; at most 2 + 2 * (3 + 48) bytes, so every length is a single byte.
fn ecdsa_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(2 * (3 + COORDINATE_BYTES_MAX));
    push_integer(&mut body, r);
    push_integer(&mut body, s);
    let mut der = Vec::with_capacity(2 + body.len());
    der.push(0x30 /* SEQUENCE */);
    der.push(short_length(body.len()));
    der.extend_from_slice(&body);
    der
}

fn push_integer(out: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    // A set top bit would make it negative; zero is one zero byte.
    let padded = digits.first().is_none_or(|byte| byte & 0x80 != 0);
    out.push(0x02 /* INTEGER */);
    out.push(short_length(digits.len() + usize::from(padded)));
    if padded {
        out.push(0);
    }
    out.extend_from_slice(digits);
}

/// A DER length below 128, which the callers' size limits give.
fn short_length(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

/// RSA-4096.
const RSA_BYTES_MAX: usize = 512;
/// P-384.
const COORDINATE_BYTES_MAX: usize = 48;
