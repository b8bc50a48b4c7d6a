//! One X.509 certificate, taken apart by hand.

use std::fmt::{self, Write};
use std::ops::Range;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, PKeyRef, Public};

use super::key::{CertificateSignature, public_key, whole_bytes};
use super::{pem, time};
use crate::algorithm::Digest;
use crate::algorithm::HashAlgorithm;
use crate::crypto::CryptoUnavailable;
use crate::der::{
    BIT_STRING, BOOLEAN, CONTEXT_0, CONTEXT_3, Der, Element, GENERALIZED_TIME, INTEGER, MalformedDer, OCTET_STRING,
    OID, SEQUENCE, SET, UTC_TIME,
};

/// A well-formed X.509 certificate; nobody's word yet.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    /// What is signed, as a part of `der`.
    signed: Range<usize>,
    serial: String,
    issuer_der: Vec<u8>,
    subject_der: Vec<u8>,
    issuer: String,
    subject: String,
    not_before: i64,
    not_after: i64,
    key: PKey<Public>,
    extensions: Extensions,
    signature_algorithm: Option<CertificateSignature>,
    signature: Vec<u8>,
    irregularities: Vec<Irregularity>,
    sha256: Digest,
}

impl Certificate {
    /// The certificate's DER, without header and padding.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub const fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// The subject, for people to read; empty for most EK certificates.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer, for people to read.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The serial number's bytes in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// First second of validity, since 1970.
    #[must_use]
    pub const fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second of validity, since 1970.
    #[must_use]
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The certified key.
    #[must_use]
    pub fn public_key(&self) -> &PKeyRef<Public> {
        &self.key
    }

    /// What is peculiar about the certificate and was tolerated.
    #[must_use]
    pub fn irregularities(&self) -> &[Irregularity] {
        &self.irregularities
    }

    pub(super) fn parse_first(bytes: &[u8]) -> Result<Self, MalformedCertificate> {
        if bytes.len() > INPUT_BYTES_MAX {
            return Err(MalformedCertificate::TooLong { max: INPUT_BYTES_MAX, found: bytes.len() });
        }
        Self::from_der(pem::unwrap_first(bytes)?)
    }

    /// All certificates of PEM, or the one of DER; at least one, at most `max`.
    pub(super) fn parse_all(bytes: &[u8], max: usize) -> Result<Vec<Self>, MalformedCertificate> {
        pem::unwrap_all(bytes, max)?.into_iter().map(Self::from_der).collect()
    }

    /// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }: RFC 5280 §4.1.
    fn from_der(unwrapped: pem::Unwrapped) -> Result<Self, MalformedCertificate> {
        let pem::Unwrapped { der, mut irregularities } = unwrapped;
        let mut fields = Der::new(&der).expect("Certificate", SEQUENCE)?.inside();
        let start = fields.offset();
        let tbs = fields.expect("TBSCertificate", SEQUENCE)?;
        let signed = start..fields.offset();
        let algorithm = fields.expect("signatureAlgorithm", SEQUENCE)?;
        let signature = whole_bytes("signatureValue", &fields.expect("signatureValue", BIT_STRING)?)?.to_vec();
        fields.finish("Certificate")?;

        let tbs = Tbs::read(&tbs)?;
        // The signed copy of the algorithm guards the unsigned one.
        if tbs.algorithm.whole != algorithm.whole {
            return Err(MalformedCertificate::AlgorithmsDiffer);
        }
        let (key, named_oaep) = public_key(&tbs.spki)?;
        if named_oaep {
            irregularities.push(Irregularity::RsaOaepKey);
        }
        Ok(Self {
            signed,
            serial: tbs.serial.content.iter().map(|byte| format!("{byte:02x}")).collect(),
            issuer_der: tbs.issuer.whole.to_vec(),
            subject_der: tbs.subject.whole.to_vec(),
            issuer: name_text(&tbs.issuer)?,
            subject: name_text(&tbs.subject)?,
            not_before: tbs.not_before,
            not_after: tbs.not_after,
            key,
            extensions: tbs.extensions,
            signature_algorithm: CertificateSignature::read(&algorithm)?,
            signature,
            irregularities,
            sha256: HashAlgorithm::Sha256.digest(&der)?,
            der,
        })
    }

