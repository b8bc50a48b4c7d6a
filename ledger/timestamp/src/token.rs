//! A token's envelope: CMS SignedData around a TSTInfo, with one signer.
//!
//! ```text
//! ContentInfo ::= SEQUENCE { OID signedData, [0] SignedData }
//! SignedData ::= SEQUENCE { version, digestAlgorithms SET, encapContentInfo SEQUENCE { OID, [0] OCTET STRING },
//!                           certificates [0] SET OPTIONAL, crls [1] SET OPTIONAL, signerInfos SET }
//! SignerInfo ::= SEQUENCE { version, sid, digestAlgorithm, signedAttrs [0] SET, signatureAlgorithm,
//!                           signature OCTET STRING, unsignedAttrs [1] SET OPTIONAL }
//! ```
//!
//! The order of elements in a SET is not checked: some authorities' certificates are out of order,
//! and the attributes are verified as they stand. Source: RFC 5652 §5, RFC 3161 §2.4.2.

use crate::der::{
    CONTEXT_0, CONTEXT_1, Der, Element, INTEGER, MalformedDer, OCTET_STRING, OID, PRIMITIVE_0, SEQUENCE, SET, element,
    integer,
};
use crate::digest::DigestAlgorithm;
use crate::tst_info::{ID_CT_TST_INFO, TstInfo};

/// Most bytes of a token; see [`TimestampResponse::BYTES_MAX`](crate::TimestampResponse::BYTES_MAX).
const TOKEN_BYTES_MAX: usize = 256 * 1024;

/// Most certificates in a token: a chain of ten, and as many that do not belong there.
const CERTIFICATES_MAX: usize = 20;

/// A well-formed token; see [`Token::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Certificates in the bag, as they come.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// TSTInfo as it was signed.
    pub(crate) content: Vec<u8>,
    der: Vec<u8>,
    pub(crate) info: TstInfo,
    pub(crate) signer: SignerInfo,
}

/// Who signed, over what, how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignerInfo {
    /// Digests of the signer's certificate, at least one.
    pub(crate) certificate_ids: Vec<(Option<DigestAlgorithm>, Vec<u8>)>,
    /// Of the content.
    pub(crate) digest: Option<DigestAlgorithm>,
    pub(crate) identifier: SignerIdentifier,
    /// The attribute message-digest.
    pub(crate) message_digest: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// Object identifier of the signature algorithm.
    pub(crate) signature_algorithm: Vec<u8>,
    /// The attributes as they were signed: with the tag of a SET.
    pub(crate) signed: Vec<u8>,
}

/// How the envelope names its signer; not to be trusted for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SignerIdentifier {
    /// Name (DER) and serial number (digits).
    IssuerAndSerial(Vec<u8>, Vec<u8>),
    /// Subject key identifier.
    KeyId(Vec<u8>),
}

/// Why bytes are not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// A signed attribute is missing or stands twice.
    #[error("the signed attribute {name} of the token is not there exactly once")]
    Attribute {
        /// Its name.
        name: &'static str,
    },
    /// More certificates than any chain has.
    #[error("the token holds more than {CERTIFICATES_MAX} certificates")]
    Certificates,
    /// Something else than a TSTInfo is signed.
    #[error("the content of the token is not a TSTInfo")]
    Content,
    /// Not the structure.
    #[error("the token is malformed")]
    Der {
        /// Where.
        source: MalformedDer,
    },
    /// Not CMS SignedData.
    #[error("the token is not CMS SignedData")]
    Envelope,
    /// Another number of signers than one.
    #[error("the token has {found} signers, expected 1")]
    Signers {
        /// Signers given.
        found: usize,
    },
    /// More bytes than any token needs.
    #[error("the token has {found} bytes, at most {TOKEN_BYTES_MAX} are allowed")]
    TooLong {
        /// Bytes given.
        found: usize,
    },
}

