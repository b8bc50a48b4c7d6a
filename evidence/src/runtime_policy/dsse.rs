//! DSSE envelopes around policies: parsed, then verified, then opened.
//!
//! ```json
//! {"payload": "<base64>", "payloadType": "application/vnd.keylime+json",
//!  "signatures": [{"keyid": "<SHA-256 of the key's PEM, or base64 of a certificate>", "sig": "<base64>"}]}
//! ```
//!
//! What is signed is `DSSEv1 <length> <type> <length> <payload>`.
//!
//! Source: DSSE 1.0, `protocol.md`; Keylime's `dsse` module for the two kinds of `keyid`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, PKeyRef, Public};
use openssl::sign::Verifier;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext};
use serde::Deserialize;

use crate::crypto::{CryptoUnavailable, unavailable};

/// A parsed envelope. What is in it is not trusted before [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Readings of the payload's text: base64, or the hex some tools write.
    payloads: Vec<Vec<u8>>,
    payload_type: String,
    signatures: Vec<(String, Vec<u8>)>,
}

/// Why a text is no envelope.
#[derive(Debug, thiserror::Error)]
pub enum MalformedEnvelope {
    /// Not the JSON it should be.
    #[error("this is not a DSSE envelope (payload, payloadType, signatures)")]
    Json {
        /// Where and what.
        source: serde_json::Error,
    },
    /// The payload is neither base64 nor hex.
    #[error("the payload is neither base64 nor hex")]
    Payload,
    /// The payload's type is another.
    #[error("payloadType is {found:?}, expected {PAYLOAD_TYPE:?}")]
    PayloadType {
        /// The type found, cut.
        found: String,
    },
    /// A signature is not base64.
    #[error("signatures[{index}].sig is not base64")]
    Signature {
        /// Which one, from 0.
        index: usize,
    },
    /// There are none, or more than the limit.
    #[error("{found} signatures, expected 1 to {max}")]
    SignatureCount {
        /// How many there are.
        found: usize,
        /// The named limit.
        max: usize,
    },
}

/// Why an envelope is not believed.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeRejected {
    /// No signature of a trusted signer is good.
    #[error("none of the {count} signatures is a good one of a trusted signer")]
    NoTrustedSignature {
        /// Signatures in the envelope.
        count: usize,
    },
    /// The library could not check.
    #[error(transparent)]
    Unavailable(#[from] CryptoUnavailable),
}

/// A payload some trusted signer signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct SignedPayload {
    payload: Vec<u8>,
    signer: String,
}

impl SignedPayload {
    /// The signed bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Which of the [`Signers`] signed, by the name given there.
    #[must_use]
    pub fn signer(&self) -> &str {
        &self.signer
    }
}

impl Envelope {
    /// Reads an envelope around a policy.
    ///
    /// # Errors
    /// [`MalformedEnvelope`] naming the member.
    pub fn parse(json: &[u8]) -> Result<Self, MalformedEnvelope> {
        #[derive(Deserialize)]
        struct EnvelopeText {
            payload: String,
            #[serde(rename = "payloadType")]
            payload_type: String,
            signatures: Vec<SignatureText>,
        }
        #[derive(Deserialize)]
        struct SignatureText {
            #[serde(default)]
            keyid: String,
            sig: String,
        }
        let text: EnvelopeText = serde_json::from_slice(json).map_err(|source| MalformedEnvelope::Json { source })?;
        if text.payload_type != PAYLOAD_TYPE {
            let found = text.payload_type.chars().take(128).collect();
            return Err(MalformedEnvelope::PayloadType { found });
        }
        if !(1..=SIGNATURES_MAX).contains(&text.signatures.len()) {
            let found = text.signatures.len();
            return Err(MalformedEnvelope::SignatureCount { found, max: SIGNATURES_MAX });
        }
        let mut payloads: Vec<Vec<u8>> = STANDARD.decode(&text.payload).into_iter().collect();
        payloads.extend(hex::decode(&text.payload));
        if payloads.is_empty() {
            return Err(MalformedEnvelope::Payload);
        }
        let signatures = text.signatures.into_iter().enumerate().map(|(index, signature)| {
            let bytes = STANDARD.decode(&signature.sig).map_err(|_| MalformedEnvelope::Signature { index })?;
            Ok((signature.keyid, bytes))
        });
        Ok(Self { payloads, payload_type: text.payload_type, signatures: signatures.collect::<Result<_, _>>()? })
    }

