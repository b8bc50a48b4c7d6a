//! The member `ekcert`: PEM, perhaps followed by the chain, or base64 of DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most certificates in one `ekcert`: the EK's and seven above it; vendors' chains have two to four in all.
pub(super) const CERTIFICATES_MAX: usize = 8;

/// Why the text holds no certificates' bytes.
#[derive(Debug, thiserror::Error)]
pub enum MalformedCertificates {
    /// What stands between the markers, or the whole text without markers, is not base64.
    #[error("certificate {number} is not base64 (standard alphabet, with padding)")]
    Base64 {
        /// Which certificate, from 1.
        number: usize,
        /// What the decoder says.
        source: base64::DecodeError,
    },
    /// More certificates than any vendor's chain has.
    #[error("there are more than {CERTIFICATES_MAX} certificates")]
    Count,
    /// A begin marker without its end, or text outside the markers.
    #[error("certificate {number} is not between PEM's BEGIN CERTIFICATE and END CERTIFICATE lines")]
    Markers {
        /// Which certificate, from 1.
        number: usize,
    },
}

/// The bytes of the certificates in `text`, the EK's first. Empty text holds none.
///
/// What they mean is not looked at: vendors' certificates are not always DER.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, MalformedCertificates> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if !text.starts_with("-----") {
        return Ok(vec![decode(text, 1)?]);
    }
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if found.len() == CERTIFICATES_MAX {
            return Err(MalformedCertificates::Count);
        }
        let number = found.len() + 1;
        let inner = rest.strip_prefix(BEGIN).ok_or(MalformedCertificates::Markers { number })?;
        let (block, after) = inner.split_once(END).ok_or(MalformedCertificates::Markers { number })?;
        let block: String = block.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        found.push(decode(&block, number)?);
        rest = after.trim_start();
    }
    Ok(found)
}

fn decode(text: &str, number: usize) -> Result<Vec<u8>, MalformedCertificates> {
    STANDARD.decode(text).map_err(|source| MalformedCertificates::Base64 { number, source })
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
