//! A signature appended to a file, as `ima-modsig` entries carry it: PKCS #7 beside the digest it is over.
//!
//! The kernel cuts the signature off, hashes what is left, and records that digest as `d-modsig`, once it fits the
//! signature's message digest: of the content itself, or of the signed attributes where there are any. So the
//! signature is to be verified over `d-modsig`, and the content is not needed.
//!
//! Source: Linux, `security/integrity/ima/ima_modsig.c`, `crypto/asymmetric_keys/pkcs7_verify.c`; RFC 2315 §9.

use super::keyring::KeyId;
use crate::algorithm::HashAlgorithm;
use crate::der::{CONTEXT_0, Der, INTEGER, MalformedDer, OCTET_STRING, OID, SEQUENCE, SET};

/// The one signature of a PKCS #7 message; whether it is good is asked of a [`Keyring`](super::Keyring).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModuleSignature<'a> {
    pub(super) signer: Signer<'a>,
    /// The algorithm the digest must be of.
    pub(super) hash: HashAlgorithm,
    pub(super) bytes: &'a [u8],
}

/// Who says to have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer<'a> {
    /// The owner of the certificate with this number.
    Issued {
        /// The issuer's name, DER.
        issuer: &'a [u8],
        /// The serial number, big endian, without leading zeros.
        serial: &'a [u8],
    },
    /// The owner of the key whose identifier ends so.
    KeyId(KeyId),
}

/// Why bytes are no signature that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableModuleSignature {
    /// It carries its own content, so that nobody says that it is over the file.
    #[error("it carries a content of its own")]
    Attached,
    /// It is not the DER of a PKCS #7 message.
    #[error(transparent)]
    Der(#[from] MalformedDer),
    /// The digest's algorithm is none of ours.
    #[error("its digest algorithm is unknown")]
    Hash,
    /// It is another kind of message, or none.
    #[error("it is no signedData")]
    NotSigned,
    /// The kernel takes signatures of one signer.
    #[error("it is not of exactly one signer")]
    Signers,
}

impl<'a> ModuleSignature<'a> {
    /// Reads a message.
    pub(super) fn parse(pkcs7: &'a [u8]) -> Result<Self, UnusableModuleSignature> {
        let mut outer = Der::new(pkcs7);
        let mut message = outer.expect("ContentInfo", SEQUENCE)?.inside();
        outer.finish("ContentInfo")?;
        if message.expect("contentType", OID)?.content != SIGNED_DATA {
            return Err(UnusableModuleSignature::NotSigned);
        }
        let mut signed = message.expect("content", CONTEXT_0)?.inside().expect("SignedData", SEQUENCE)?.inside();
        signed.expect("version", INTEGER)?;
        signed.expect("digestAlgorithms", SET)?;
        let mut content = signed.expect("contentInfo", SEQUENCE)?.inside();
        content.expect("contentType", OID)?;
        if !content.is_empty() {
            return Err(UnusableModuleSignature::Attached);
        }
        // Certificates and revocation lists that came along prove nothing.
        signed.optional("certificates", CONTEXT_0)?;
        signed.optional("crls", CONTEXT_1)?;
        let mut signers = signed.expect("signerInfos", SET)?.inside();
        let signer = signers.expect("SignerInfo", SEQUENCE).map_err(|_| UnusableModuleSignature::Signers)?;
        signers.finish("signerInfos").map_err(|_| UnusableModuleSignature::Signers)?;
        Self::of_signer(signer.inside())
    }

    fn of_signer(mut info: Der<'a>) -> Result<Self, UnusableModuleSignature> {
        info.expect("version", INTEGER)?;
        let signer = match info.optional("subjectKeyIdentifier", KEY_IDENTIFIER)? {
            Some(identifier) => {
                let last = identifier.content.last_chunk::<4>().ok_or(UnusableModuleSignature::Signers)?;
                Signer::KeyId(KeyId(u32::from_be_bytes(*last)))
            }
            None => {
                let mut issued = info.expect("issuerAndSerialNumber", SEQUENCE)?.inside();
                let issuer = issued.expect("issuer", SEQUENCE)?.whole;
                let serial = issued.expect("serialNumber", INTEGER)?.content;
                let zeros = serial.iter().take_while(|byte| **byte == 0).count();
                Signer::Issued { issuer, serial: serial.get(zeros..).unwrap_or_default() }
            }
        };
        let algorithm = info.expect("digestAlgorithm", SEQUENCE)?.inside().expect("algorithm", OID)?.content;
        let hash = DIGESTS.iter().find(|(oid, _)| *oid == algorithm).ok_or(UnusableModuleSignature::Hash)?.1;
        // The kernel has held their message digest against the content before it recorded their hash.
        info.optional("signedAttrs", CONTEXT_0)?;
        info.expect("signatureAlgorithm", SEQUENCE)?;
        let bytes = info.expect("signature", OCTET_STRING)?.content;
        Ok(Self { signer, hash, bytes })
    }
}

/// 1.2.840.113549.1.7.2, `pkcs7-signedData`.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// 1.3.14.3.2.26 and 2.16.840.1.101.3.4.2.1 to 3.
const DIGESTS: [(&[u8], HashAlgorithm); 4] = [
    (&[0x2b, 14, 3, 2, 26], HashAlgorithm::Sha1),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], HashAlgorithm::Sha256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], HashAlgorithm::Sha384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], HashAlgorithm::Sha512),
];
/// `[1]`, constructed.
const CONTEXT_1: u8 = 0xa1;
/// `[0]`, primitive.
const KEY_IDENTIFIER: u8 = 0x80;