    /// The payload, if one of `signers` signed it.
    ///
    /// `now` is the time certificates must be valid at, in seconds since 1970.
    ///
    /// # Errors
    /// [`EnvelopeRejected`] if no signature is both good and of a trusted signer.
    pub fn verify(&self, signers: &Signers, now: i64) -> Result<SignedPayload, EnvelopeRejected> {
        for payload in &self.payloads {
            let message = pre_authentication_encoding(&self.payload_type, payload);
            for (key_id, signature) in &self.signatures {
                if let Some(signer) = signers.verify(key_id, &message, signature, now)? {
                    return Ok(SignedPayload { payload: payload.clone(), signer });
                }
            }
        }
        Err(EnvelopeRejected::NoTrustedSignature { count: self.signatures.len() })
    }
}

/// Who may sign policies: keys, and certificates or their issuers.
pub struct Signers {
    keys: Vec<(String, PKey<Public>)>,
    certificates: Vec<(String, X509)>,
}

/// A file is no signer's key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSigner {
    /// A key of another algorithm.
    #[error("{name} has a key that is neither ECDSA nor Ed25519")]
    Kind {
        /// The name the caller gave.
        name: String,
    },
    /// Neither a key nor a certificate.
    #[error("{name} holds neither a public key nor a certificate in PEM")]
    Pem {
        /// The name the caller gave.
        name: String,
        /// What the library says of it as a key.
        source: ErrorStack,
    },
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signers").finish_non_exhaustive()
    }
}

impl Signers {
    /// Nobody yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { keys: Vec::new(), certificates: Vec::new() }
    }

    /// Trusts a PEM public key (ECDSA or Ed25519) or certificate under a name for people.
    ///
    /// A certificate is trusted as a signer itself and as an issuer of signers.
    ///
    /// # Errors
    /// [`UnusableSigner`] if it is neither.
    pub fn trust(&mut self, name: &str, pem: &[u8]) -> Result<(), UnusableSigner> {
        let name = name.to_owned();
        if let Ok(certificate) = X509::from_pem(pem) {
            self.certificates.push((name, certificate));
            return Ok(());
        }
        let key = match PKey::public_key_from_pem(pem) {
            Ok(key) => key,
            Err(source) => return Err(UnusableSigner::Pem { name, source }),
        };
        if !matches!(key.id(), Id::EC | Id::ED25519) {
            return Err(UnusableSigner::Kind { name });
        }
        self.keys.push((name, key));
        Ok(())
    }

    /// The name of whoever made `signature`, if trusted. The key identifier is a hint for keys, and where a
    /// certificate is carried.
    fn verify(
        &self,
        key_id: &str,
        message: &[u8],
        signature: &[u8],
        now: i64,
    ) -> Result<Option<String>, CryptoUnavailable> {
        for (name, key) in &self.keys {
            if is_signature(key, message, signature)? {
                return Ok(Some(name.clone()));
            }
        }
        let carried =
            STANDARD.decode(key_id).ok().and_then(|der| X509::from_pem(&der).or_else(|_| X509::from_der(&der)).ok());
        let Some(certificate) = carried.filter(|_| !self.certificates.is_empty()) else { return Ok(None) };
        let Ok(key) = certificate.public_key() else { return Ok(None) };
        if !matches!(key.id(), Id::EC | Id::ED25519) || !is_signature(&key, message, signature)? {
            return Ok(None);
        }
        self.trusting(&certificate, now).map_err(unavailable("check a policy signer's certificate"))
    }

    /// The name of the certificate that `certificate` is, or was issued by, at time `now`.
    fn trusting(&self, certificate: &X509, now: i64) -> Result<Option<String>, ErrorStack> {
        for (name, trusted) in &self.certificates {
            let store = store_of(trusted, now)?;
            let mut context = X509StoreContext::new()?;
            // An error here is one of the certificate: openssl puts it on the stack for some malformed ones.
            let valid = context.init(&store, certificate, Stack::new()?.as_ref(), |context| context.verify_cert());
            if valid.unwrap_or(false) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }
}

impl Default for Signers {
    fn default() -> Self {
        Self::new()
    }
}

/// A store that trusts one certificate, whether or not it signed itself, at one time.
fn store_of(trusted: &X509, now: i64) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(trusted.clone())?;
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    parameters.set_time(now);
    store.set_param(&parameters)?;
    Ok(store.build())
}

fn is_signature(key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, CryptoUnavailable> {
    let verifier = match key.id() {
        Id::ED25519 => Verifier::new_without_digest(key),
        _ => Verifier::new(MessageDigest::sha256(), key),
    };
    let mut verifier = verifier.map_err(unavailable("prepare a policy signature's check"))?;
    // From here on every failure is a property of the signature.
    Ok(verifier.verify_oneshot(signature, message).unwrap_or(false))
}

/// DSSE's PAE.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

/// What `keylime-policy sign` writes.
const PAYLOAD_TYPE: &str = "application/vnd.keylime+json";
/// Several people may have to sign; nobody asks for a crowd.
const SIGNATURES_MAX: usize = 16;