impl From<MalformedDer> for MalformedToken {
    fn from(source: MalformedDer) -> Self {
        Self::Der { source }
    }
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`MalformedToken`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedToken> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(MalformedToken::TooLong { found: bytes.len() });
        }
        let mut outer = Der::new(bytes);
        let mut envelope = outer.sequence("ContentInfo")?;
        outer.finish("ContentInfo")?;
        if envelope.expect("contentType", OID)?.content != ID_SIGNED_DATA {
            return Err(MalformedToken::Envelope);
        }
        let mut explicit = envelope.expect("content", CONTEXT_0)?.inside();
        envelope.finish("ContentInfo")?;
        let mut data = explicit.sequence("SignedData")?;
        explicit.finish("content")?;

        data.expect("version", INTEGER)?;
        data.expect("digestAlgorithms", SET)?;
        let content = read_content(&mut data)?;
        let info = TstInfo::parse(content)?;
        let bag = data.optional("certificates", CONTEXT_0)?;
        let certificates = bag.map(|bag| read_certificates(bag.inside())).transpose()?.unwrap_or_default();
        data.optional("crls", CONTEXT_1)?;
        let mut signers = data.expect("signerInfos", SET)?.inside();
        data.finish("SignedData")?;
        let signer = signers.sequence("SignerInfo")?;
        let mut found = 1;
        while !signers.is_empty() {
            signers.any("SignerInfo")?;
            found += 1;
        }
        if found != 1 {
            return Err(MalformedToken::Signers { found });
        }
        let signer = SignerInfo::read(signer)?;
        Ok(Self { certificates, content: content.to_vec(), der: bytes.to_vec(), info, signer })
    }

    /// The bytes, as they came.
    #[must_use]
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// An answer that grants this token and says nothing else, as `openssl ts -verify -in` reads it.
    #[must_use]
    pub fn to_response(&self) -> Vec<u8> {
        let granted = element(SEQUENCE, &integer(&[]));
        element(SEQUENCE, &[granted.as_slice(), &self.der].concat())
    }

    /// What it states, not yet believed.
    #[must_use]
    pub const fn info(&self) -> &TstInfo {
        &self.info
    }
}

fn read_content<'a>(data: &mut Der<'a>) -> Result<&'a [u8], MalformedToken> {
    let mut encapsulated = data.sequence("encapContentInfo")?;
    if encapsulated.expect("eContentType", OID)?.content != ID_CT_TST_INFO {
        return Err(MalformedToken::Content);
    }
    let mut explicit = encapsulated.expect("eContent", CONTEXT_0)?.inside();
    encapsulated.finish("encapContentInfo")?;
    let content = explicit.expect("eContent", OCTET_STRING)?.content;
    explicit.finish("eContent")?;
    Ok(content)
}

/// Certificates proper; other forms of certificates, with tags of their own, are passed over.
fn read_certificates(mut bag: Der<'_>) -> Result<Vec<Vec<u8>>, MalformedToken> {
    let mut certificates = Vec::new();
    while !bag.is_empty() {
        let element = bag.any("certificate")?;
        if certificates.len() >= CERTIFICATES_MAX {
            return Err(MalformedToken::Certificates);
        }
        if element.whole.first() == Some(&SEQUENCE) {
            certificates.push(element.whole.to_vec());
        }
    }
    Ok(certificates)
}

impl SignerInfo {
    fn read(mut from: Der<'_>) -> Result<Self, MalformedToken> {
        from.expect("version", INTEGER)?;
        let identifier = SignerIdentifier::read(&mut from)?;
        let digest = DigestAlgorithm::read(&mut from.sequence("digestAlgorithm")?, "digestAlgorithm")?;
        let attributes = from.expect("signedAttrs", CONTEXT_0)?;
        let mut algorithm = from.sequence("signatureAlgorithm")?;
        let signature_algorithm = algorithm.expect("signatureAlgorithm", OID)?.content.to_vec();
        let signature = from.expect("signature", OCTET_STRING)?.content.to_vec();
        from.optional("unsignedAttrs", CONTEXT_1)?;
        from.finish("SignerInfo")?;
        let found = Attributes::read(attributes.inside())?;
        // RFC 5652 §5.4: what is signed has the tag of a SET, not that of the field.
        let mut signed = attributes.whole.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        Ok(Self {
            certificate_ids: found.certificate_ids,
            digest,
            identifier,
            message_digest: found.message_digest.ok_or(MalformedToken::Attribute { name: MESSAGE_DIGEST_NAME })?,
            signature,
            signature_algorithm,
            signed,
        })
    }
}

