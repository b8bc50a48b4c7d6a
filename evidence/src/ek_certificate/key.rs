//! A certificate's key and signature algorithm.

use openssl::bn::BigNum;
use openssl::pkey::{Id, PKey, PKeyRef, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Verifier};

use super::certificate::MalformedCertificate;
use crate::algorithm::HashAlgorithm;
use crate::crypto::{CryptoUnavailable, unavailable};
use crate::der::{BIT_STRING, CONTEXT_0, Der, Element, INTEGER, MalformedDer, OID, SEQUENCE};

/// The key of a `SubjectPublicKeyInfo`, and whether it was named RSAES-OAEP.
///
/// RSA keys are read number by number whatever they are named, since openssl makes no verification key of one that is
/// named RSAES-OAEP; all others are openssl's.
pub(super) fn public_key(spki: &Element<'_>) -> Result<(PKey<Public>, bool), MalformedCertificate> {
    let mut fields = spki.inside();
    let algorithm = fields.expect("SubjectPublicKeyInfo algorithm", SEQUENCE)?;
    let bits = whole_bytes("subjectPublicKey", &fields.expect("subjectPublicKey", BIT_STRING)?)?;
    let oid = algorithm.inside().expect("key algorithm", OID)?.content;
    if !matches!(oid, OID_RSA | OID_RSAES_OAEP | OID_RSASSA_PSS) {
        let key = PKey::public_key_from_der(spki.whole);
        return Ok((key.map_err(|source| MalformedCertificate::Key { source })?, false));
    }
    let mut numbers = Der::new(bits).expect("RSAPublicKey", SEQUENCE)?.inside();
    let modulus = numbers.expect("modulus", INTEGER)?.content;
    let exponent = numbers.expect("publicExponent", INTEGER)?.content;
    let key = || {
        let rsa = Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?)?;
        PKey::from_rsa(rsa)
    };
    Ok((key().map_err(|source| MalformedCertificate::Key { source })?, oid == OID_RSAES_OAEP))
}

/// The content of a `BIT STRING` of whole bytes, as keys and signatures are.
pub(super) fn whole_bytes<'a>(field: &'static str, element: &Element<'a>) -> Result<&'a [u8], MalformedCertificate> {
    match element.content.split_first() {
        Some((0, bytes)) => Ok(bytes),
        unused => Err(MalformedCertificate::UnusedBits { field, found: unused.map(|(count, _)| *count) }),
    }
}

/// How a certificate is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CertificateSignature {
    kind: Kind,
    pub(super) hash: HashAlgorithm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ecdsa,
    Rsa,
    RsaPss,
}

impl CertificateSignature {
    /// Reads an `AlgorithmIdentifier`; nothing if it is one that is not supported.
    pub(super) fn read(algorithm: &Element<'_>) -> Result<Option<Self>, MalformedDer> {
        let mut fields = algorithm.inside();
        let oid = fields.expect("signature algorithm", OID)?.content;
        let known = |kind, hash| Ok(Some(Self { kind, hash }));
        match oid {
            // 1.2.840.113549.1.1.{5,11,12,13}
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5] => known(Kind::Rsa, HashAlgorithm::Sha1),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11] => known(Kind::Rsa, HashAlgorithm::Sha256),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] => known(Kind::Rsa, HashAlgorithm::Sha384),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] => known(Kind::Rsa, HashAlgorithm::Sha512),
            OID_RSASSA_PSS => Ok(pss_hash(&mut fields)?.map(|hash| Self { kind: Kind::RsaPss, hash })),
            // 1.2.840.10045.4.1 and 1.2.840.10045.4.3.{2,3,4}
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => known(Kind::Ecdsa, HashAlgorithm::Sha1),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => known(Kind::Ecdsa, HashAlgorithm::Sha256),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => known(Kind::Ecdsa, HashAlgorithm::Sha384),
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => known(Kind::Ecdsa, HashAlgorithm::Sha512),
            _ => Ok(None),
        }
    }

    /// Whether `signature` is one of `key` over `message`; false for a key of another kind.
    pub(super) fn is_valid(
        self,
        key: &PKeyRef<Public>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, CryptoUnavailable> {
        let wanted = if self.kind == Kind::Ecdsa { Id::EC } else { Id::RSA };
        if key.id() != wanted {
            return Ok(false);
        }
        let prepare = || {
            let mut verifier = Verifier::new(self.hash.message_digest(), key)?;
            if self.kind == Kind::RsaPss {
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)?;
            }
            Ok(verifier)
        };
        let mut verifier = prepare().map_err(unavailable("prepare a certificate's signature check"))?;
        // From here on every failure is a property of the certificate.
        Ok(verifier.verify_oneshot(signature, message).unwrap_or(false))
    }
}

/// The hash in `RSASSA-PSS-params`: SHA-1 if it is left out.
fn pss_hash(fields: &mut Der<'_>) -> Result<Option<HashAlgorithm>, MalformedDer> {
    let Some(parameters) = fields.optional("RSASSA-PSS parameters", SEQUENCE)? else {
        return Ok(Some(HashAlgorithm::Sha1));
    };
    let Some(hash) = parameters.inside().optional("PSS hash", CONTEXT_0)? else {
        return Ok(Some(HashAlgorithm::Sha1));
    };
    let oid = hash.inside().expect("PSS hash", SEQUENCE)?.inside().expect("PSS hash", OID)?.content;
    // 2.16.840.1.101.3.4.2.{1,2,3}
    Ok(match oid {
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(HashAlgorithm::Sha256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(HashAlgorithm::Sha384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(HashAlgorithm::Sha512),
        _ => None,
    })
}

/// 1.2.840.113549.1.1.1, rsaEncryption.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// 1.2.840.113549.1.1.7, RSAES-OAEP: what early EK certificates and their issuers name their keys.
const OID_RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
/// 1.2.840.113549.1.1.10, RSASSA-PSS.
const OID_RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