    /// Whether `issuer`'s key made this certificate's signature; `None` if the algorithm is not supported.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> Result<Option<bool>, CryptoUnavailable> {
        let Some(algorithm) = self.signature_algorithm else { return Ok(None) };
        let signed = self.der.get(self.signed.clone()).unwrap_or_default();
        algorithm.is_valid(&issuer.key, signed, &self.signature).map(Some)
    }

    /// Whether it names itself as issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer_der == self.subject_der
    }

    /// Whether this certificate's issuer has `issuer`'s name, byte for byte.
    pub(super) fn names_issuer(&self, issuer: &Self) -> bool {
        self.issuer_der == issuer.subject_der
    }

    pub(super) const fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    pub(super) fn has_sha1_signature(&self) -> bool {
        self.signature_algorithm.is_some_and(|algorithm| algorithm.hash == HashAlgorithm::Sha1)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// Something vendors do that a strict reader would refuse, or that weakens what the certificate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Irregularity {
    /// It came with the 7-byte TCG header of the NV index in front.
    NvHeader,
    /// It came with unwritten NV bytes behind.
    Padding {
        /// 0x00 or 0xff.
        byte: u8,
        /// How many.
        count: usize,
    },
    /// Its key is named RSAES-OAEP instead of RSA; the numbers were taken.
    RsaOaepKey,
    /// Its signature is made with SHA-1; accepted here only, since early vendor chains have nothing better.
    Sha1Signature,
}

/// What the extensions say that matters to a chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Extensions {
    /// Basic constraints: whether it may issue, and how many authorities may stand below; nothing if absent.
    pub(super) authority: Option<(bool, Option<u32>)>,
    /// Key usage: whether the key may sign certificates; nothing if absent.
    pub(super) signs_certificates: Option<bool>,
    /// The first critical extension we do not know, as a dotted number.
    pub(super) unknown_critical: Option<String>,
}

/// The fields of a `TBSCertificate`: RFC 5280 §4.1.2.
struct Tbs<'a> {
    serial: Element<'a>,
    algorithm: Element<'a>,
    issuer: Element<'a>,
    not_before: i64,
    not_after: i64,
    subject: Element<'a>,
    spki: Element<'a>,
    extensions: Extensions,
}

impl<'a> Tbs<'a> {
    fn read(tbs: &Element<'a>) -> Result<Self, MalformedCertificate> {
        let mut fields = tbs.inside();
        fields.optional("version", CONTEXT_0)?;
        let serial = fields.expect("serialNumber", INTEGER)?;
        let algorithm = fields.expect("signature", SEQUENCE)?;
        let issuer = fields.expect("issuer", SEQUENCE)?;
        let mut validity = fields.expect("validity", SEQUENCE)?.inside();
        let not_before = read_time("notBefore", &mut validity)?;
        let not_after = read_time("notAfter", &mut validity)?;
        let subject = fields.expect("subject", SEQUENCE)?;
        let spki = fields.expect("subjectPublicKeyInfo", SEQUENCE)?;
        fields.optional("issuerUniqueID", 0x81)?;
        fields.optional("subjectUniqueID", 0x82)?;
        let extensions = match fields.optional("extensions", CONTEXT_3)? {
            Some(extensions) => read_extensions(&extensions)?,
            None => Extensions::default(),
        };
        fields.finish("TBSCertificate")?;
        Ok(Self { serial, algorithm, issuer, not_before, not_after, subject, spki, extensions })
    }
}

fn read_time(field: &'static str, validity: &mut Der<'_>) -> Result<i64, MalformedCertificate> {
    let element = validity.any(field)?;
    if !matches!(element.tag, UTC_TIME | GENERALIZED_TIME) {
        return Err(MalformedCertificate::Time { field });
    }
    time::unix_seconds(&element).ok_or(MalformedCertificate::Time { field })
}

fn read_extensions(explicit: &Element<'_>) -> Result<Extensions, MalformedDer> {
    let mut list = explicit.inside().expect("Extensions", SEQUENCE)?.inside();
    let mut extensions = Extensions::default();
    while !list.is_empty() {
        let mut fields = list.expect("Extension", SEQUENCE)?.inside();
        let oid = fields.expect("extnID", OID)?.content;
        // FALSE is the default and should be left out, but is written out by some vendors.
        let critical = fields.optional("critical", BOOLEAN)?.is_some_and(|value| value.content != [0]);
        let value = Der::new(fields.expect("extnValue", OCTET_STRING)?.content);
        match oid {
            OID_BASIC_CONSTRAINTS => extensions.authority = Some(read_basic_constraints(value)?),
            OID_KEY_USAGE => extensions.signs_certificates = Some(read_key_usage(value)?),
            // id-ce: subject directory attributes, subject alternative name, CRL distribution points, certificate
            // policies, extended key usage. They describe the TPM or the issuing practice and bind no chain.
            [0x55, 0x1d, 9 | 17 | 31 | 32 | 37] => {}
            other if critical && extensions.unknown_critical.is_none() => {
                extensions.unknown_critical = Some(dotted(other));
            }
            _ => {}
        }
    }
    Ok(extensions)
}

/// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }.
fn read_basic_constraints(mut value: Der<'_>) -> Result<(bool, Option<u32>), MalformedDer> {
    let mut fields = value.expect("BasicConstraints", SEQUENCE)?.inside();
    let authority = fields.optional("cA", BOOLEAN)?.is_some_and(|value| value.content != [0]);
    let limit = fields.optional("pathLenConstraint", INTEGER)?.map(|limit| {
        let digits = limit.content.iter();
        digits.fold(0_u32, |value, digit| value.saturating_mul(256).saturating_add(u32::from(*digit)))
    });
    Ok((authority, limit))
}