impl SignerIdentifier {
    fn read(from: &mut Der<'_>) -> Result<Self, MalformedDer> {
        if let Some(key_id) = from.optional("sid", PRIMITIVE_0)? {
            return Ok(Self::KeyId(key_id.content.to_vec()));
        }
        let mut named = from.sequence("sid")?;
        let issuer = named.expect("issuer", SEQUENCE)?.whole.to_vec();
        let serial = named.expect("serialNumber", INTEGER)?.content;
        named.finish("sid")?;
        Ok(Self::IssuerAndSerial(issuer, serial.iter().copied().skip_while(|digit| *digit == 0).collect()))
    }
}

/// The signed attributes that matter.
#[derive(Default)]
struct Attributes {
    certificate_ids: Vec<(Option<DigestAlgorithm>, Vec<u8>)>,
    content_type: bool,
    message_digest: Option<Vec<u8>>,
}

impl Attributes {
    fn read(mut from: Der<'_>) -> Result<Self, MalformedToken> {
        let mut found = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !from.is_empty() {
            let mut attribute = from.sequence("attribute")?;
            let kind = attribute.expect("attrType", OID)?.content;
            let values = attribute.expect("attrValues", SET)?.inside();
            attribute.finish("attribute")?;
            if seen.contains(&kind) {
                return Err(MalformedToken::Attribute { name: "of one type" });
            }
            seen.push(kind);
            found.take(kind, values)?;
        }
        // RFC 5652 §11.1 and RFC 3161 §2.4.2: all three must be there.
        if !found.content_type {
            return Err(MalformedToken::Attribute { name: CONTENT_TYPE_NAME });
        }
        if found.certificate_ids.is_empty() {
            return Err(MalformedToken::Attribute { name: SIGNING_CERTIFICATE_NAME });
        }
        Ok(found)
    }

    fn take(&mut self, kind: &[u8], values: Der<'_>) -> Result<(), MalformedToken> {
        if kind == ID_CONTENT_TYPE {
            let value = only(values, CONTENT_TYPE_NAME, OID)?;
            if value.content != ID_CT_TST_INFO {
                return Err(MalformedToken::Content);
            }
            self.content_type = true;
        } else if kind == ID_MESSAGE_DIGEST {
            let value = only(values, MESSAGE_DIGEST_NAME, OCTET_STRING)?;
            self.message_digest = Some(value.content.to_vec());
        } else if kind == ID_SIGNING_CERTIFICATE {
            let value = only(values, SIGNING_CERTIFICATE_NAME, SEQUENCE)?;
            let mut first = value.inside().sequence("certs")?.sequence("ESSCertID")?;
            let hash = first.expect("certHash", OCTET_STRING)?.content;
            self.certificate_ids.push((Some(DigestAlgorithm::Sha1), hash.to_vec()));
        } else if kind == ID_SIGNING_CERTIFICATE_V2 {
            let value = only(values, SIGNING_CERTIFICATE_NAME, SEQUENCE)?;
            let mut first = value.inside().sequence("certs")?.sequence("ESSCertIDv2")?;
            let algorithm = match first.optional("hashAlgorithm", SEQUENCE)? {
                Some(identifier) => DigestAlgorithm::read(&mut identifier.inside(), "hashAlgorithm")?,
                None => Some(DigestAlgorithm::Sha256),
            };
            let hash = first.expect("certHash", OCTET_STRING)?.content;
            self.certificate_ids.push((algorithm, hash.to_vec()));
        }
        Ok(())
    }
}

/// The one value of an attribute.
fn only<'a>(mut values: Der<'a>, name: &'static str, tag: u8) -> Result<Element<'a>, MalformedToken> {
    let value = values.expect(name, tag)?;
    if values.is_empty() { Ok(value) } else { Err(MalformedToken::Attribute { name }) }
}

const CONTENT_TYPE_NAME: &str = "content-type";
const MESSAGE_DIGEST_NAME: &str = "message-digest";
const SIGNING_CERTIFICATE_NAME: &str = "signing-certificate";

/// 1.2.840.113549.1.7.2
const ID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.3
const ID_CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
/// 1.2.840.113549.1.9.4
const ID_MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// 1.2.840.113549.1.9.16.2.12
const ID_SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
/// 1.2.840.113549.1.9.16.2.47
const ID_SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
