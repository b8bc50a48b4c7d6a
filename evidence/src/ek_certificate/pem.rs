//! PEM, and the wrappings a certificate comes out of NV memory with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certificate::{Irregularity, MalformedCertificate};

/// A certificate's DER, and what was peculiar about its wrapping.
pub(super) struct Unwrapped {
    pub(super) der: Vec<u8>,
    pub(super) irregularities: Vec<Irregularity>,
}

/// The first certificate in `bytes`; what follows it in PEM is not looked at.
pub(super) fn unwrap_first(bytes: &[u8]) -> Result<Unwrapped, MalformedCertificate> {
    if is_der(bytes) {
        return unwrap_der(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    let none = MalformedCertificate::NotACertificate { first_byte: bytes.first().copied() };
    unwrap_block(text.split(BEGIN).nth(1).ok_or(none)?)
}

/// All certificates in `bytes`: one if they are DER, up to `max` in PEM, at least one.
pub(super) fn unwrap_all(bytes: &[u8], max: usize) -> Result<Vec<Unwrapped>, MalformedCertificate> {
    if is_der(bytes) {
        return Ok(vec![unwrap_der(bytes)?]);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        if found.len() == max {
            return Err(MalformedCertificate::TooMany { max });
        }
        found.push(unwrap_block(block)?);
    }
    if found.is_empty() {
        return Err(MalformedCertificate::NotACertificate { first_byte: bytes.first().copied() });
    }
    Ok(found)
}

/// A SEQUENCE or the TCG header cannot start a PEM file, in front of which some text may stand.
const fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x30 | 0x10))
}

/// A PEM block from behind its start marker on.
fn unwrap_block(block: &str) -> Result<Unwrapped, MalformedCertificate> {
    let (body, _) = block.split_once(END).ok_or(MalformedCertificate::PemEnd)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|source| MalformedCertificate::PemBase64 { source })?;
    unwrap_der(&der)
}

/// Takes off the TCG header in front and the padding behind.
fn unwrap_der(bytes: &[u8]) -> Result<Unwrapped, MalformedCertificate> {
    let mut irregularities = Vec::new();
    let mut bytes = bytes;
    if let Some(rest) = strip_nv_header(bytes) {
        irregularities.push(Irregularity::NvHeader);
        bytes = rest;
    }
    let mut reader = crate::der::Der::new(bytes);
    let certificate = reader.expect("Certificate", crate::der::SEQUENCE)?;
    let rest = reader.rest();
    if let Some(first) = rest.first() {
        // NV indexes are larger than what is in them: unwritten bytes read as all ones or all zeros.
        if !matches!(first, 0x00 | 0xff) || rest.iter().any(|byte| byte != first) {
            return Err(MalformedCertificate::TrailingBytes { offset: certificate.whole.len(), count: rest.len() });
        }
        irregularities.push(Irregularity::Padding { byte: *first, count: rest.len() });
    }
    Ok(Unwrapped { der: certificate.whole.to_vec(), irregularities })
}

/// `TCG_PCCLIENT_STORED_CERT` {u16 0x1001, u8 type 0, u16 size} and `TCG_FULL_CERT` {u16 0x1002}.
///
/// Source: TCG PC Client Implementation Specification for Conventional BIOS, §7.3.2.
fn strip_nv_header(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<7>()?;
    matches!(header, [0x10, 0x01, 0x00, _, _, 0x10, 0x02]).then_some(rest)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