/// KeyUsage ::= BIT STRING; bit 5 is keyCertSign.
fn read_key_usage(mut value: Der<'_>) -> Result<bool, MalformedDer> {
    // The first byte counts the bits left out at the end.
    let bits = value.expect("KeyUsage", BIT_STRING)?.content.get(1);
    Ok(bits.is_some_and(|bits| bits & 0x04 != 0))
}

/// A name for people: `CN=…,O=…`, in the order of the certificate.
fn name_text(name: &Element<'_>) -> Result<String, MalformedDer> {
    let mut text = String::new();
    let mut sets = name.inside();
    while !sets.is_empty() {
        let mut attributes = sets.expect("RelativeDistinguishedName", SET)?.inside();
        while !attributes.is_empty() {
            let mut fields = attributes.expect("AttributeTypeAndValue", SEQUENCE)?.inside();
            let oid = fields.expect("attribute type", OID)?.content;
            let value = fields.any("attribute value")?;
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&attribute_name(oid));
            text.push('=');
            // Control characters stay out of logs.
            text.extend(String::from_utf8_lossy(value.content).chars().filter(|c| !c.is_control()));
        }
    }
    Ok(text)
}

fn attribute_name(oid: &[u8]) -> String {
    let short = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        // 2.23.133.2.{1,2,3}: TCG attributes.
        [0x67, 0x81, 0x05, 2, 1] => "tpmManufacturer",
        [0x67, 0x81, 0x05, 2, 2] => "tpmModel",
        [0x67, 0x81, 0x05, 2, 3] => "tpmVersion",
        other => return dotted(other),
    };
    short.to_owned()
}

/// An object identifier as dotted numbers.
fn dotted(oid: &[u8]) -> String {
    let mut arcs = Vec::new();
    let mut arc = 0_u64;
    for byte in oid {
        arc = arc.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    let mut text = String::new();
    for (position, arc) in arcs.into_iter().enumerate() {
        let written = match position {
            0 => {
                let root = (arc / 40).min(2);
                write!(text, "{root}.{}", arc - root * 40)
            }
            _ => write!(text, ".{arc}"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

/// Why bytes are no certificate that can be read.
#[derive(Debug, thiserror::Error)]
pub enum MalformedCertificate {
    /// The signature algorithm inside and outside of what is signed differ.
    #[error("the certificate names two different signature algorithms")]
    AlgorithmsDiffer,
    /// The structure is broken.
    #[error("the certificate's structure is broken")]
    Der(#[from] MalformedDer),
    /// The key is of a kind that cannot be used.
    #[error("the certificate's key cannot be read")]
    Key {
        /// openssl's reason.
        source: ErrorStack,
    },
    /// Neither DER nor PEM.
    #[error("expected a certificate in DER or PEM, found bytes starting with {first_byte:?}")]
    NotACertificate {
        /// The first byte, if there is one.
        first_byte: Option<u8>,
    },
    /// The text between the PEM markers is not base64.
    #[error("the certificate's PEM is not base64")]
    PemBase64 {
        /// What is wrong with it.
        source: base64::DecodeError,
    },
    /// A PEM block does not end.
    #[error("a PEM certificate has no end marker")]
    PemEnd,
    /// A date cannot be read.
    #[error("{field} is no X.509 time")]
    Time {
        /// `notBefore` or `notAfter`.
        field: &'static str,
    },
    /// It is longer than any EK certificate.
    #[error("a certificate has at most {max} bytes, found {found}")]
    TooLong {
        /// The named limit.
        max: usize,
        /// The length found.
        found: usize,
    },
    /// There are more certificates than a chain has.
    #[error("at most {max} certificates are allowed")]
    TooMany {
        /// The named limit.
        max: usize,
    },
    /// Something other than padding follows.
    #[error("{count} bytes that are no padding follow the certificate at byte {offset}")]
    TrailingBytes {
        /// Where the certificate ended.
        offset: usize,
        /// How many bytes follow.
        count: usize,
    },
    /// The cryptographic library failed.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
    /// A key or signature does not consist of whole bytes.
    #[error("{field} must be a bit string without unused bits, found {found:?} of them")]
    UnusedBits {
        /// `subjectPublicKey` or `signatureValue`.
        field: &'static str,
        /// The count found; nothing for an empty bit string.
        found: Option<u8>,
    },
}

/// 2.5.29.19.
const OID_BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// 2.5.29.15.
const OID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
/// NV memory of a TPM holds a few kilobytes; a chain of 17 certificates of 2,800 bytes in PEM fits.
const INPUT_BYTES_MAX: usize = 65_536;
