//! An agent's answer, parsed as far as it can be; what cannot be parsed is still kept as it came.

use base64::{Engine, engine::general_purpose::STANDARD};
use evidence::{keylime::KeylimeQuote, pcr::PcrValues, quote::Quote};
use messages::keylime::IntegrityQuote;

/// Bytes of a TPMS_ATTEST kept at most: a real one has fewer than 512, whatever its algorithms.
pub const ATTEST_BYTES_MAX: usize = 1_024;

/// Bytes of a TPMT_SIGNATURE kept at most: RSA-4096 takes 518.
pub const SIGNATURE_BYTES_MAX: usize = 1_024;

/// Bytes of a payload key's PEM at most: RSA-4096 takes 800.
pub const PAYLOAD_KEY_BYTES_MAX: usize = 2_048;

/// What an agent answered to a challenge. All of it is untrusted.
#[derive(Clone, Debug)]
pub struct Evidence {
    attest: Vec<u8>,
    enc_alg: String,
    hash_alg: String,
    parts: Result<QuoteParts, String>,
    payload_key: Option<String>,
    sign_alg: String,
    signature: Vec<u8>,
}

/// A well-formed quote and the values that came with it.
#[derive(Clone, Debug)]
pub struct QuoteParts {
    /// The quote, not yet authenticated.
    pub quote: Quote,
    /// The register values stated beside it.
    pub values: PcrValues,
}

/// An answer holds nothing that could be recorded as a quote.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer has no quote: {reason}")]
pub struct NoQuote {
    /// What is wrong with the quote string.
    pub reason: String,
}

impl Evidence {
    /// Takes in an answer whose quote string has at least the bytes of an attestation and of a
    /// signature; that these are malformed is for the appraisal to say.
    ///
    /// # Errors
    /// [`NoQuote`] if there are no such bytes, or more of them than any TPM makes.
    pub fn from_answer(answer: &IntegrityQuote) -> Result<Self, NoQuote> {
        let (attest, signature, parts) = match KeylimeQuote::parse(&answer.quote) {
            Ok(parsed) => {
                let quote = parsed.quote().map_err(|malformed| chain(&malformed));
                let values = parsed.values;
                (parsed.attest, parsed.signature, quote.map(|quote| QuoteParts { quote, values }))
            }
            Err(malformed) => {
                let reason = chain(&malformed);
                let (attest, signature) = salvage(&answer.quote).ok_or(NoQuote { reason: reason.clone() })?;
                (attest, signature, Err(reason))
            }
        };
        check_lengths(&attest, &signature)?;
        let payload_key = answer.pubkey.clone().filter(|pem| pem.len() <= PAYLOAD_KEY_BYTES_MAX);
        let [hash_alg, enc_alg, sign_alg] = [&answer.hash_alg, &answer.enc_alg, &answer.sign_alg].map(Clone::clone);
        Ok(Self { attest, enc_alg, hash_alg, parts, payload_key, sign_alg, signature })
    }

    /// Takes in an answer that was recorded as its parts, without payload key: what [`Self::from_answer`] makes of the quote
    /// string that has them. The algorithms are the hash of the bank, the key's and the signature's, as an agent names them.
    ///
    /// # Errors
    /// [`NoQuote`] as there.
    pub fn from_parts(
        attest: &[u8],
        signature: &[u8],
        values: PcrValues,
        [hash_alg, enc_alg, sign_alg]: [String; 3],
    ) -> Result<Self, NoQuote> {
        check_lengths(attest, signature)?;
        let quote = Quote::parse(attest, signature).map_err(|malformed| chain(&malformed));
        let parts = quote.map(|quote| QuoteParts { quote, values });
        let (attest, signature) = (attest.to_vec(), signature.to_vec());
        Ok(Self { attest, enc_alg, hash_alg, parts, payload_key: None, sign_alg, signature })
    }

    /// The TPMS_ATTEST's bytes, at most [`ATTEST_BYTES_MAX`].
    #[must_use]
    pub fn attest(&self) -> &[u8] {
        &self.attest
    }

    /// The TPMT_SIGNATURE's bytes, at most [`SIGNATURE_BYTES_MAX`].
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The register values stated, if the quote string is well-formed.
    #[must_use]
    pub fn values(&self) -> Option<&PcrValues> {
        self.parts.as_ref().ok().map(|parts| &parts.values)
    }

    /// The payload key NK as PEM text, if one of plausible size was shown.
    #[must_use]
    pub fn payload_key(&self) -> Option<&str> {
        self.payload_key.as_deref()
    }

    /// The PCR bank's hash, as the agent names it.
    #[must_use]
    pub fn hash_alg(&self) -> &str {
        &self.hash_alg
    }

    /// The key algorithm, as the agent names it.
    #[must_use]
    pub fn enc_alg(&self) -> &str {
        &self.enc_alg
    }

    /// The signature scheme, as the agent names it.
    #[must_use]
    pub fn sign_alg(&self) -> &str {
        &self.sign_alg
    }

    /// The quote and its values, or why they are malformed.
    pub(super) fn parts(&self) -> Result<&QuoteParts, &str> {
        self.parts.as_ref().map_err(String::as_str)
    }
}

/// A quote has some bytes, and no more than any TPM makes.
fn check_lengths(attest: &[u8], signature: &[u8]) -> Result<(), NoQuote> {
    if attest.is_empty() || attest.len() > ATTEST_BYTES_MAX || signature.len() > SIGNATURE_BYTES_MAX {
        let reason = format!("{} bytes of attestation, {} of signature", attest.len(), signature.len());
        return Err(NoQuote { reason });
    }
    Ok(())
}

/// The first two parts of a quote string whose third is broken.
fn salvage(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    // Four base64 digits for three bytes, rounded up.
    let bounded = |part: &&str| part.len() <= ATTEST_BYTES_MAX.max(SIGNATURE_BYTES_MAX) / 3 * 4 + 4;
    let mut parts = text.strip_prefix('r')?.split(':');
    let mut next = || STANDARD.decode(parts.next().filter(bounded)?).ok();
    Some((next()?, next()?))
}

/// An error and its causes in one line: a finding has no other place for them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
