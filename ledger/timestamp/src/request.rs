//! What an authority is asked.
//!
//! ```text
//! TimeStampReq ::= SEQUENCE { version INTEGER 1, messageImprint SEQUENCE { hashAlgorithm, hashedMessage },
//!                             reqPolicy OID OPTIONAL, nonce INTEGER OPTIONAL, certReq BOOLEAN DEFAULT FALSE }
//! ```
//!
//! Source: RFC 3161 §2.4.1.

use crate::der::{BOOLEAN, CONTEXT_0, Der, INTEGER, MalformedDer, OCTET_STRING, OID, SEQUENCE, element, integer};
use crate::digest::DigestAlgorithm;

/// Media type of a request.
const REQUEST_MEDIA_TYPE: &str = "application/timestamp-query";

/// A number that the answer must repeat, so that no old answer passes for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

/// A request for a token with the signer's certificate in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimestampRequest {
    certificates: bool,
    imprint: (DigestAlgorithm, Vec<u8>),
    nonce: Option<Nonce>,
}

/// Why bytes are not a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedRequest {
    /// Not the structure.
    #[error("the time-stamp request is malformed")]
    Der {
        /// Where.
        source: MalformedDer,
    },
    /// Another digest than SHA-2.
    #[error("the time-stamp request is over another digest than SHA-256, SHA-384 or SHA-512")]
    Digest,
    /// Another version.
    #[error("the time-stamp request has version {found}, expected 1")]
    Version {
        /// The version given.
        found: u64,
    },
}

impl Nonce {
    /// Sixteen bytes of the caller's random source, as a number.
    #[must_use]
    pub fn new(random: &[u8; 16]) -> Self {
        Self::of_digits(random)
    }

    pub(crate) fn of_digits(digits: &[u8]) -> Self {
        Self(digits.iter().copied().skip_while(|digit| *digit == 0).collect())
    }
}

impl TimestampRequest {
    /// The media type it is sent as.
    pub const MEDIA_TYPE: &'static str = REQUEST_MEDIA_TYPE;

    /// Asks for a stamp on data with the SHA-256 `digest`, with the certificate.
    #[must_use]
    pub fn new(digest: &[u8; 32], nonce: Nonce) -> Self {
        Self { certificates: true, imprint: (DigestAlgorithm::Sha256, digest.to_vec()), nonce: Some(nonce) }
    }

    /// The request's bytes.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let (algorithm, digest) = &self.imprint;
        let imprint = [algorithm.identifier(), element(OCTET_STRING, digest)].concat();
        let mut content = integer(&[1]);
        content.extend(element(SEQUENCE, &imprint));
        if let Some(Nonce(digits)) = &self.nonce {
            content.extend(integer(digits));
        }
        if self.certificates {
            content.extend(element(BOOLEAN, &[0xff]));
        }
        element(SEQUENCE, &content)
    }

    /// Reads a request; a policy or extensions in it are passed over.
    ///
    /// # Errors
    /// [`MalformedRequest`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedRequest> {
        let malformed = |source| MalformedRequest::Der { source };
        let mut outer = Der::new(bytes);
        let mut request = outer.sequence("request").map_err(malformed)?;
        outer.finish("request").map_err(malformed)?;
        let version = request.number("version").map_err(malformed)?;
        if version != 1 {
            return Err(MalformedRequest::Version { found: version });
        }
        let imprint = read_imprint(&mut request).map_err(malformed)?;
        request.optional("policy", OID).map_err(malformed)?;
        let nonce = read_nonce(&mut request).map_err(malformed)?;
        let certificates = request.optional("certReq", BOOLEAN).map_err(malformed)?;
        let certificates = certificates.is_some_and(|certificates| certificates.content == [0xff]);
        request.optional("extensions", CONTEXT_0).map_err(malformed)?;
        request.finish("request").map_err(malformed)?;
        match imprint {
            (Some(algorithm), digest) if algorithm != DigestAlgorithm::Sha1 => {
                Ok(Self { certificates, imprint: (algorithm, digest.to_vec()), nonce })
            }
            _ => Err(MalformedRequest::Digest),
        }
    }

    /// The number that the answer must repeat.
    #[must_use]
    pub const fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }

    /// The digest to be stamped.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.imprint.1
    }
}

/// `MessageImprint`: the algorithm, if it is known here, and the digest.
pub(crate) fn read_imprint<'a>(from: &mut Der<'a>) -> Result<(Option<DigestAlgorithm>, &'a [u8]), MalformedDer> {
    let mut imprint = from.sequence("messageImprint")?;
    let mut identifier = imprint.sequence("hashAlgorithm")?;
    let algorithm = DigestAlgorithm::read(&mut identifier, "hashAlgorithm")?;
    let digest = imprint.expect("hashedMessage", OCTET_STRING)?.content;
    imprint.finish("messageImprint")?;
    Ok((algorithm, digest))
}

/// `nonce INTEGER OPTIONAL`. Some ask with numbers that are negative in DER; they are compared by
/// their bytes.
pub(crate) fn read_nonce(from: &mut Der<'_>) -> Result<Option<Nonce>, MalformedDer> {
    let nonce = from.optional("nonce", INTEGER)?;
    Ok(nonce.map(|nonce| Nonce::of_digits(nonce.content)))
}
